"""The model families, in one place: how each is exported."""

from __future__ import annotations

from hyvic_train.families.latent.codec_model import CodecModel
from hyvic_train.families.latent.hyvic import HyVIC
from hyvic_train.families.latent.joint_codec import JointCodec

from hyvic_export.families.latent.exportable import Exportable
from hyvic_export.families.latent.hyvic import ExportableHyVIC
from hyvic_export.families.latent.joint import ExportableJointCodec


def exportable(model: CodecModel) -> Exportable[CodecModel]:
    """A model as an export sees it."""
    if isinstance(model, HyVIC):
        return ExportableHyVIC(model)
    assert isinstance(model, JointCodec)
    return ExportableJointCodec(model)
