"""Make tests/golden/stream: a bundle, streams that it and golden bundles coded, and what they decode to.

python tests/support/golden_stream.py OUT

Run once a packet format; what it wrote then is kept as it is, and every later decoder must read it. See the README
in that folder.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from golden_bundles import unpack_bundle
from hyvic_export.exporter import bundle_from_checkpoint
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.codec.scene_encoder import scene_packets
from hyvic_runtime.families.latent.decoder import LatentDecoder
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.families.registry import decoder_of, encoder_of, read_bundle
from hyvic_runtime.packets.protection import PacketProtector
from hyvic_runtime.packets.space_packet import Packetiser
from hyvic_runtime.scene.scene import Scene
from hyvic_train.data.cubes import SceneSplit
from hyvic_train.families.latent.config import config_from_json
from hyvic_train.families.latent.training import train
from hyvic_train.training_loop import Run
from scenes import BANDS as BUNDLE_BANDS
from scenes import smooth_cube
from training_cubes import cube_in_memory

BANDS = 6
KEY = bytes(range(32))
QUALITY = 62.5
TIME = datetime(2026, 1, 1, 12, 34, 56, 789_000, tzinfo=UTC)


def main(out: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="hyvic-golden-") as scratch:
        _train(Path(scratch))
        bundle_from_checkpoint(Path(scratch), out / "bundle", tile=16)
    bundle = read_bundle(out / "bundle")
    scene = Scene(cube=smooth_cube(70, 21, BANDS, seed=7))
    encoder = LatentRowEncoder(bundle)
    for name, packet_octets, protector in (
        ("scene.packets", 60, None),
        ("protected.packets", 120, PacketProtector(KEY)),
    ):
        packetiser = Packetiser(apid=0x2A, packet_octets=packet_octets, clock=lambda: TIME, protector=protector)
        tiles = scene_packets(encoder, scene, packetiser, scene_id=0xC0FFEE, quality=QUALITY)
        (out / name).write_bytes(b"".join(packet for packets in tiles for packet in packets))
    decoded = LatentDecoder(bundle).decode((out / "scene.packets").read_bytes())
    assert (decoded.quality == Quality.EXACT).all()
    np.save(out / "decoded.npy", decoded.scene.cube)
    for name in ("joint", "adaptive"):
        _code_with_golden_bundle(name, out)


def _code_with_golden_bundle(name: str, out: Path) -> None:
    cube = smooth_cube(70, 45, BUNDLE_BANDS, seed=8)
    cube[40:43, 5:9] = 0
    packetiser = Packetiser(apid=0x2A, clock=lambda: TIME)
    with tempfile.TemporaryDirectory(prefix="hyvic-golden-") as scratch:
        bundle = read_bundle(unpack_bundle(name, Path(scratch) / "bundle"))
        scene = Scene(cube=cube, no_data=0)
        tiles = scene_packets(encoder_of(bundle), scene, packetiser, scene_id=0xC0FFEE, quality=QUALITY)
        stream = b"".join(packet for packets in tiles for packet in packets)
        decoded = decoder_of(bundle).decode(stream)
    assert (decoded.quality == Quality.EXACT).all()
    (out / f"{name}.packets").write_bytes(stream)
    np.savez_compressed(out / f"{name}.npz", cube=decoded.scene.cube)


def _train(folder: Path) -> None:
    """A model that codes, and no more."""
    config = config_from_json(
        {
            "model": {
                "bands": BANDS,
                "latent_channels": 6,
                "hyperlatent_channels": 4,
                "spatial_stages": 2,
                "rates": 2,
            },
            "optimisation": {
                "lmbda": [1e-5, 1e-3],
                "steps": 40,
                "integer_path_steps": 10,
                "batch_size": 4,
                "klt_step": 30,
                "hyperprior_learning_rate": 2e-3,
                "checkpoint_every": 40,
            },
            "data": {"crop": 32, "wavelengths": list(np.linspace(450, 2200, BANDS)), "remove_mean_spectrum": True},
        }
    )
    cubes = [np.moveaxis(smooth_cube(64, 64, BANDS, seed), -1, 0).astype(np.float32) for seed in (1, 2, 3)]
    cubes = [cube - cube.mean(axis=(1, 2), keepdims=True) for cube in cubes]
    scenes = SceneSplit(training=tuple(cube_in_memory(str(i), c) for i, c in enumerate(cubes)), validation=())
    train(config, scenes, Run(out=folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
