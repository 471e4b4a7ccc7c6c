"""Export of a HyVIC model.

In int8, QuantizeLinear and DequantizeLinear quantise the strided convolutions of the analysis: weights per output
channel, inputs and outputs to ±127 of a peak per channel. The peaks are folded into GDN: a factor on its γ and β gives
x / peak, and another factor removes it. Pixelwise layers stay in float32: the first sees digital numbers of 16 bits,
and the last decides the resolution of a latent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import spox.opset.ai.onnx.v17 as op
import torch
from hyvic_runtime.scene.tile_grid import TileGeometry, geometry_of
from hyvic_train.families.latent.hyvic import HyVIC
from spox import Var

from hyvic_export.families.latent.analysis_form import AnalysisForm, ConvolutionPeaks
from hyvic_export.families.latent.exportable import Exportable
from hyvic_export.families.latent.integer_network import (
    IntegerNetwork,
    PartNetwork,
    scale_and_mean_layer,
    scale_lookup,
)
from hyvic_export.families.latent.layer_nodes import cropped, gdn, gdn_parameters, layer_weights, written
from hyvic_export.graph_nodes import Floats, constant
from hyvic_export.integer_layer import Integers, doubles, hidden_layers
from hyvic_export.precision import Precision

INT8_MAX = 127


class ExportableHyVIC(Exportable[HyVIC]):
    """Export of a model whose ẑ predicts the whole latent, and whose halos hold all that the kernels reach."""

    exact_halos = True

    def geometry(self, tile: int) -> TileGeometry:
        config = self.model.config
        return geometry_of(tile=tile, kernel_size=config.kernel_size, spatial_stages=config.spatial_stages)

    def integer_network(self, hyperlatent_peak: Integers) -> IntegerNetwork:
        model = self.model
        stages: list[Any] = list(model.h_s)
        hidden, step = hidden_layers(
            [(stages[0], model.hidden_peak_0), (stages[2], model.hidden_peak_1)],
            input_step=np.ones(model.config.hyperlatent_channels),
            input_peak=hyperlatent_peak,
            slope=model.config.negative_slope,
            input_offset=doubles(model.medians),
        )
        logarithmic = model.config.hyperprior == "log2"
        last = scale_and_mean_layer(stages[4], input_step=step, logarithmic=logarithmic)
        return IntegerNetwork(
            layers=hidden,
            parts=(PartNetwork(prediction=(last,)),),
            scale_index=None if logarithmic else scale_lookup(),
        )

    def analysis(self, tile: Var, mean: Var, geometry: TileGeometry, form: AnalysisForm) -> Var:
        """Write E without padding, because the halo holds all that a kernel reaches."""
        config = self.model.config
        dtype = np.float16 if form.precision is Precision.FP16 else np.float32
        first, first_gdn, *others = self.model.g_a
        convolutions, normalisations, last = others[:-1:2], others[1:-1:2], others[-1]
        ones = np.ones(config.hyperlatent_channels, np.float32)
        peaks = form.peaks or (ConvolutionPeaks(inputs=ones, outputs=ones),) * len(convolutions)

        def quantised(x: Var) -> Var:
            return _quantised(x, unsigned=form.unsigned) if form.precision is Precision.INT8 else x

        weight, bias = layer_weights(first)
        if form.precision is Precision.FP16:  # digital numbers do not fit, but fractions of the peak fit
            x = op.cast(op.mul(op.sub(tile, mean), op.const(np.float32(1 / config.peak))), to=np.float16)
            x = op.add(op.matmul(x, constant(weight[:, :, 0, 0].T, dtype)), constant(bias, dtype))
        else:  # the layer is linear, so its bias can subtract the mean, instead of every pixel
            kernel = constant(weight[:, :, 0, 0].T / np.float32(config.peak))
            x = op.add(op.matmul(tile, kernel), op.sub(constant(bias), op.matmul(mean, kernel)))
        gamma, beta = gdn_parameters(first_gdn, ones, peaks[0].inputs if peaks else ones)
        norm = op.sqrt(op.add(op.matmul(op.mul(x, x), constant(gamma.T, dtype)), constant(beta, dtype)))
        x = op.transpose(op.div(x, norm), perm=[0, 3, 1, 2])
        following = [*(peak.inputs for peak in peaks[1:]), ones]
        for layer, normalisation, peak, wanted in zip(convolutions, normalisations, peaks, following, strict=False):
            weight, bias = layer_weights(layer)
            weight = weight * (peak.inputs / peak.outputs[:, None])[:, :, None, None]
            kernel = _quantised_weight(weight) if form.precision is Precision.INT8 else constant(weight, dtype)
            x = op.conv(quantised(x), kernel, constant(bias / peak.outputs, dtype), strides=[2, 2], pads=[0] * 4)
            x = gdn(quantised(x), normalisation, dtype, (peak.outputs, wanted))
        weight, bias = layer_weights(last)
        return op.conv(op.cast(x, to=np.float32), op.const(weight), op.const(bias))

    def synthesis(self, latent: Var, geometry: TileGeometry) -> Var:
        x = latent
        for layer in self.model.g_s[:-1]:
            x = written(x, layer)
        x = cropped(x, geometry.latent_halo_before * geometry.latent_stride, geometry.tile)
        weight, bias = layer_weights(self.model.g_s[-1])
        peak = np.float32(self.model.config.peak)
        spectra = op.matmul(op.transpose(x, perm=[0, 2, 3, 1]), op.const(weight[:, :, 0, 0].T * peak))
        return op.add(spectra, op.const(bias * peak))

    @torch.no_grad()
    def calibrated_peaks(self, pixels: Sequence[torch.Tensor]) -> tuple[ConvolutionPeaks, ...]:
        first, first_gdn, *others = self.model.g_a
        peaks = []
        hidden = [first_gdn(first(x / self.model.config.peak)) for x in pixels]
        for layer, normalisation in zip(others[:-1:2], others[1:-1:2], strict=True):
            outputs = [layer(x) for x in hidden]
            peaks.append(ConvolutionPeaks(inputs=_peak(hidden), outputs=_peak(outputs)))
            hidden = [normalisation(x) for x in outputs]
        return tuple(peaks)


def _peak(activations: Sequence[torch.Tensor]) -> Floats:
    peak: Floats = np.max([np.asarray(x.abs().amax(dim=(0, 2, 3)), np.float32) for x in activations], axis=0)
    silent = np.float32(max(float(peak.max()), 1.0) * 2.0**-20)  # on these pixels, but perhaps not on others
    return np.maximum(peak, silent)


def _quantised(x: Var, *, unsigned: bool) -> Var:
    """Round x in ±1 to steps of 1/127, and convert it back to float."""
    scale = op.const(np.float32(1 / INT8_MAX))
    zero = op.const(np.uint8(128) if unsigned else np.int8(0))
    return op.dequantize_linear(op.quantize_linear(x, scale, zero), scale, zero)


def _quantised_weight(weight: Floats) -> Var:
    scale = np.abs(weight).max(axis=(1, 2, 3)) / INT8_MAX
    scale = np.where(scale > 0, scale, np.float32(1)).astype(np.float32)
    steps = np.rint(weight / scale[:, None, None, None]).astype(np.int8)
    return op.dequantize_linear(op.const(steps), op.const(scale), op.const(np.zeros(len(scale), np.int8)), axis=0)
