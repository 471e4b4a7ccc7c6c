"""Codecs that `compare-codecs` knows by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ccsds123 import BlockAdaptive, Hybrid, SampleAdaptive

from hyvic_compare.codecs.bundle_codec import BundleCodec
from hyvic_compare.codecs.ccsds123 import Ccsds123Lossless, Ccsds123NearLossless
from hyvic_compare.codecs.codec import Codec, LosslessCodec
from hyvic_compare.codecs.jpeg2000 import Jpeg2000
from hyvic_compare.codecs.jpeg_ls import JpegLsLossless, JpegLsNearLossless
from hyvic_compare.codecs.pca import Pca
from hyvic_compare.codecs.pca_jpeg2000 import PcaJpeg2000

AnyCodec = Codec | LosslessCodec

CODECS: Mapping[str, AnyCodec] = {
    "pca-jpeg2000": PcaJpeg2000(),
    "pca": Pca(),
    "jpeg2000": Jpeg2000(),
    "jpeg2000-per-band": Jpeg2000(per_band=True),
    "ccsds123-hybrid": Ccsds123NearLossless(coder=Hybrid()),
    "ccsds123-block-adaptive": Ccsds123NearLossless(coder=BlockAdaptive()),
    "ccsds123-sample-adaptive": Ccsds123NearLossless(coder=SampleAdaptive()),
    "jpeg-ls": JpegLsNearLossless(),
    "ccsds123-lossless-hybrid": Ccsds123Lossless(coder=Hybrid()),
    "ccsds123-lossless-block-adaptive": Ccsds123Lossless(coder=BlockAdaptive()),
    "ccsds123-lossless-sample-adaptive": Ccsds123Lossless(coder=SampleAdaptive()),
    "jpeg-ls-lossless": JpegLsLossless(),
}


def chosen_codecs(names: Sequence[str], bundles: Sequence[Path]) -> tuple[AnyCodec, ...]:
    """Return the bundles, then the named codecs in the order of CODECS.

    Args:
        names: keys of CODECS; if empty, all codecs are chosen.
        bundles: folders; each is called by its own name, and by its parent's too if several have this name.

    Raises:
        BundleError: a bundle cannot be read.
        ValueError: a name is unknown, or a bundle is given twice.
    """
    unknown = [name for name in names if name not in CODECS]
    if unknown:
        raise ValueError(f"no codec is called '{unknown[0]}'; known are {', '.join(CODECS)}, and --bundle adds ours")
    folders = [folder.resolve() for folder in bundles]
    if len(set(folders)) < len(folders):
        raise ValueError("a bundle is given twice; name each once")
    plain = [folder.name for folder in folders]
    titles = [
        f"{folder.parent.name}/{folder.name}" if plain.count(folder.name) > 1 else folder.name for folder in folders
    ]
    ours = [BundleCodec(folder=f, name=t.removesuffix(".bundle")) for f, t in zip(folders, titles, strict=True)]
    return (*ours, *(codec for name, codec in CODECS.items() if not names or name in names))
