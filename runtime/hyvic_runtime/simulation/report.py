"""Writes the report of a simulated downlink: a folder with figures as JSON, pictures, and an HTML page."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.codec.scene_decoder import DecodedScene
from hyvic_runtime.scene.scene import TRUE_COLOUR_NM, Scene, nearest_bands
from hyvic_runtime.simulation.channel import Fate
from hyvic_runtime.simulation.downlink import Settings, Simulation
from hyvic_runtime.support.atomic_file import replacing_folder
from hyvic_runtime.support.report_page import report_page, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK, _ACCENT, _QUIET = "#22313f", "#c0392b", "#7f8c8d"
_QUALITY_COLOURS = {
    Quality.LOST: "#c0392b",
    Quality.MEANS: "#e67e22",
    Quality.AFFECTED: "#f4d03f",
    Quality.EXACT: "#2e86c1",
}


def write_downlink_report(folder: Path, *, name: str, scene: Scene, settings: Settings, simulation: Simulation) -> None:
    """Write `report.json`, `pictures.png`, `time.png`, `loss.png` and `index.html`, all or none.

    Args:
        folder: folder to create or replace.
        name: name of the scene.
        scene: scene that was sent.
        settings: settings of the simulation.
        simulation: results of the simulation.
    """
    pictures = {
        "pictures.png": _pictures(scene, simulation.decoded),
        "time.png": _over_time(simulation),
        "loss.png": _against_loss(simulation),
    }
    with replacing_folder(folder, contents=(*pictures, "report.json", "index.html")) as partial:
        for file, figure in pictures.items():
            figure.savefig(partial / file)
        document = {"settings": asdict(settings), **asdict(replace(simulation, decoded=None))}
        del document["decoded"]
        octets = json.dumps(document, indent=1, allow_nan=False) + "\n"
        (partial / "report.json").write_text(octets, encoding="utf-8")
        (partial / "index.html").write_text(_page(name, settings, simulation, list(pictures)), encoding="utf-8")


def _pictures(scene: Scene, decoded: DecodedScene | None) -> Figure:
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    bands = nearest_bands(TRUE_COLOUR_NM, scene.cube.shape[2], scene.wavelengths)
    low, high = np.percentile(scene.cube[..., bands].astype(np.float64), (2, 98), axis=(0, 1))
    span = np.maximum(high - low, 1)
    cube = np.zeros_like(scene.cube) if decoded is None else decoded.scene.cube
    quality = np.full(scene.cube.shape[:2], Quality.LOST, np.uint8) if decoded is None else decoded.quality

    figure = Figure(figsize=(13.5, 5), dpi=110, layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for axes, picture, title in ((left, scene.cube, "Taken"), (middle, cube, "Received")):
        axes.imshow(np.clip((picture[..., bands] - low) / span, 0, 1), interpolation="nearest")
        axes.set_title(f"{title}, true colour")
    colours = ListedColormap([_QUALITY_COLOURS[q] for q in sorted(Quality)])
    right.imshow(quality, cmap=colours, vmin=min(Quality), vmax=max(Quality), interpolation="nearest")
    right.set_title("Quality map")
    figure.legend(
        handles=[Patch(color=colour, label=q.name.lower()) for q, colour in _QUALITY_COLOURS.items()],
        loc="outside lower right",
        ncols=len(Quality),
        frameon=False,
    )
    for axes in (left, middle, right):
        axes.set_xlabel("sample")
    left.set_ylabel("line")
    return figure


def _over_time(simulation: Simulation) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, MaxNLocator

    figure = Figure(figsize=(13.5, 4.2), dpi=110, layout="constrained")
    flow, queue, latency = figure.subplots(1, 3)
    series = simulation.series
    for octets, colour, label in (
        (series.made_octets, _QUIET, "made"),
        (series.sent_octets, _INK, "sent"),
        (series.intact_octets, _ACCENT, "arrived whole"),
    ):
        flow.step(series.time_s, octets, where="post", color=colour, label=label)
    flow.set_title("Octets so far")
    flow.legend(frameon=False)
    queue.fill_between(series.time_s, series.backlog_octets, step="post", color=_INK, alpha=0.8)
    queue.set_title("Backlog on board, octets")
    for axes in (flow, queue):
        axes.set_xlabel("seconds from the first line")
        axes.yaxis.set_major_formatter(EngFormatter())
        axes.grid(alpha=0.25)
    whole = [(number, time) for number, time in enumerate(simulation.tile_latency_s) if time is not None]
    latency.scatter([n for n, _ in whole], [t for _, t in whole], s=12, color=_INK)
    latency.set_title("Seconds from a tile's last line to its last packet")
    latency.set_xlabel("tile, in the order of acquisition")
    latency.set_ylim(0, 1.1 * max([time for _, time in whole], default=1) or 1)
    latency.xaxis.set_major_locator(MaxNLocator(integer=True))
    latency.grid(alpha=0.25)
    return figure


def _against_loss(simulation: Simulation) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.5, 4.2), dpi=110, layout="constrained")
    fidelity, angle = figure.subplots(1, 2)
    for axes, attribute, title in (
        (fidelity, "psnr_db", "PSNR in dB"),
        (angle, "spectral_angle_deg", "Spectral angle in degrees"),
    ):
        by_loss: dict[float, list[float]] = defaultdict(list)
        for point in simulation.sweep:
            value = getattr(point.fidelity, attribute)
            if value is not None:
                by_loss[point.packet_loss].append(value)
        losses = sorted(by_loss)
        axes.plot(losses, [float(np.mean(by_loss[loss])) for loss in losses], color=_INK)
        for loss in losses:
            axes.scatter([loss] * len(by_loss[loss]), by_loss[loss], s=14, color=_ACCENT)
        axes.set_xscale("symlog", linthresh=1e-3)
        axes.set_title(title)
        axes.set_xlabel("packet loss; points are draws, the line their mean")
        axes.grid(alpha=0.25)
    return figure


def _figure(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _page(name: str, settings: Settings, simulation: Simulation, pictures: list[str]) -> str:
    received, hit = simulation.received, len(simulation.hit_tiles)
    arrived = simulation.fates[Fate.ARRIVED.value]
    note = "Times are simulated, not measured."
    if simulation.problem is not None:
        note += f" Nothing was reconstructed: {simulation.problem}"
    rows = {f"packets {fate}": f"{count:,}" for fate, count in simulation.fates.items()}
    rows |= {
        f"pixels {quality}": f"{share:.2%}, {_figure(received.psnr_db_by_quality[quality], '.2f')} dB"
        for quality, share in received.shares.items()
    }
    rows |= {
        "PSNR without loss": f"{_figure(simulation.without_loss.psnr_db, '.2f')} dB",
        "latency, largest": f"{_figure(simulation.latency.largest_s, '.3f')} s",
        "backlog, largest": f"{max(simulation.series.backlog_octets):,} octets",
        "tiles that miss no packet are exact": {None: "–", True: "yes", False: "no"}[simulation.unhit_exact],
    }
    return report_page(
        title=f"{name} through a downlink",
        note=note,
        figures={
            "packets arrived whole": f"{arrived:,} of {simulation.packets:,}",
            "tiles hit": f"{hit} of {simulation.tiles}",
            "PSNR": f"{_figure(received.psnr_db, '.2f')} dB",
            "spectral angle": f"{_figure(received.spectral_angle_deg, '.2f')}°",
            "latency, median": f"{_figure(simulation.latency.median_s, '.3f')} s",
            "compression ratio": f"{simulation.ratio:.1f}",
        },
        pictures=pictures,
        sections={"What arrived": table(rows), "Seed": table({"seed": str(settings.seed)})},
    )
