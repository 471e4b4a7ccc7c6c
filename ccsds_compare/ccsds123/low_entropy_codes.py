"""The sixteen low-entropy codes of the hybrid coder as arrays: CCSDS 123.0-B-2, 5.4.3.3.3.3 and annex B.

A code is a tree: a node is a sequence of input symbols, a leaf a complete input codeword, any other node a proper
prefix, which has a flush word. The encoder walks down from the root and writes at a leaf. The decoder reads output
words backwards, which finds a leaf, and walks up to the root, a symbol a step.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

CODES = 16
SYMBOLS = 14
"""0 to 12, and the escape."""
DIRECT_BITS = 9
"""Output bits that the first look-up table of a code takes; longer words take a second look."""
LONGEST_INPUT = 256
"""Symbols of the longest input codeword."""


@dataclass(frozen=True, slots=True)
class LowEntropyCodes:
    """All codes; nodes are numbered through, and a code's escape symbol is its input symbol limit + 1.

    Attributes:
        thresholds: T_i (code,).
        limits: L_i (code,).
        roots: the node of the empty prefix (code,).
        children: (node, symbol), −1 where there is none.
        leaf: whether the node is a complete input codeword (node,).
        word: output codeword of a leaf, flush word of another node (node,).
        width: bits of `word` (node,).
        parents: (node,).
        symbols: the last symbol of a node's sequence (node,).
        direct: (code, the last DIRECT_BITS bits before a position): leaf, or −1 − row of `second`.
        second: (row, the bits before those): leaf. The codes are complete: any bits end with an output codeword.
        flush: of each code, node by (flush word's width, flush word).
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
    flush: tuple[dict[tuple[int, int], int], ...]


@cache
def low_entropy_codes() -> LowEntropyCodes:
    """Read annex B."""
    limits: list[int] = []
    thresholds: list[int] = []
    sequences: list[tuple[int, ...]] = []
    nodes: list[dict[tuple[int, ...], int]] = []
    words: list[tuple[int, int]] = []
    leaves: list[bool] = []
    in_flush = False
    for line in (files("ccsds123") / "low_entropy_codes.txt").read_text("ascii").splitlines():
        if line.startswith("#"):
            continue
        if line.startswith("code"):
            _, _, limit, threshold = line.split()
            limits.append(int(limit))
            thresholds.append(int(threshold))
            nodes.append({})
            in_flush = False
        elif line == "flush":
            in_flush = True
        else:
            symbols, width, word = re.split(" |'h", line)
            sequence = _symbols(symbols, escape=limits[-1] + 1)
            nodes[-1][sequence] = len(sequences)
            sequences.append(sequence)
            words.append((int(width), int(word, 16)))
            leaves.append(not in_flush)
    children = np.full((len(sequences), SYMBOLS), -1, np.int32)
    parents = np.full(len(sequences), -1, np.int32)
    for code in nodes:
        for sequence, node in code.items():
            if sequence:
                parents[node] = code[sequence[:-1]]
                children[parents[node], sequence[-1]] = node
    direct, second = _look_up_tables(nodes, words, leaves)
    return LowEntropyCodes(
        thresholds=np.array(thresholds, np.int64),
        limits=np.array(limits, np.int64),
        roots=np.array([code[()] for code in nodes], np.int32),
        children=children,
        leaf=np.array(leaves),
        word=np.array([word for _, word in words], np.int64),
        width=np.array([width for width, _ in words], np.int64),
        parents=parents,
        symbols=np.array([sequence[-1] if sequence else -1 for sequence in sequences], np.int64),
        direct=direct,
        second=second,
        flush=tuple({words[node]: node for node in code.values() if not leaves[node]} for code in nodes),
    )


def _symbols(text: str, *, escape: int) -> tuple[int, ...]:
    if text == "-":
        return ()
    expanded = re.sub(r"(.)\*(\d+)\.", lambda run: run[1] * int(run[2]), text)
    return tuple(escape if symbol == "X" else int(symbol, 16) for symbol in expanded)


def _look_up_tables(
    nodes: list[dict[tuple[int, ...], int]], words: list[tuple[int, int]], leaves: list[bool]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    longest = max(width for width, _ in words)
    direct = np.full((CODES, 1 << DIRECT_BITS), np.iinfo(np.int32).min, np.int32)
    second: list[NDArray[np.int32]] = []
    for index, code in enumerate(nodes):
        for node in code.values():
            width, word = words[node]
            if not leaves[node]:
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
