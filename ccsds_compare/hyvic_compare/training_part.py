"""The part that a scene had in the training of a codec: looked up by its pixels, and compared with what a user says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from hyvic_runtime.codec.seen_scenes import Seen

from hyvic_compare.codec_choice import AnyCodec
from hyvic_compare.codecs.bundle_codec import BundleCodec
from hyvic_compare.scene_facts import Facts


def training_part(codec: AnyCodec, scene: str, sha256: str, facts: Facts) -> Seen:
    """Return the part of a scene in a codec's training.

    A scene counts as seen if the bundle lists its pixels, or if the facts say so: a hash finds no crop of a training
    scene. No fact makes a scene unseen. Codecs that are no bundles are not trained.

    Args:
        codec: codec that codes the scene.
        scene: name of the scene.
        sha256: content hash of the scene as its file holds it.
        facts: facts from the user.
    """
    if facts.saw(codec.name, scene):
        return Seen.TRAINED
    return codec.seen_scenes.answer(sha256) if isinstance(codec, BundleCodec) else Seen.NO


def training_remarks(codecs: Sequence[AnyCodec], hashes: Mapping[str, str], facts: Facts) -> Iterator[str]:
    """Yield a sentence wherever facts and pixels disagree, and wherever nobody knows.

    Args:
        codecs: codecs of a comparison.
        hashes: content hash of each scene, by its name.
        facts: facts from the user.
    """
    for codec in codecs:
        if not isinstance(codec, BundleCodec):
            continue
        answers = {scene: codec.seen_scenes.answer(sha256) for scene, sha256 in hashes.items()}
        claimed = {scene for scene in hashes if facts.saw(codec.name, scene)}
        trained = [scene for scene, answer in answers.items() if answer is Seen.TRAINED]
        if facts.seen_by(codec.name) and (denied := [scene for scene in trained if scene not in claimed]):
            yield (
                f"{codec.name} was trained on {', '.join(denied)}, by the hashes of their pixels, and the facts do not "
                "say so: correct them. They are marked as seen."
            )
        if strangers := [s for s in claimed if answers[s] in (Seen.NO, Seen.MEASURED)]:
            yield (
                f"The facts say that {codec.name} was trained on {', '.join(sorted(strangers))}, and its list has no "
                "scene of these pixels: another version or a crop, or a mistake. They are marked as seen."
            )
        if unknown := [s for s, answer in answers.items() if answer is Seen.UNKNOWN and s not in claimed]:
            yield (
                f"Whether {codec.name} was trained on {', '.join(unknown)} is unknown: its bundle has no complete list "
                "of training scenes."
            )
