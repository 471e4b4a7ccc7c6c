"""The codec families: the only place that knows how each is exported.

A new family is a folder beside this file and a line in FAMILIES.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from hyvic_runtime.families.adaptive.bundle import ADAPTIVE
from hyvic_train.families.latent.codec_model import CodecModel
from hyvic_train.families.registry import read_run_config

from hyvic_export.families.adaptive.exporter import AdaptiveExport
from hyvic_export.families.latent.exportable import Exportable
from hyvic_export.families.latent.exporter import LatentExport
from hyvic_export.families.latent.hyvic import ExportableHyVIC
from hyvic_export.families.latent.joint import ExportableJointCodec
from hyvic_export.family_export import FamilyExport, Request

_EXPORTABLES: dict[str, Callable[[Any], Exportable[CodecModel]]] = {
    "hyvic": ExportableHyVIC,
    "joint": ExportableJointCodec,
}
FAMILIES: dict[str, Callable[[Request], FamilyExport[Any]]] = {
    **{name: partial(LatentExport, exportable=exportable) for name, exportable in _EXPORTABLES.items()},
    ADAPTIVE: AdaptiveExport,
}
"""Name of a family → constructor of its export."""


def family_export(request: Request) -> FamilyExport[Any]:
    """Start the export of a checkpoint of any family; see `FamilyExport` for what it raises."""
    return FAMILIES[read_run_config(request.checkpoint).model.family](request)


def exportable(model: CodecModel) -> Exportable[CodecModel]:
    """Wrap a model of a latent family with the parts of an export that differ among these families."""
    return _EXPORTABLES[model.config.family](model)
