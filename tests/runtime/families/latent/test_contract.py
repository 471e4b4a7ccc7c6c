"""HyVIC and the joint codec do what every codec does."""

from __future__ import annotations

from codec_contract import CodecContract
from faulty_engines import latent_with_faults
from hyvic_runtime.families.latent.bundle import file_names
from scenes import BANDS


class TestHyVIC(CodecContract):
    BUNDLE = "tiny_bundle"
    BANDS = BANDS
    files = file_names(0)
    with_faults = staticmethod(latent_with_faults)


class TestJointCodec(CodecContract):
    BUNDLE = "tiny_joint_bundle"
    BANDS = BANDS
    FIDELITY_RISE = 0  # trained for 12 steps
    files = file_names(3)
    with_faults = staticmethod(latent_with_faults)
