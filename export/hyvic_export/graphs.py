"""The ONNX graphs of a HyVIC model: encoder, hyper-decoder, decoder.

Built node by node from the weights rather than traced: what flies is what stands here. Constants are
folded: the division by the sensor's peak into the first convolution, GDN's reparametrisation into its
γ and β.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import spox.opset.ai.onnx.v17 as op
import torch
from hyvic_runtime.entropy_coder import SYMBOL_MAX, SYMBOL_MIN
from hyvic_runtime.frequency_table import FrequencyTables
from hyvic_runtime.tile_grid import TileGeometry
from hyvic_train.hyvic import HyVIC
from hyvic_train.integer_path import MEAN_STEP_BITS
from numpy.typing import NDArray
from spox import Tensor, Var, argument, build
from torch import nn

from hyvic_export.analysis_graph import AnalysisForm, analysis, gdn_parameters, layer_weights
from hyvic_export.integer_network import IntegerLayer, IntegerNetwork, sub_pixel_weight


def encoder_graph(
    model: HyVIC,
    network: IntegerNetwork,
    prior: FrequencyTables,
    geometry: TileGeometry,
    form: AnalysisForm,
    *,
    with_latent: bool = False,
) -> onnx.ModelProto:
    """Digital numbers to integers in one graph: analysis, hyper-encoder, entropy path, quantiser.

    Inputs: `tile` float32 (tile, line, sample, band), digital numbers of a tile and its halo, in the order
    that sensors deliver and a matrix product wants; `mean_spectrum` float32 (tile, 1, 1, band), zero for a model that
    does not want it subtracted; `gain` float32 (tile, M, 1, 1), the quantiser's resolution;
    `hyperlatent_mask` float32 (tile, 1, line, sample), one where ẑ is coded and zero where it is not.
    Outputs, int32: `hyperlatent` (tile, N, line, sample), `symbols` and `scale_index` (tile, M, line, sample);
    for measurements also `latent`, float32: y times the gain.
    """
    window = geometry.window
    cells = geometry.hyperlatents
    tile = argument(Tensor(np.float32, ("tile", window, window, model.config.bands)))
    mean_spectrum = argument(Tensor(np.float32, ("tile", 1, 1, model.config.bands)))
    gain = argument(Tensor(np.float32, ("tile", model.config.latent_channels, 1, 1)))
    mask = argument(Tensor(np.float32, ("tile", 1, cells, cells)))

    y = op.mul(analysis(model, tile, mean_spectrum, form), gain)
    z = y
    for layer in model.h_a:
        if isinstance(layer, nn.Conv2d):
            z = _convolution(z, layer, pad=layer.kernel_size[0] // 2)
        else:
            z = op.leaky_relu(z, alpha=2.0**-model.config.leaky_slope_bits)
    lowest, highest = (_per_channel(bound) for bound in (prior.first, prior.first + prior.length - 1))
    if model.config.hyperprior == "compressai":
        z = op.sub(z, _per_channel(_array(model.medians)))
    z_hat = op.mul(op.min([op.max([op.round(z), lowest]), highest]), mask)

    scale_index, mean_steps = _entropy_path(z_hat, network)
    mean = op.mul(mean_steps, _scalar(2.0**-MEAN_STEP_BITS))
    symbols = op.clip(op.round(op.sub(y, mean)), _scalar(SYMBOL_MIN), _scalar(SYMBOL_MAX))
    return _built(
        {"tile": tile, "mean_spectrum": mean_spectrum, "gain": gain, "hyperlatent_mask": mask},
        {"hyperlatent": _int32(z_hat), "symbols": _int32(symbols), "scale_index": _int32(scale_index)}
        | ({"latent": y} if with_latent else {}),
    )


def hyperdecoder_graph(model: HyVIC, network: IntegerNetwork, geometry: TileGeometry) -> onnx.ModelProto:
    """The entropy path alone, for the ground and for the conformance vectors.

    Input: `hyperlatent` float32 (tile, N, line, sample), integers.
    Outputs, int32: `scale_index` and `mean_steps` (tile, M, line, sample).
    """
    cells = geometry.hyperlatents
    z_hat = argument(Tensor(np.float32, ("tile", model.config.hyperlatent_channels, cells, cells)))
    scale_index, mean_steps = _entropy_path(z_hat, network)
    return _built({"hyperlatent": z_hat}, {"scale_index": _int32(scale_index), "mean_steps": _int32(mean_steps)})


def decoder_graph(model: HyVIC, geometry: TileGeometry) -> onnx.ModelProto:
    """Quantised latents to digital numbers.

    Input: `latent` float32 (tile, M, line, sample), a tile's latents times their inverse gains, and their halo.
    Output: `reconstruction` float32 (tile, line, sample, band), digital numbers, not rounded.
    """
    size = geometry.latent_window
    latent = argument(Tensor(np.float32, ("tile", model.config.latent_channels, size, size)))
    x = latent
    for layer in model.g_s[:-1]:
        if isinstance(layer, nn.Conv2d):
            x = _convolution(x, layer, pad=0)
        else:
            x = _upsampling(x, layer) if isinstance(layer, nn.ConvTranspose2d) else _igdn(x, layer)
    before = geometry.latent_halo_before * geometry.latent_stride
    crop = np.array([before, before]), np.array([before + geometry.tile] * 2), np.array([2, 3])
    x = op.transpose(op.slice(x, *(op.const(v) for v in crop)), perm=[0, 2, 3, 1])
    weight, bias = layer_weights(model.g_s[-1])
    peak = np.float32(model.config.peak)
    spectra = op.add(op.matmul(x, op.const(weight[:, :, 0, 0].T * peak)), op.const(bias * peak))
    return _built({"latent": latent}, {"reconstruction": spectra})


def _convolution(x: Var, layer: nn.Conv2d, *, pad: int) -> Var:
    weight, bias = layer_weights(layer)
    return op.conv(x, op.const(weight), op.const(bias), strides=list(layer.stride), pads=[pad] * 4)


def _upsampling(x: Var, layer: nn.ConvTranspose2d) -> Var:
    """A stride-2 transposed convolution as a sub-pixel convolution, the faster of the two in ONNX Runtime."""
    weight, (before, after) = sub_pixel_weight(_array(layer.weight).astype(np.float64))
    _, bias = layer_weights(layer)
    pads = [before, before, after, after]
    phases = op.conv(x, op.const(weight.astype(np.float32)), op.const(np.repeat(bias, 4)), pads=pads)
    return op.depth_to_space(phases, blocksize=2, mode="CRD")


def _igdn(x: Var, layer: Any) -> Var:
    """IGDN: x · √(β + γ x²)."""
    ones = np.ones(len(layer.beta), np.float32)
    gamma, beta = gdn_parameters(layer, ones, ones)
    return op.mul(x, op.sqrt(op.conv(op.mul(x, x), op.const(gamma[:, :, None, None]), op.const(beta))))


def _entropy_path(z_hat: Var, network: IntegerNetwork) -> tuple[Var, Var]:
    x = z_hat
    for layer in network.layers:
        x = _integer_sums(x, layer)
        if layer.leaky_slope_bits is not None:
            x = op.max([x, op.mul(x, _scalar(2.0**-layer.leaky_slope_bits))])
        x = op.round(op.mul(x, _per_channel(np.exp2(-layer.shift.astype(np.float64)))))
        x = op.min([op.max([x, _per_channel(layer.low)]), _per_channel(layer.high)])
        if layer.upsampling:
            x = op.depth_to_space(x, blocksize=2, mode="CRD")
    scales, mean_steps = op.split(x, axis=1, outputs_count=2)
    if network.scale_index is not None:
        scales = op.gather(op.const(network.scale_index.astype(np.int32)), _int32(scales))
    return scales, mean_steps


def _integer_sums(x: Var, layer: IntegerLayer) -> Var:
    before, after = layer.pad
    pads = [before, before, after, after]
    weight, bias = layer.weight.astype(np.float32), layer.bias.astype(np.float32)
    if layer.split_bits == 0:
        return op.conv(x, op.const(weight), op.const(bias), pads=pads)
    sizes = np.array([group.stop - group.start for group in layer.groups])
    groups = op.split(x, op.const(sizes), axis=1, outputs_count=len(sizes))
    partial = [
        op.conv(part, op.const(weight[:, group]), pads=pads) for part, group in zip(groups, layer.groups, strict=True)
    ]
    scale = _scalar(2.0**-layer.split_bits)
    return op.sum([_per_channel(layer.bias), *(op.round(op.mul(sums, scale)) for sums in partial)])


def _array(tensor: torch.Tensor) -> NDArray[np.float32]:
    return np.asarray(tensor.detach().cpu(), np.float32)


def _per_channel(values: NDArray[np.generic]) -> Var:
    return op.const(values.astype(np.float32)[:, None, None])


def _scalar(value: float) -> Var:
    return op.const(np.float32(value))


def _int32(x: Var) -> Var:
    return op.cast(x, to=np.int32)


def _built(inputs: dict[str, Var], outputs: dict[str, Var]) -> onnx.ModelProto:
    graph = build(inputs, outputs)
    graph.producer_name = "hyvic-onboard"
    return graph
