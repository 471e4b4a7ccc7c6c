"""What an export asks of a model family; all else that it does is the same for every family."""

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
    """A model in evaluation mode, by what its family does its own way.

    Attributes:
        model: in torch.
        exact_halos: whether a tile's halo holds all that its kernels reach, so that tiles are coded as the whole scene
            would be.
    """

    exact_halos: ClassVar[bool]

    def __init__(self, model: ModelT_co) -> None:
        self.model = model

    @abstractmethod
    def geometry(self, tile: int) -> TileGeometry:
        """Halos of tiles of so many pixels.

        Raises:
            ValueError: the tile does not fit the model.
        """

    @abstractmethod
    def integer_network(self, hyperlatent_peak: Integers) -> IntegerNetwork:
        """Quantise the entropy path of a calibrated model.

        Args:
            hyperlatent_peak: (N,) largest |ẑ| per channel, beside its median; the encoder clamps to it.

        Raises:
            ValueError: a layer is too wide.
        """

    @abstractmethod
    def analysis(self, tile: Var, mean: Var, geometry: TileGeometry, form: AnalysisForm) -> Var:
        """E as nodes.

        Args:
            tile: float32 (tile, line, sample, band), digital numbers of a tile and its halo.
            mean: float32 (tile, 1, 1, band), what is subtracted from every spectrum.
            geometry: of the tile.
            form: how to write it.

        Returns:
            y, float32 (tile, M, line, sample), of the tile alone.
        """

    @abstractmethod
    def synthesis(self, latent: Var, geometry: TileGeometry) -> Var:
        """D as nodes: (tile, M, line, sample) of a tile and its halo to (tile, line, sample, band) of the tile."""

    def calibrated_peaks(self, pixels: Sequence[Tensor]) -> tuple[ConvolutionPeaks, ...]:
        """What the strided convolutions take and give at most, on real pixels: what int8 is made with.

        Args:
            pixels: each (batch, band, line, sample) digital numbers, the mean spectrum subtracted where the model wants
                it.

        Raises:
            ValueError: int8 is not made for the family.
        """
        raise ValueError(f"a model of the family {self.model.config.family} has no int8 form; choose fp32 or fp16")
