"""Small joint codecs with random weights, calibrated on a synthetic scene."""

from __future__ import annotations

import numpy as np
import torch
from hyvic_train.families.latent.joint_codec import JointCodec
from hyvic_train.families.latent.model_config import JointConfig
from scenes import smooth_cube

ARCHITECTURE = {
    "bands": 7,
    "latent_channels": 12,
    "feature_channels": 10,
    "hyperlatent_channels": 6,
    "slices": 3,
    "slice_channels": 8,
    "slice_kernel_size": 3,
    "extraction_blocks": 1,
    "spectral_features": 2,
    "attention_block": 4,
    "spatial_stages": 1,
}


def random_joint_codec(**fields: object) -> JointCodec:
    """Latents of some tens of steps, so that symbols and operands are more than zero."""
    torch.manual_seed(0)
    model = JointCodec(JointConfig(**(ARCHITECTURE | fields))).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        model.g_a[-1].weight.mul_(100)  # type: ignore[operator]
        model.calibrate(pixels(64))
    return model


def pixels(side: int, bands: int = 7) -> torch.Tensor:
    """(1, band, line, sample) digital numbers."""
    return torch.from_numpy(np.moveaxis(smooth_cube(side, side, bands), -1, 0).astype(np.float32))[None]
