"""Sixteen low-entropy codes of the hybrid coder as arrays: CCSDS 123.0-B-2, 5.4.3.3.3.3 and annex B.

A code is a tree. A node is a sequence of input symbols. A leaf is a complete input codeword; any other node is a proper
prefix, which has a flush word. The encoder walks down from the root and writes at a leaf. The decoder reads
output words backwards, which finds a leaf, and walks up to the root, one symbol a step.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CODES = 16
SYMBOLS = 14
"""0 to 12, and the escape."""
DIRECT_BITS = 9
"""Output bits that the first look-up table of a code takes; longer words take a second look."""
LONGEST_INPUT = 256
"""Symbols of the longest input codeword."""


class LowEntropyCodes(NamedTuple):
    """All codes; nodes are numbered through, and a code's escape symbol is its input symbol limit + 1.

    Attributes:
        thresholds: T_i (code,).
        limits: L_i (code,).
        roots: node of the empty prefix (code,).
        children: (node, symbol), −1 where there is no child.
        leaf: whether the node is a complete input codeword (node,).
        word: output codeword of a leaf, flush word of another node (node,).
        width: bits of `word` (node,).
        parents: (node,).
        symbols: last symbol of a node's sequence (node,).
        direct: (code, the last DIRECT_BITS bits before a position): leaf, or −1 − row of `second`.
        second: (row, the bits before those): leaf. The codes are complete: any bits end with an output codeword.
    """

    thresholds: NDArray[np.int64]
    limits: NDArray[np.int64]
    roots: NDArray[np.int32]
    children: NDArray[np.int32]
    leaf: NDArray[np.bool_]
    word: NDArray[np.int64]
    width: NDArray[np.int64]
    parents: NDArray[np.int32]
    symbols: NDArray[np.int64]
    direct: NDArray[np.int32]
    second: NDArray[np.int32]


class _Code(NamedTuple):
    """One code of annex B.

    Attributes:
        limit: L_i.
        threshold: T_i.
        nodes: sequence of symbols → (number of the node, width, word, whether it is a leaf).
    """

    limit: int
    threshold: int
    nodes: dict[tuple[int, ...], tuple[int, int, int, bool]]


@cache
def _annex_b() -> tuple[_Code, ...]:
    """Read the tables of annex B."""
    codes: list[_Code] = []
    count, in_flush = 0, False
    for line in (files("ccsds123") / "low_entropy_codes.txt").read_text("ascii").splitlines():
        if line.startswith("#"):
            continue
        if line.startswith("code"):
            _, _, limit, threshold = line.split()
            codes.append(_Code(limit=int(limit), threshold=int(threshold), nodes={}))
            in_flush = False
        elif line == "flush":
            in_flush = True
        else:
            symbols, width, word = re.split(" |'h", line)
            sequence = _symbols(symbols, escape=codes[-1].limit + 1)
            codes[-1].nodes[sequence] = count, int(width), int(word, 16), not in_flush
            count += 1
    return tuple(codes)


def _symbols(text: str, *, escape: int) -> tuple[int, ...]:
    if text == "-":
        return ()
    expanded = re.sub(r"(.)\*(\d+)\.", lambda run: run[1] * int(run[2]), text)
    return tuple(escape if symbol == "X" else int(symbol, 16) for symbol in expanded)


@cache
def low_entropy_codes() -> LowEntropyCodes:
    """Return the codes of annex B.

    >>> codes = low_entropy_codes()
    >>> len(codes.roots), int(codes.leaf.sum())
    (16, 2068)
    """
    codes = _annex_b()
    # In the order of their numbers, because they were numbered as they were read.
    sequences = [sequence for code in codes for sequence in code.nodes]
    nodes = [node for code in codes for node in code.nodes.values()]
    children = np.full((len(nodes), SYMBOLS), -1, np.int32)
    parents = np.full(len(nodes), -1, np.int32)
    for code in codes:
        for sequence, (node, *_) in code.nodes.items():
            if sequence:
                parents[node] = code.nodes[sequence[:-1]][0]
                children[parents[node], sequence[-1]] = node
    direct, second = _look_up_tables(codes)
    return LowEntropyCodes(
        thresholds=np.array([code.threshold for code in codes], np.int64),
        limits=np.array([code.limit for code in codes], np.int64),
        roots=np.array([code.nodes[()][0] for code in codes], np.int32),
        children=children,
        leaf=np.array([leaf for *_, leaf in nodes]),
        word=np.array([word for _, _, word, _ in nodes], np.int64),
        width=np.array([width for _, width, _, _ in nodes], np.int64),
        parents=parents,
        symbols=np.array([sequence[-1] if sequence else -1 for sequence in sequences], np.int64),
        direct=direct,
        second=second,
    )


@cache
def flush_nodes() -> tuple[dict[tuple[int, int], int], ...]:
    """Return, for each code, the node by the width and the value of its flush word."""
    return tuple(
        {(width, word): node for node, width, word, leaf in code.nodes.values() if not leaf} for code in _annex_b()
    )


def _look_up_tables(codes: tuple[_Code, ...]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    longest = max(width for code in codes for _, width, _, _ in code.nodes.values())
    direct = np.full((CODES, 1 << DIRECT_BITS), np.iinfo(np.int32).min, np.int32)
    second: list[NDArray[np.int32]] = []
    for index, code in enumerate(codes):
        for node, width, word, leaf in code.nodes.values():
            if not leaf:
                continue
            if width <= DIRECT_BITS:
                direct[index, word :: 1 << width] = node
                continue
            low = word & (1 << DIRECT_BITS) - 1
            if direct[index, low] == np.iinfo(np.int32).min:
                direct[index, low] = -1 - len(second)
                second.append(np.full(1 << longest - DIRECT_BITS, -1, np.int32))
            second[-1 - direct[index, low]][word >> DIRECT_BITS :: 1 << width - DIRECT_BITS] = node
    return direct, np.stack(second)
