"""The command `simulate-downlink`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from hyvic_runtime.cli.options import (
    add_coded_scene,
    engine_of,
    kernels_of,
    on_band_centres,
    refuse_input_as_output,
)
from hyvic_runtime.command_line import Result, command_parser, run_command

if TYPE_CHECKING:
    from hyvic_runtime.simulation.channel import Contact, Outage


def simulate_downlink(argv: Sequence[str] | None = None) -> int:
    """Simulate the downlink of a scene and report what arrives."""
    from hyvic_runtime.simulation.downlink import ENMAP_LINE_RATE

    parser = command_parser(
        "simulate-downlink",
        "Send a scene from the sensor at its line rate through encoder, channel and decoder, in simulated time. "
        "The report shows what arrived, when, and how good the decoded scene is. One seed gives one report.",
        "simulate-downlink scene.npz --bundle hyvic.bundle --packet-loss 0.01 --mean-burst 5 --report report/",
        "simulate-downlink scene.npz --bundle hyvic.bundle --contact 60:300:2000000 --outage 90:10 --report report/",
    )
    add_coded_scene(parser)
    parser.add_argument("--report", type=Path, required=True, metavar="DIR", help="folder to write, or to replace")
    parser.add_argument("--quality", type=float, metavar="Q", help="quality, as for encode-scene (default: the middle)")
    sender = parser.add_argument_group("on board")
    sender.add_argument(
        "--line-rate",
        type=float,
        default=ENMAP_LINE_RATE,
        metavar="R",
        help=f"lines per second of the sensor (default: {ENMAP_LINE_RATE:g}, EnMAP)",
    )
    sender.add_argument(
        "--encoder-speed", type=float, metavar="M", help="speed of the encoder in MSamples/s (default: no time)"
    )
    channel = parser.add_argument_group("channel")
    channel.add_argument(
        "--packet-loss", type=float, default=0.0, metavar="P", help="share of lost packets, 0 … 1 (default: 0)"
    )
    channel.add_argument(
        "--mean-burst",
        type=float,
        metavar="L",
        help="mean length of a run of lost packets (default: losses are independent)",
    )
    channel.add_argument(
        "--bit-error-rate", type=float, default=0.0, metavar="P", help="probability of an inverted bit (default: 0)"
    )
    channel.add_argument(
        "--reorder", type=int, default=0, metavar="N", help="packets arrive up to N positions late (default: 0)"
    )
    channel.add_argument(
        "--outage",
        type=_outage,
        action="append",
        default=[],
        metavar="START:SECONDS",
        help="period in which every packet is lost; may be repeated",
    )
    channel.add_argument(
        "--contact",
        type=_contact,
        action="append",
        default=[],
        metavar="START:SECONDS:OCTETS",
        help="period in which packets can be sent, and its budget; may be repeated (default: always, without limit)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of all random numbers (default: 0)")
    return run_command(parser, argv, _simulate_downlink, extra="simulate")


def _outage(text: str) -> Outage:
    from hyvic_runtime.simulation.channel import Outage

    try:
        start, seconds = text.split(":")
        return Outage(start_s=float(start), seconds=float(seconds))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not START:SECONDS ({error})") from error


def _contact(text: str) -> Contact:
    from hyvic_runtime.simulation.channel import Contact

    try:
        start, seconds, octets = text.split(":")
        return Contact(start_s=float(start), seconds=float(seconds), octets=int(octets))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not START:SECONDS:OCTETS ({error})") from error


def _simulate_downlink(arguments: argparse.Namespace) -> Result:
    import matplotlib.figure  # noqa: F401 - a missing library must fail before the work, not after it
    from tqdm import tqdm

    from hyvic_runtime.families.registry import decoder_of, encoder_of, read_bundle
    from hyvic_runtime.scene.files import read_scene
    from hyvic_runtime.simulation.channel import Channel, Fate
    from hyvic_runtime.simulation.downlink import DownlinkSimulator, Settings
    from hyvic_runtime.simulation.report import write_downlink_report

    settings = Settings(
        channel=Channel(
            packet_loss=arguments.packet_loss,
            mean_burst=arguments.mean_burst,
            bit_error_rate=arguments.bit_error_rate,
            reorder=arguments.reorder,
            outages=tuple(arguments.outage),
            contacts=tuple(sorted(arguments.contact, key=lambda contact: contact.start_s)),
        ),
        seed=arguments.seed,
        line_rate=arguments.line_rate,
        encoder_msamples_per_s=arguments.encoder_speed,
        quality=arguments.quality,
        packet_octets=arguments.packet_octets,
    )
    scene = read_scene(arguments.scene)
    bundle = read_bundle(arguments.bundle)
    refuse_input_as_output(arguments.report, arguments.scene, bundle)
    scene = on_band_centres(scene, bundle, resample=arguments.resample)
    engine, kernels = engine_of(arguments), kernels_of(arguments)
    encoder, decoder = encoder_of(bundle, engine, kernels=kernels), decoder_of(bundle, engine, kernels=kernels)
    simulator = DownlinkSimulator(scene, encoder, decoder)
    with tqdm(total=simulator.steps, unit="step", disable=None) as bar:
        simulation = simulator.simulate(settings, bar.update)
    write_downlink_report(
        arguments.report, name=arguments.scene.stem, scene=scene, settings=settings, simulation=simulation
    )
    arrived, hit = simulation.fates[Fate.ARRIVED.value], len(simulation.hit_tiles)
    result = {
        "report": str(arguments.report),
        "bundle": bundle.identity.hex(),
        "packets": simulation.packets,
        "octets": simulation.octets,
        "compression_ratio": simulation.ratio,
        "fates": simulation.fates,
        "tiles": simulation.tiles,
        "hit_tiles": hit,
        "unhit_exact": simulation.unhit_exact,
        "received": asdict(simulation.received),
        "psnr_db_without_loss": simulation.without_loss.psnr_db,
        "latency": asdict(simulation.latency),
        "largest_backlog_octets": max(simulation.series.backlog_octets),
        "problem": simulation.problem,
    }
    text = (
        f"{arguments.report}: {arrived} of {simulation.packets} packets arrived whole, {hit} of {simulation.tiles} "
        "tiles hit"
    )
    if simulation.problem is not None:
        text += f"; nothing was reconstructed: {simulation.problem}"
    elif simulation.received.psnr_db is not None:
        text += f", PSNR {simulation.received.psnr_db:.2f} dB"
    return result, text
