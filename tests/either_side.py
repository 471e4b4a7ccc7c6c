"""What the cross-architecture test does on each side, with the runtime alone.

either_side.py coded OUT.npz COMMAND ARGUMENT...   run encode-scene or decode-packets; keep what was coded
either_side.py outputs OUT.npz GRAPH INPUTS.npy    a graph's outputs, (input, ...), for inputs one after another
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hyvic_runtime.decoder
import hyvic_runtime.encoder
import numpy as np
from hyvic_runtime.cli import decode_packets, encode_scene
from hyvic_runtime.decoder import SceneDecoder
from hyvic_runtime.encoder import SceneEncoder
from hyvic_runtime.engine import OnnxRuntimeEngine
from hyvic_runtime.entropy_coder import EntropyCoder
from numpy.typing import NDArray

COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {"encode-scene": encode_scene, "decode-packets": decode_packets}


class HeardCoder(EntropyCoder):
    """Keeps the symbols, and the rows of the tables that code them: ẑ, then the latents under their scale indices."""

    heard: list[tuple[NDArray[Any], NDArray[Any]]] = []  # noqa: RUF012  by all coders of the process

    def encode(self, symbols: NDArray[Any], rows: NDArray[Any]) -> bytes:
        self.heard.append((symbols, rows))
        return super().encode(symbols, rows)

    def decode(self, data: bytes, rows: NDArray[Any]) -> NDArray[np.int32]:
        symbols = super().decode(data, rows)
        self.heard.append((symbols, rows))
        return symbols


class HeardEncoder(SceneEncoder):
    def __post_init__(self) -> None:
        self.workers = 1  # what is heard stands in the order of the tiles
        super().__post_init__()  # codes conformance vectors, which are not the scene's
        self._coder = HeardCoder(self.bundle.tables)


class HeardDecoder(SceneDecoder):
    def __post_init__(self) -> None:
        self.workers = 1
        super().__post_init__()
        HeardCoder.heard.clear()


def coded(out: Path, command: str, *arguments: str) -> int:
    hyvic_runtime.encoder.SceneEncoder = HeardEncoder  # type: ignore[misc]
    hyvic_runtime.decoder.SceneDecoder = HeardDecoder  # type: ignore[misc]
    hyvic_runtime.decoder.EntropyCoder = HeardCoder  # type: ignore[misc]
    status = COMMANDS[command](arguments)
    symbols, rows = (np.concatenate(arrays) for arrays in zip(*HeardCoder.heard, strict=True))
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
