"""Export of a joint spatial–spectral attention codec."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import spox.opset.ai.onnx.v17 as op
from hyvic_runtime.scene.tile_grid import TileGeometry
from hyvic_train.families.latent.joint_codec import JointCodec
from hyvic_train.families.latent.joint_features import Branches
from hyvic_train.families.latent.local_attention import LocalAttention
from hyvic_train.integer_path import CORRECTION_MAX, HIDDEN_MAX, LATENT_MAX, MEAN_STEP_BITS, latent_step
from numpy.typing import DTypeLike, NDArray
from spox import Var
from torch import nn

from hyvic_export.families.latent.analysis_form import AnalysisForm
from hyvic_export.families.latent.attention_graph import ATTENTION_REACH, local_attention
from hyvic_export.families.latent.exportable import Exportable
from hyvic_export.families.latent.feature_graph import SPATIAL_REACH, fused_features, reconstruction
from hyvic_export.families.latent.integer_network import Completion, IntegerNetwork, PartNetwork, scale_and_mean_layer
from hyvic_export.families.latent.layer_nodes import convolution, cropped, written
from hyvic_export.graph_nodes import float32, scalar
from hyvic_export.integer_layer import IntegerLayer, Integers, Requantisation, doubles, hidden_layers, last_layer
from hyvic_export.precision import Precision


class ExportableJointCodec(Exportable[JointCodec]):
    """Export of a codec with slices, whose transforms see a window of whole attention blocks around a tile."""

    exact_halos = False

    def geometry(self, tile: int) -> TileGeometry:
        """Return halos of whole cells on all sides, so that a window ends at the borders of attention blocks.

        A halo holds all that the synthesis reaches, so a quality map knows the pixels that a lost neighbour changes.
        The encoder's kernels and attention may reach farther, with little effect. For tiles of 32, the smallest, one
        cell of 32 changes an EnMAP tile's PSNR at the finest rate by less than 0.0001 dB, and no halo changes it by
        0.012 dB (joint-s-202 after 2,500 steps, tests/benchmarks/bench_windows.py).
        """
        config = self.model.config
        if tile % config.cell:
            raise ValueError(f"tile is {tile} pixels; it must be a multiple of {config.cell}")
        stride = 1 << config.spatial_stages
        halo = max(1, -(-self._synthesis_reach() * stride // config.cell)) * config.cell
        return TileGeometry(
            tile=tile,
            latent_stride=stride,
            hyper_stride=config.hyper_stride,
            halo_before=halo,
            halo_after=halo,
            latent_halo_before=halo // stride,
            latent_halo_after=halo // stride,
        )

    def _synthesis_reach(self) -> int:
        """Count the latents around a tile that its pixels depend on, stage by stage from the pixels back."""
        config = self.model.config
        reach = SPATIAL_REACH * config.extraction_blocks
        for stage in range(config.spatial_stages + 1):
            if stage:
                reach = (reach + config.kernel_size // 2 + 1) // 2  # reach of a transposed convolution (geometry_of)
            if stage in config.attention_stages:
                block = config.attention_block
                reach = -(-(reach + ATTENTION_REACH) // block) * block
        return reach

    def integer_network(self, hyperlatent_peak: Integers) -> IntegerNetwork:
        model = self.model

        def hidden(
            stages: Iterable[Any], step: NDArray[np.float64], peak: Integers
        ) -> tuple[tuple[IntegerLayer, ...], NDArray[np.float64]]:
            return hidden_layers(
                ((stage.convolution, stage.hidden_peak) for stage in stages),
                input_step=step,
                input_peak=peak,
                slope=2.0**-model.config.leaky_slope_bits,
            )

        layers, step = hidden(model.h_s, np.ones(len(hyperlatent_peak)), hyperlatent_peak)
        peak = np.full(len(step), HIDDEN_MAX)
        parts = []
        latent_steps = doubles(latent_step(model.slices.latent_peak.double()))
        for of, predicting, correcting in zip(
            model.slices.channels, model.slices.prediction, model.slices.correction, strict=True
        ):
            predicted, last_step = hidden((predicting.first, predicting.second), step, peak)
            prediction = (*predicted, scale_and_mean_layer(predicting.last, input_step=last_step))
            operand_step = latent_steps[of]
            step = np.concatenate((step, operand_step))
            limit = np.full(len(operand_step), LATENT_MAX)
            peak = np.concatenate((peak, limit))
            corrected, last_step = hidden((correcting.first, correcting.second), step, peak)
            argument_limit = np.full(len(operand_step), CORRECTION_MAX)
            arguments = last_layer(
                correcting.last,
                input_step=last_step,
                output_step=np.full(len(operand_step), 2.0**-MEAN_STEP_BITS),
                low=-argument_limit,
                high=argument_limit,
            )
            operand = Requantisation(
                shift=np.rint(np.log2(operand_step)).astype(np.int64) + MEAN_STEP_BITS,
                low=-limit,
                high=limit,
                leaky_slope_bits=None,
            )
            completion = Completion(operand=operand, correction=(*corrected, arguments))
            parts.append(PartNetwork(prediction=prediction, completion=completion))
        return IntegerNetwork(layers=layers, parts=tuple(parts), scale_index=None)

    def analysis(self, tile: Var, mean: Var, geometry: TileGeometry, form: AnalysisForm) -> Var:
        """Write extraction and E on the whole window, with zeros around it, as in training."""
        dtype = np.float16 if form.precision is Precision.FP16 else np.float32
        config = self.model.config
        extraction, fusion, *others, last = self.model.g_a
        assert isinstance(extraction, Branches)
        assert isinstance(fusion, nn.Conv2d)
        assert isinstance(last, nn.Conv2d)
        x = op.mul(op.sub(tile, mean), scalar(1 / config.peak))
        if form.precision is Precision.FP16:  # digital numbers do not fit, but fractions of the peak fit
            x = op.cast(x, to=np.float16)
        x = fused_features(x, extraction, fusion, dtype)
        x = cropped(_fusion(x, others, dtype), geometry.halo_before // geometry.latent_stride, geometry.latents)
        return convolution(float32(x), last)

    def synthesis(self, latent: Var, geometry: TileGeometry) -> Var:
        """Write D on the whole window, and reconstruction of the part that the tile needs."""
        config = self.model.config
        *others, fission, branches = self.model.g_s
        assert isinstance(fission, nn.Conv2d)
        assert isinstance(branches, Branches)
        halo = geometry.latent_halo_before * geometry.latent_stride
        seen = min(SPATIAL_REACH * config.extraction_blocks, halo)
        x = cropped(_fusion(latent, others), halo - seen, geometry.tile + 2 * seen)
        spectra = reconstruction(x, fission, branches, config.peak)
        return cropped(spectra, seen, geometry.tile, axes=(1, 2))


def _fusion(x: Var, layers: Iterable[nn.Module], dtype: DTypeLike = np.float32) -> Var:
    """Write the layers of E or D between its pixelwise ends."""
    for layer in layers:
        x = local_attention(x, layer, dtype) if isinstance(layer, LocalAttention) else written(x, layer, dtype)
    return x
