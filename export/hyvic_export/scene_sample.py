"""Sample of a scene, to calibrate and measure with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hyvic_runtime.scene.marked_samples import fill_line
from hyvic_runtime.scene.scene import Scene, mean_spectrum


def sample_of(scene: Scene, side: int) -> Scene:
    """Cut the first lines and samples of a scene, and fill no-data as the encoder does.

    So every sample can be used for calibration and measurement.
    """
    scene = replace(scene, cube=scene.cube[:side, :side])
    if scene.no_data is None:
        return scene
    cube, mean = np.array(scene.cube), mean_spectrum(scene)
    for line in cube:
        fill_line(line, line == scene.no_data, mean)
    return replace(scene, cube=cube, no_data=None)
