"""Parts of an export that differ between HyVIC and the joint codec; everything else is common to both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

from hyvic_runtime.scene.tile_grid import TileGeometry
from hyvic_train.families.latent.codec_model import CodecModel
from spox import Var
from torch import Tensor

from hyvic_export.families.latent.analysis_form import AnalysisForm, ConvolutionPeaks
from hyvic_export.families.latent.integer_network import IntegerNetwork
from hyvic_export.integer_layer import Integers

ModelT_co = TypeVar("ModelT_co", bound=CodecModel, covariant=True)


class Exportable(ABC, Generic[ModelT_co]):
    """A model in evaluation mode, with the parts of its export that differ between families.

    Attributes:
        model: model in torch.
        exact_halos: True if a tile's halo holds all that its kernels reach, so that tiles give the same result as the
            whole scene.
    """

    exact_halos: ClassVar[bool]

    def __init__(self, model: ModelT_co) -> None:
        self.model = model

    @abstractmethod
    def geometry(self, tile: int) -> TileGeometry:
        """Return strides and halos for tiles of this number of pixels a side.

        Raises:
            ValueError: the tile does not fit the model.
        """

    @abstractmethod
    def integer_network(self, hyperlatent_peak: Integers) -> IntegerNetwork:
        """Quantise the entropy path of a calibrated model.

        Args:
            hyperlatent_peak: largest |ẑ| of each channel, beside its median, (N,); the encoder clamps ẑ to it.

        Raises:
            ValueError: a layer is too wide.
        """

    @abstractmethod
    def analysis(self, tile: Var, mean: Var, geometry: TileGeometry, form: AnalysisForm) -> Var:
        """Write E as nodes.

        Args:
            tile: digital numbers of a tile and its halo, float32 (tile, line, sample, band).
            mean: spectrum to subtract from every pixel, float32 (tile, 1, 1, band).
            geometry: geometry of the tile.
            form: form of the analysis.

        Returns:
            y, float32 (tile, M, line, sample), of the tile alone.
        """

    @abstractmethod
    def synthesis(self, latent: Var, geometry: TileGeometry) -> Var:
        """Write D as nodes, from (tile, M, line, sample) with halo to (tile, line, sample, band) without."""

    def calibrated_peaks(self, pixels: Sequence[Tensor]) -> tuple[ConvolutionPeaks, ...]:
        """Find the largest inputs and outputs of the strided convolutions on real pixels, for int8.

        Args:
            pixels: digital numbers, each (batch, band, line, sample), without the mean spectrum if the model subtracts
                it.

        Raises:
            ValueError: the family has no int8 form.
        """
        raise ValueError(f"a model of the family {self.model.config.family} has no int8 form; choose fp32 or fp16")
