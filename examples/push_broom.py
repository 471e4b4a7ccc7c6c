"""Encode a scene line by line, as a push-broom sensor delivers it, within what a downlink carries.

python examples/push_broom.py scene.npz --bundle adaptive.bundle --bytes-per-line 2000 --out scene.packets

The scene file stands in for the sensor. The encoder does not know how many lines will come, and it holds a row or two
of tiles. At every line, the packets so far take no more bytes than the downlink has carried.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from hyvic_runtime import (
    Acquisition,
    DownlinkBudget,
    Packetiser,
    SceneEncoder,
    encoder_of,
    read_bundle,
    read_scene,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example; 0 done."""
    parser = argparse.ArgumentParser(description="Encode a scene line by line, within a budget of bytes per line.")
    parser.add_argument("scene", type=Path, help="scene file that stands in for the sensor")
    parser.add_argument("--bundle", type=Path, required=True, help="folder that export-engine wrote")
    parser.add_argument("--bytes-per-line", type=float, default=2000, help="what the downlink carries (default: 2000)")
    parser.add_argument(
        "--window-lines", type=int, default=512, help="lines whose unused bytes are kept (default: 512)"
    )
    parser.add_argument("--out", type=Path, required=True, help="file of packets to write")
    arguments = parser.parse_args(argv)

    sensor = read_scene(arguments.scene)
    encoder = encoder_of(read_bundle(arguments.bundle))
    scene = SceneEncoder(
        encoder,
        Acquisition(
            samples=sensor.cube.shape[1],
            bands=sensor.cube.shape[2],
            dtype=sensor.cube.dtype,
            wavelengths=sensor.wavelengths,
            no_data=sensor.no_data,
        ),
        Packetiser(),
        downlink=DownlinkBudget(octets_per_line=arguments.bytes_per_line, window_lines=arguments.window_lines),
    )
    sent = 0
    with arguments.out.open("wb") as radio:
        for line in sensor.cube:  # (sample, band)
            for packet in scene.push(line):
                sent += radio.write(packet)
        for packet in scene.flush():
            sent += radio.write(packet)

    carried = arguments.bytes_per_line * len(sensor.cube)
    print(f"{len(sensor.cube)} lines: {sent:,} of {carried:,.0f} bytes used ({sent / carried:.0%})")
    print(json.dumps(encoder.health_report(), indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
