"""Scenes × codecs × ratios, as tasks of a Dask cluster."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from hyvic_runtime.ground.stream_archive import dask_client
from hyvic_runtime.support.sigint import until_interrupted
from numpy.typing import NDArray

from hyvic_compare.codec_choice import AnyCodec
from hyvic_compare.codecs.bundle_codec import BundleCodec
from hyvic_compare.codecs.codec import LosslessCodec
from hyvic_compare.measure_codec import Measured, measure
from hyvic_compare.measurement_cache import MeasurementCache
from hyvic_compare.preview import preview_of, telling_pixels
from hyvic_compare.results import ComparedScene, Comparison, Measurement, Preview
from hyvic_compare.scene_facts import Facts
from hyvic_compare.scene_source import PreparedScene, SceneSource
from hyvic_compare.training_part import training_part, training_remarks

if TYPE_CHECKING:
    from distributed import Client, Future


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Scenes, codecs and ratios to compare.

    Attributes:
        sources: scenes with different names.
        codecs: codecs with different names.
        ratios: target ratios, ascending.
        peak: largest digital number, for PSNR, of all scenes; None for 10,000 of 16-bit scenes and 255 of 8-bit ones.
        facts: facts about scenes, and which codec has seen which scene.
    """

    sources: tuple[SceneSource, ...]
    codecs: tuple[AnyCodec, ...]
    ratios: tuple[float, ...]
    peak: float | None
    facts: Facts

    def __post_init__(self) -> None:
        for what, names in (("scenes", [s.name for s in self.sources]), ("codecs", [c.name for c in self.codecs])):
            if twice := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"two {what} are called {min(twice)}; rename one")

    def peak_of(self, bit_depth: int) -> float:
        """Return the largest digital number, for PSNR."""
        return self.peak or (REFLECTANCE_PEAK if bit_depth == 16 else 2.0**bit_depth - 1)

    @property
    def shown_ratio(self) -> float:
        """Target in the middle, whose reconstructions are shown."""
        return self.ratios[len(self.ratios) // 2]


REFLECTANCE_PEAK = 10_000.0
"""Reflectance of 1 in the digital numbers of EnMAP, and the peak of the seed paper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """One point to measure.

    Attributes:
        key: key in the cache.
        source: source of the scene.
        codec: codec of the point.
        target_ratio: ratio to ask for, or None for a lossless codec.
        peak: largest digital number, for PSNR.
        pixels: pixels of the preview, or None if there is no preview.
    """

    key: str
    source: SceneSource
    codec: AnyCodec
    target_ratio: float | None
    peak: float
    pixels: NDArray[Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Result of `compare`.

    Attributes:
        comparison: everything that the report is made of.
        coded: number of points that were measured now; all others were in the cache.
    """

    comparison: Comparison
    coded: int


def compare(plan: Plan, cache: MeasurementCache, *, scheduler: str | None, command: str) -> Outcome:
    """Measure what the cache lacks, and gather everything.

    Args:
        plan: scenes, codecs and ratios.
        cache: earlier measurements; each new one is kept as soon as it is made.
        scheduler: address of a Dask cluster whose workers can read scenes and bundles under their paths and run one
            task at a time; None for one process on each core of this machine.
        command: command line as it was typed.

    Raises:
        SceneError: a scene cannot be read.
        ArchiveError: the scheduler cannot be reached.
    """
    from tqdm import tqdm

    scenes: list[ComparedScene] = []
    tasks: list[_Task] = []
    for source in plan.sources:
        prepared = source.read()
        scenes.append(_compared(plan, source, prepared))
        tasks += _tasks(plan, cache, source, prepared.digest(), scenes[-1])
    points = {task.key: task for task in tasks}  # scenes of one content are measured once
    found = {key: cache.get(key, pixels=task.pixels) for key, task in points.items()}
    measured = {key: known for key, known in found.items() if known is not None}
    missing = [task for key, task in points.items() if key not in measured]
    with tqdm(total=len(points), initial=len(measured), unit="point", disable=None) as bar:
        try:
            for key, result in until_interrupted(_measured(missing, scheduler)):
                measured[key] = result
                if result.lasting:
                    cache.put(key, result, pixels=points[key].pixels)
                bar.update()
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(
                f"{len(measured)} of {len(points)} points are kept in {cache.folder}; the same command goes on"
            ) from error
    return Outcome(
        comparison=_comparison(plan, scenes, [(task, measured[task.key]) for task in tasks], command),
        coded=len(missing),
    )


def _compared(plan: Plan, source: SceneSource, prepared: PreparedScene) -> ComparedScene:
    scene = prepared.scene
    lines, samples, bands = scene.cube.shape
    pixels = telling_pixels(scene)
    return ComparedScene(
        name=source.name,
        sensor=source.facts.sensor,
        shape=(lines, samples, bands),
        peak=plan.peak_of(scene.bit_depth),
        bit_depth=scene.bit_depth,
        wavelengths=scene.wavelengths,
        pixels=pixels,
        original=preview_of(scene, None, pixels),
        content_sha256=prepared.content_sha256,
        prepared=prepared.prepared,
    )


def _tasks(
    plan: Plan, cache: MeasurementCache, source: SceneSource, digest: str, scene: ComparedScene
) -> Iterator[_Task]:
    for codec in plan.codecs:
        for ratio in (None,) if isinstance(codec, LosslessCodec) else plan.ratios:
            yield _Task(
                key=cache.key(digest, codec, ratio, scene.peak),
                source=source,
                codec=codec,
                target_ratio=ratio,
                peak=scene.peak,
                pixels=scene.pixels if ratio == plan.shown_ratio else None,
            )


def _measured(tasks: Sequence[_Task], scheduler: str | None) -> Iterator[tuple[str, Measured]]:
    """Yield results as they come, with their keys."""
    if not tasks:
        return
    from dask import config
    from distributed import KilledWorker, as_completed

    # A codec that ends its process would end the next one too.
    no_second_try = config.set({"distributed.scheduler.allowed-failures": 0})
    with no_second_try, dask_client(scheduler, len(tasks)) as client:
        scenes = {
            source: client.submit(source.read, pure=False) for source in dict.fromkeys(task.source for task in tasks)
        }
        futures = {_submit(client, task, scenes[task.source]): task for task in tasks}
        scenes.clear()  # a scene is let go once its last task is done
        suspects = []
        for future in as_completed(list(futures)):  # type: ignore[no-untyped-call]
            task = futures.pop(future)
            try:
                yield task.key, future.result()
            except KilledWorker:
                suspects.append(task)
        # All tasks that waited for an ended process are among the suspects. Alone, a task can only end itself.
        for task in suspects:
            scene = client.submit(task.source.read, pure=False)
            try:
                yield task.key, _submit(client, task, scene).result()
            except KilledWorker:
                yield task.key, _ended(task)


def _submit(client: Client, task: _Task, scene: Future[PreparedScene]) -> Future[Measured]:
    future: Future[Measured] = client.submit(
        measure,
        scene,
        task.codec,
        name=task.source.name,
        target_ratio=task.target_ratio,
        peak=task.peak,
        pixels=task.pixels,
        pure=False,
    )
    return future


def _ended(task: _Task) -> Measured:
    gap = f"{task.codec.name} ended its process, most likely for want of memory"
    point = Measurement(scene=task.source.name, codec=task.codec.name, target_ratio=task.target_ratio, gap=gap)
    return Measured(measurement=point, lasting=False)


def _comparison(
    plan: Plan, scenes: Sequence[ComparedScene], results: Sequence[tuple[_Task, Measured]], command: str
) -> Comparison:
    hashes = {scene.name: scene.content_sha256 for scene in scenes}
    measurements = tuple(
        replace(
            result.measurement,
            scene=task.source.name,
            training=training_part(task.codec, task.source.name, hashes[task.source.name], plan.facts),
        )
        for task, result in results
    )
    previews: dict[tuple[str, str, float | None], Preview] = {
        (point.scene, point.codec, point.target_ratio): result.preview
        for point, (_, result) in zip(measurements, results, strict=True)
        if result.preview is not None
    }
    return Comparison(
        scenes=tuple(scenes),
        codecs=tuple(codec.name for codec in plan.codecs),
        ratios=plan.ratios,
        measurements=measurements,
        previews=previews,
        command=command,
        environment=_environment(measurements),
        notes=(*_notes(plan, scenes), *training_remarks(plan.codecs, hashes, plan.facts)),
        ours=tuple(codec.name for codec in plan.codecs if isinstance(codec, BundleCodec)),
    )


def _environment(measurements: Sequence[Measurement]) -> dict[str, str]:
    processors = sorted({point.cost.processor for point in measurements if point.cost is not None})
    environment = {
        "processor": "; ".join(processors),
        "system": platform.platform(),
        "Python": platform.python_version(),
    }
    for library in ("hyvic-onboard", "numpy", "numba", "rasterio", "imagecodecs", "onnxruntime", "dask"):
        with suppress(PackageNotFoundError):
            environment[library] = version(library)
    return environment


def _notes(plan: Plan, scenes: Sequence[ComparedScene]) -> Iterator[str]:
    peaks = sorted({scene.peak for scene in scenes})
    yield (
        f"PSNR and SSIM take {' or '.join(f'{peak:,g}' for peak in peaks)} for the largest digital number, whatever a "
        "scene's own is; compression ratios count real streams, all side information included, against the scene's "
        f"{' or '.join(sorted({str(scene.bit_depth) for scene in scenes}))} bits a sample."
    )
    yield (
        "Throughput is of one processor core, rate search included: each point was measured in a process of one thread "
        "that ran nothing else, in processor seconds."
    )
    if not any(isinstance(codec, BundleCodec) for codec in plan.codecs):
        yield "No learned codec is among them: export-engine makes a bundle of a checkpoint, and --bundle adds it."
    else:
        yield (
            "Whether a bundle was trained on a scene is looked up by a hash of the scene's pixels. A crop of a "
            "training scene, or another version of it, is not found."
        )
    if any(scene.prepared for scene in scenes):
        yield "Some scenes were resampled; every codec coded the same resampled cube."
