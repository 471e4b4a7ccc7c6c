"""The ONNX graphs of a model: encoder, hyper-decoder, slices, decoder.

They are built node by node from the weights, not traced, so this code shows every node that flies. Constants are
folded: the division by the sensor's peak into the first convolution, GDN's reparametrisation into its γ and β.
"""

from __future__ import annotations

import numpy as np
import onnx
import spox.opset.ai.onnx.v17 as op
from hyvic_runtime.entropy.unit_coder import SYMBOL_MAX, SYMBOL_MIN
from hyvic_runtime.scene.tile_grid import TileGeometry
from hyvic_train.families.latent.codec_model import CodecModel
from hyvic_train.integer_path import MEAN_STEP_BITS
from spox import Tensor, Var, argument

from hyvic_export.families.latent.analysis_form import AnalysisForm
from hyvic_export.families.latent.entropy_model import EntropyModel
from hyvic_export.families.latent.entropy_path_graph import completion, layers, prediction
from hyvic_export.families.latent.exportable import Exportable
from hyvic_export.families.latent.integer_network import IntegerNetwork
from hyvic_export.families.latent.layer_nodes import written
from hyvic_export.graph_nodes import array, built, float32, int32, per_channel, scalar


def encoder_graph(
    exportable: Exportable[CodecModel], entropy: EntropyModel, geometry: TileGeometry, form: AnalysisForm
) -> onnx.ModelProto:
    """Make the graph from digital numbers to integers: analysis, hyper-encoder, entropy path, quantiser.

    Inputs: `tile` float32 (tile, line, sample, band), digital numbers of a tile and its halo, in the order of sensors
    and of a matrix product. `mean_spectrum` float32 (tile, 1, 1, band), zero for a model that does not subtract it.
    `gain` float32 (tile, M, 1, 1), resolution of the quantiser. `hyperlatent_mask` float32 (tile, 1, line, sample), one
    where ẑ is coded and zero elsewhere. With slices, `latent_mask` float32 (tile, 1, line, sample), one where ŷ is
    coded: a slice's prediction depends on neighbouring symbols, and the decoder has only the coded ones.
    Outputs, int32: `hyperlatent` (tile, N, line, sample), `symbols` and `scale_index` (tile, M, line, sample).
    """
    model, network, prior = exportable.model, entropy.network, entropy.prior
    window, cells, size = geometry.window, geometry.hyperlatents, geometry.latents
    tile = argument(Tensor(np.float32, ("tile", window, window, model.config.bands)))
    mean_spectrum = argument(Tensor(np.float32, ("tile", 1, 1, model.config.bands)))
    gain = argument(Tensor(np.float32, ("tile", model.config.latent_channels, 1, 1)))
    mask = argument(Tensor(np.float32, ("tile", 1, cells, cells)))
    latent_mask = argument(Tensor(np.float32, ("tile", 1, size, size)))

    y = op.mul(exportable.analysis(tile, mean_spectrum, geometry, form), gain)
    z = y
    for layer in model.h_a:
        z = written(z, layer)
    lowest, highest = (per_channel(bound) for bound in (prior.first, prior.first + prior.length - 1))
    if model.medians.any():
        z = op.sub(z, per_channel(array(model.medians)))
    z_hat = op.mul(op.min([op.max([op.round(z), lowest]), highest]), mask)

    context = layers(z_hat, network.layers)
    parts = len(network.parts)
    symbols, scale_index = [], []
    for number, y_part in enumerate(op.split(y, axis=1, outputs_count=parts) if parts > 1 else [y]):
        indices, mean_steps = prediction(context, network, number)
        mean = op.mul(mean_steps, scalar(2.0**-MEAN_STEP_BITS))
        coded = op.clip(op.round(op.sub(y_part, mean)), scalar(SYMBOL_MIN), scalar(SYMBOL_MAX))
        after = network.parts[number].completion
        if after is not None:
            coded = op.mul(coded, latent_mask)
            _, context = completion(context, coded, mean_steps, after)
        symbols.append(int32(coded))
        scale_index.append(int32(indices))
    inputs = {"tile": tile, "mean_spectrum": mean_spectrum, "gain": gain, "hyperlatent_mask": mask}
    return built(
        inputs | ({"latent_mask": latent_mask} if network.slices else {}),
        {"hyperlatent": int32(z_hat), "symbols": _joined(symbols), "scale_index": _joined(scale_index)},
    )


def with_latent(encoder: onnx.ModelProto) -> onnx.ModelProto:
    """Copy an encoder graph for measurements, with another output: `latent` float32, y times the gain."""
    copy = onnx.ModelProto()
    copy.CopyFrom(encoder)
    (latent,) = (node.output[0] for node in copy.graph.node if "gain" in node.input)
    copy.graph.node.append(onnx.helper.make_node("Identity", [latent], ["latent"]))
    (symbols,) = (output for output in copy.graph.output if output.name == "symbols")
    output = copy.graph.output.add()
    output.CopyFrom(symbols)
    output.name, output.type.tensor_type.elem_type = "latent", onnx.TensorProto.FLOAT
    return copy


def hyperdecoder_graph(network: IntegerNetwork, geometry: TileGeometry) -> onnx.ModelProto:
    """Make the graph of the entropy path up to the first symbols, for the ground and the conformance vectors.

    Input: `hyperlatent` float32 (tile, N, line, sample), integers.
    Outputs, int32: `scale_index` and `mean_steps` (tile, M / parts, line, sample); where there are slices also
    `context` float32 (tile, channel, line, sample), integers.
    """
    cells = geometry.hyperlatents
    z_hat = argument(Tensor(np.float32, ("tile", network.layers[0].weight.shape[1], cells, cells)))
    context = layers(z_hat, network.layers)
    return built(
        {"hyperlatent": z_hat}, _predicted(context, network, 0) | ({"context": context} if network.slices else {})
    )


def slice_graph(network: IntegerNetwork, geometry: TileGeometry, part: int) -> onnx.ModelProto:
    """Make the graph that completes a part of the latent and predicts the next one.

    Inputs: `part_context` float32, the `context` of the graph before; `part_symbols` and `part_mean_steps` int32
    (tile, M / parts, line, sample). A graph names a value once, so its inputs and outputs differ in name.
    Outputs: `latent_steps` int32 (tile, M / parts, line, sample), ŷ of the part. All but the last also give
    `scale_index` and `mean_steps` int32 of the next part, and `context` float32 with the part's operands appended.
    """
    this = network.parts[part].completion
    assert this is not None
    size, depth = geometry.latents, len(this.operand.shift)
    context = argument(Tensor(np.float32, ("tile", this.correction[0].weight.shape[1] - depth, size, size)))
    symbols, mean_steps = (argument(Tensor(np.int32, ("tile", depth, size, size))) for _ in range(2))
    latent_steps, following = completion(context, float32(symbols), float32(mean_steps), this)
    outputs = {"latent_steps": int32(latent_steps)}
    if part + 1 < len(network.parts):
        outputs |= _predicted(following, network, part + 1) | {"context": following}
    return built({"part_context": context, "part_symbols": symbols, "part_mean_steps": mean_steps}, outputs)


def decoder_graph(exportable: Exportable[CodecModel], geometry: TileGeometry) -> onnx.ModelProto:
    """Make the graph from quantised latents to digital numbers.

    Input: `latent` float32 (tile, M, line, sample), a tile's latents times their inverse gains, and their halo.
    Output: `reconstruction` float32 (tile, line, sample, band), digital numbers, not rounded.
    """
    size = geometry.latent_window
    latent = argument(Tensor(np.float32, ("tile", exportable.model.config.latent_channels, size, size)))
    return built({"latent": latent}, {"reconstruction": exportable.synthesis(latent, geometry)})


def _predicted(context: Var, network: IntegerNetwork, part: int) -> dict[str, Var]:
    scale_index, mean_steps = prediction(context, network, part)
    return {"scale_index": int32(scale_index), "mean_steps": int32(mean_steps)}


def _joined(parts: list[Var]) -> Var:
    return op.concat(parts, axis=1) if len(parts) > 1 else parts[0]
