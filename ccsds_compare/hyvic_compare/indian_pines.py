"""Indian Pines: a real scene that any machine can get.

AVIRIS, 12 June 1992, 145 × 145 pixels of 20 m, 200 of 220 bands; Baumgardner, Biehl, Landgrebe (2015),
doi:10.4231/R7RX991C, CC BY 3.0. The PyPI package tensorly ships it with its band centres.

python -m hyvic_compare.indian_pines indian-pines.npz
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from hyvic_runtime.command_line import Result, command_parser, run_command
from hyvic_runtime.errors import SceneError
from hyvic_runtime.scene.files import write_scene
from hyvic_runtime.scene.scene import Scene

ATTRIBUTION = "Indian Pines, AVIRIS 1992: Baumgardner, Biehl, Landgrebe (2015), doi:10.4231/R7RX991C, CC BY 3.0"


def load_indian_pines() -> Scene:
    """Return the scene in its original digital numbers (scaled radiance plus 1,000).

    Raises:
        SceneError: tensorly is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # optional backends that tensorly looks for
            from tensorly.datasets import load_indian_pines as load
    except ImportError as error:
        raise SceneError("Indian Pines comes with tensorly: pip install 'hyvic-onboard[demo]'") from error
    data = load()
    return Scene(cube=np.asarray(data.tensor).astype(np.uint16), wavelengths=np.asarray(data.ticks[1], np.float64))


def main(argv: Sequence[str] | None = None) -> int:
    """Write the scene to a file; 0 done, 1 failed with one line, 2 wrong usage."""
    parser = command_parser(
        "indian_pines", f"Write {ATTRIBUTION}.", "python -m hyvic_compare.indian_pines indian-pines.npz"
    )
    parser.add_argument("out", type=Path, metavar="SCENE", help=".npz .npy .hdr .tif .h5 or .mat")
    return run_command(parser, argv, _write, extra="demo")


def _write(arguments: argparse.Namespace) -> Result:
    scene = load_indian_pines()
    write_scene(scene, arguments.out)
    return {"out": str(arguments.out), "shape": list(scene.cube.shape)}, f"{arguments.out}: {scene.cube.shape}"


if __name__ == "__main__":
    sys.exit(main())
