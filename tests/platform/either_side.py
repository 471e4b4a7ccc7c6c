"""What the cross-architecture test does on each side, with the runtime alone.

either_side.py coded OUT.npz COMMAND ARGUMENT...   run encode-scene or decode-packets; keep what was coded
either_side.py outputs OUT.npz GRAPH INPUTS.npy    a graph's outputs, (input, ...), for inputs one after another
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hyvic_runtime.cli import decode_packets, encode_scene
from hyvic_runtime.engines.engine import OnnxRuntimeEngine
from hyvic_runtime.entropy.unit_coder import BlockReader, BlockWriter, EntropyCoder
from hyvic_runtime.families import registry as model_family
from hyvic_runtime.families.adaptive.bundle import AdaptiveBundle
from hyvic_runtime.families.adaptive.table_choice import ESCAPE_OCTETS
from hyvic_runtime.families.latent.bundle import LatentBundle
from numpy.typing import NDArray

COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {"encode-scene": encode_scene, "decode-packets": decode_packets}
HEARD: list[tuple[NDArray[Any], NDArray[Any]]] = []
"""Symbols, and the rows of the tables that code them, block by block, by all coders of the process."""


class HeardCoder(EntropyCoder):
    """Keeps what it codes and decodes."""

    def writer(self) -> BlockWriter:
        writer = super().writer()
        write = writer.write

        def heard(symbols: NDArray[Any], rows: NDArray[Any]) -> None:
            HEARD.append((symbols, rows))
            write(symbols, rows)

        writer.write = heard  # type: ignore[method-assign]
        return writer

    def reader(self, data: bytes) -> BlockReader:
        reader = super().reader(data)
        read = reader.read

        def heard(rows: NDArray[Any]) -> NDArray[np.int32]:
            symbols = read(rows)
            HEARD.append((symbols, rows))
            return symbols

        reader.read = heard  # type: ignore[method-assign]
        return reader


def without_checks(made_by: Callable[..., Any]) -> Callable[..., Any]:
    """An encoder or decoder of one worker; what its checks coded is no scene's."""

    def made(*arguments: Any, **options: Any) -> Any:
        result = made_by(*arguments, **options, workers=1)
        HEARD.clear()
        return result

    return made


def coded(out: Path, command: str, *arguments: str) -> int:
    LatentBundle.entropy_coder = lambda self, _=None: HeardCoder(self.tables)  # type: ignore[method-assign]
    AdaptiveBundle.entropy_coder = lambda self, _=None: HeardCoder(self.tables, escape_octets=ESCAPE_OCTETS)  # type: ignore[method-assign]
    model_family.encoder_of = without_checks(model_family.encoder_of)
    model_family.decoder_of = without_checks(model_family.decoder_of)
    status = COMMANDS[command](arguments)
    # Both sides work on the same blocks, not in the same order: a strip's basis is coded last and read first.
    blocks = [(np.asarray(symbols, np.int32), np.asarray(rows, np.int32)) for symbols, rows in HEARD]
    blocks.sort(key=lambda block: (block[1].tobytes(), block[0].tobytes()))
    symbols, rows = (np.concatenate(arrays) for arrays in zip(*blocks, strict=True))
    np.savez(out, symbols=symbols, rows=rows)
    return status


def outputs(out: Path, graph: str, inputs: str) -> int:
    engine = OnnxRuntimeEngine(Path(graph))
    runs = [engine.run({"hyperlatent": array[None]}) for array in np.load(inputs)]
    np.savez(out, **{name: np.concatenate([run[name] for run in runs]) for name in runs[0]})
    return 0


if __name__ == "__main__":
    what, out, *words = sys.argv[1:]
    sys.exit({"coded": coded, "outputs": outputs}[what](Path(out), *words))
