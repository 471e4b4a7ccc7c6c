"""Encode on Arm and decode on x86, and back: exactly the encoder's symbols. And what happens without integers.

Run by `make test-images`, as root. Makes the Dockerfile's images for flight (arm64) and ground without Docker
(dockerfile_images.py) and checks their users, entry points and files. Then Indian Pines is coded between flight and
here with the shipped HyVIC and scene-adaptive models, and with a small joint codec whose slices see their neighbours;
of the shipped joint codec the bundle is verified. The ground image decodes what flight encoded. Last, HyVIC's
hyper-decoder in float32 reads the same hyper-latents on both sides, chooses another frequency table in a place, and the
tile is lost.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path

import numpy as np
import onnx
from debian_root import NoRootError, let_kernel_run_aarch64, memory_folder
from dockerfile_images import Image, ImageBuilder
from float_path import distance_to_edge, float_hyperdecoder, table_rows, wrong_share
from hyvic_compare.indian_pines import load_indian_pines
from hyvic_export.exporter import bundle_from_checkpoint
from hyvic_runtime.entropy.unit_coder import EntropyCoder
from hyvic_runtime.errors import DecodeError
from hyvic_runtime.families.latent.bundle import HYPERDECODER, LatentBundle, read_latent_bundle
from hyvic_runtime.families.latent.encoder import LatentRowEncoder, TileSymbols
from hyvic_runtime.packets.quality import quality_code
from hyvic_runtime.scene.files import read_scene, write_scene
from hyvic_runtime.scene.scene import Scene, resample_bands
from hyvic_runtime.support.metrics import psnr
from hyvic_train.data.cubes import SceneSplit, TrainingCube
from hyvic_train.data.scene_folder import ScenePixels
from hyvic_train.families.latent.checkpoint import load_checkpoint
from hyvic_train.families.latent.config import config_from_json
from hyvic_train.families.latent.training import train
from hyvic_train.training_loop import Run
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
HYVIC, JOINT, ADAPTIVE = (ROOT / "checkpoints" / name for name in ("hyvic-s-202", "joint-s-202", "adaptive"))
EITHER_SIDE = "either_side.py"
TILE = 32
CROP = 48
"""Lines and samples that are coded there and here: four tiles, three of them cut. QEMU takes its time."""
QUALITIES = np.linspace(0, 100, 41)
"""At which the scene's tiles are searched for a σ near the edge between two tables."""
COARSE = ("--quality", "10")
"""For the scene-adaptive codec, which QEMU takes minutes for at finer steps."""
NEAREST = 40
"""Tiles with the nearest, which are tried on both sides: QEMU takes half a second for one."""
COMPILED = {"PYTHONPYCACHEPREFIX": "/data/compiled"}
"""Where an image's user may keep compiled modules, which QEMU takes seconds for at every start."""
PEAK = 10_000.0
COMPILERS = {"cc", "c89", "c99", "gcc", "g++", "c++", "cpp", "clang", "clang++", "nvcc", "tcc", "as", "ld"}
TRAINING = {"torch", "torchvision", "compressai", "onnx", "spox"}


@dataclass(frozen=True)
class Side:
    """Runs Python on this machine or in an image, in the folder that both see."""

    name: str
    python: tuple[str, ...]
    folder: Path

    def run(self, *words: str | Path) -> str:
        typed = [str(word) for word in words]
        done = subprocess.run([*self.python, *typed], cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"on {self.name}: python {' '.join(typed)}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def coded(self, *command: str) -> dict[str, NDArray[np.int32]]:
        """What a command's entropy coder was given or gave: `symbols` and their `rows`, each 1-D."""
        kept = f"{self.name}-coded.npz"
        self.run(EITHER_SIDE, "coded", kept, *command)
        return dict(np.load(self.folder / kept))

    def outputs(self, graph: str, hyperlatents: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Outputs of a hyper-decoder, (tile, M, line, sample)."""
        kept = f"{self.name}-outputs.npz"
        np.save(self.folder / "inputs.npy", hyperlatents)
        self.run(EITHER_SIDE, "outputs", kept, graph, "inputs.npy")
        return dict(np.load(self.folder / kept))


def main() -> None:
    let_kernel_run_aarch64()
    with memory_folder() as scratch:
        builder = ImageBuilder(scratch)
        with ThreadPoolExecutor() as pool:
            flight, ground = pool.map(builder.image, ("flight", "ground"))
        check_content(flight)
        check_content(ground)

        folder = flight.root.inside(flight.folder)
        here = Side(platform.machine(), (sys.executable,), folder)
        arm = Side("aarch64", tuple(flight.command("python3", settings=COMPILED)), folder)
        (folder / EITHER_SIDE).write_bytes((ROOT / "tests" / "platform" / EITHER_SIDE).read_bytes())

        bundle_from_checkpoint(HYVIC, folder / "hyvic.bundle", tile=TILE)
        bundle = read_latent_bundle(folder / "hyvic.bundle")
        assert bundle.manifest.wavelengths is not None
        scene = resample_bands(load_indian_pines(), np.array(bundle.manifest.wavelengths))
        write_scene(replace(scene, cube=scene.cube[:CROP, :CROP]), folder / "scene.npz")

        bundle_from_checkpoint(JOINT, folder / "joint.bundle", tile=TILE)
        train_joint(scene, folder / "neighbours")
        bundle_from_checkpoint(folder / "neighbours", folder / "neighbours.bundle", tile=TILE)
        bundle_from_checkpoint(ADAPTIVE, folder / "adaptive.bundle", tile=TILE)
        for name in ("hyvic.bundle", "joint.bundle", "neighbours.bundle", "adaptive.bundle"):
            begun = time.perf_counter()
            check_bundle(here, arm, name)
            # The shipped joint codec would read nine tiles for one, which QEMU takes minutes for.
            if name != "joint.bundle":
                check_streams(here, arm, name, *(COARSE if name == "adaptive.bundle" else ()))
            if name == "hyvic.bundle":
                check_ground(ground, here, f"{arm.name}.packets", name)
            print(f"{name}: {time.perf_counter() - begun:.0f} s", flush=True)
        check_float_path(here, arm, bundle, scene)


def check_content(image: Image) -> None:
    """A user without rights, an entry point that starts, and neither compilers nor training libraries."""
    assert image.run("id", "-u") != "0", "its user is root"
    writable = image.run("find", "/opt/hyvic", "!", "-type", "l", "-writable")
    assert not writable, f"its user may alter {writable.splitlines()[:3]}"
    usage = image.run(*image.entrypoint, *image.words)
    assert usage.startswith(f"usage: {image.entrypoint[0]}"), usage

    root = image.root.folder
    programs = {file.name for folder in root.glob("**/bin") if folder.is_dir() for file in folder.iterdir()}
    # Debian's are named x86_64-linux-gnu-gcc-12.
    compilers = {name for name in programs if COMPILERS & {name, *name.split("-")}}
    assert not compilers, f"compilers: {compilers}"
    assert "pip" not in programs, "pip is left"
    packages = {folder.name for parent in ("site-packages", "dist-packages") for folder in root.glob(f"**/{parent}/*")}
    assert "hyvic_runtime" in packages
    assert not packages & TRAINING, f"training libraries: {packages & TRAINING}"
    left = [name for name in ("root/.cache", "src", "var/lib/apt/lists/lock") if (root / name).exists()]
    assert not left, f"left behind: {left}"


def check_ground(ground: Image, here: Side, stream: str, bundle: str) -> None:
    """What flight encoded, decoded by the ground image's own command and here."""
    folder = ground.root.inside(ground.folder)
    shutil.copytree(here.folder / bundle, folder / bundle)
    shutil.copy(here.folder / stream, folder)
    print(ground.run("verify-bundle", bundle))
    print(ground.run(*ground.entrypoint, stream, "--bundle", bundle, "--out", "decoded.npy"))
    here.coded("decode-packets", stream, "--bundle", bundle, "--out", "decoded.npy")
    decoded = np.load(folder / "decoded.npy")
    compare_pictures("the ground image and here", decoded, np.load(here.folder / "decoded.npy"))
    quality_db = psnr(read_scene(here.folder / "scene.npz").cube, decoded, PEAK)
    assert quality_db > 30, f"PSNR {quality_db:.1f} dB"
    print(f"from flight to ground, PSNR {quality_db:.1f} dB")


def compare_pictures(where: str, one: NDArray[np.integer], other: NDArray[np.integer]) -> None:
    """The decoder's transform is float too: within its error of a half a sample rounds either way."""
    difference = np.abs(one.astype(int) - other)
    assert difference.max() <= 1, f"decoded on {where}, samples differ by {difference.max()}"
    print(f"decoded on {where}: a share of {(difference > 0).mean():.1e} of the samples differs, by 1")


def train_joint(scene: Scene, out: Path) -> None:
    """A small joint codec, a few steps from the scene's KLT."""
    config = config_from_json(
        {
            "model": {
                "family": "joint",
                "bands": scene.cube.shape[2],
                "latent_channels": 24,
                "feature_channels": 16,
                "hyperlatent_channels": 8,
                "slices": 3,
                "slice_channels": 16,
                "slice_kernel_size": 3,
                "extraction_blocks": 1,
                "spatial_stages": 2,
            },
            "optimisation": {"lmbda": 1e-3, "steps": 20, "integer_path_steps": 10, "batch_size": 2, "klt_step": 100},
            "data": {"crop": 64, "wavelengths": list(scene.wavelengths), "remove_mean_spectrum": True},
        }
    )
    lines, samples, _ = scene.cube.shape
    pixels = ScenePixels(held=scene.cube, mean=scene.cube.mean(axis=(0, 1), dtype=np.float32), missing=None)
    named = TrainingCube(name="Indian Pines", size=(lines, samples), pixels=lines * samples, source=pixels)
    split = SceneSplit(training=(named,), validation=())
    train(config, split, Run(out=out))


def check_bundle(here: Side, arm: Side, name: str) -> None:
    verify = "import sys; from hyvic_runtime.cli import verify_bundle; sys.exit(verify_bundle(sys.argv[1:]))"
    for side in (here, arm):
        said = side.run("-c", verify, name)
        print(said)
        assert f"({side.name})" in said
    assert "the runtime's own C coder" in said, "it was not built in the root"


def check_streams(here: Side, arm: Side, name: str, *rate: str) -> None:
    encoded = {}
    for encoder, decoder in permutations((here, arm)):
        stream = f"{encoder.name}.packets"
        meant = encoder.coded("encode-scene", "scene.npz", "--bundle", name, "--out", stream, *rate)
        read = decoder.coded("decode-packets", stream, "--bundle", name, "--out", f"{decoder.name}.npy")
        for what in ("symbols", "rows"):
            np.testing.assert_array_equal(read[what], meant[what], err_msg=f"{stream} on {decoder.name}")
        encoded[encoder.name] = meant["symbols"]
        count, octets = meant["symbols"].size, (here.folder / stream).stat().st_size
        print(
            f"encoded on {encoder.name} to {octets:,} octets, decoded on {decoder.name}: all {count:,} symbols, and "
            "the tables that code them, are the encoder's"
        )
    # The encoder's transform is float, and free to be: it chooses the symbols, which the stream then states.
    symbols, others = encoded[here.name], encoded[arm.name]
    chosen = f"another symbol in {(symbols != others).sum()} places" if symbols.size == others.size else "another size"
    print(f"the two encoders chose {chosen}")

    here.coded("decode-packets", f"{here.name}.packets", "--bundle", name, "--out", f"{here.name}.npy")
    pictures = (np.load(here.folder / f"{side.name}.npy") for side in (here, arm))
    compare_pictures(f"{here.name} and {arm.name}", *pictures)


def check_float_path(here: Side, arm: Side, bundle: LatentBundle, scene: Scene) -> None:
    """The same hyper-decoder in float32: one table differs, and what follows in the tile is noise."""
    cells = bundle.manifest.geometry.hyperlatents
    onnx.save(float_hyperdecoder(load_checkpoint(HYVIC).model, cells), here.folder / "float.onnx")
    tiles = list(coded_tiles(bundle, scene))
    hyperlatents = np.stack([padded(tile.hyperlatent, cells) for tile in tiles])
    scales = here.outputs("float.onnx", hyperlatents)["scale"]
    risk = [distance_to_edge(covered(scale, tile)) for scale, tile in zip(scales, tiles, strict=True)]
    nearest = np.argsort(risk)[:NEAREST]
    floats = [side.outputs("float.onnx", hyperlatents[nearest]) for side in (here, arm)]
    rows = [[table_rows(covered(s, tiles[i])) for i, s in zip(nearest, f["scale"], strict=True)] for f in floats]
    lost = [k for k in range(NEAREST) if not np.array_equal(rows[0][k], rows[1][k])]
    assert lost, f"float32 chose the same tables on {here.name} and {arm.name}: no failure to show with this processor"

    coder = EntropyCoder(bundle.tables)
    differing, refused, wrong = 0, 0, []
    for k in lost:
        symbols = tiles[nearest[k]].symbols.ravel()
        differing += int((rows[0][k] != rows[1][k]).sum())
        for writer, reader in permutations(of_side[k].ravel() for of_side in rows):
            unit = coder.encode(symbols, writer)
            np.testing.assert_array_equal(coder.decode(unit, writer), symbols)
            wrong.append(wrong_share(bundle.tables, unit, reader, symbols))
            try:
                coder.decode(unit, reader)
            except DecodeError:
                refused += 1
    assert min(wrong) > 0
    integers = [side.outputs(f"hyvic.bundle/{HYPERDECODER}", hyperlatents[nearest[lost]]) for side in (here, arm)]
    for what in ("scale_index", "mean_steps"):
        np.testing.assert_array_equal(integers[0][what], integers[1][what])

    means = (floats[0]["mean"] != floats[1]["mean"]).mean()
    print(
        f"in float32, of the scene's {len(tiles)} tiles at {len(QUALITIES)} qualities the {NEAREST} with a σ nearest "
        f"an edge: {means:.0%} of the means differ, and {differing} of the tables, in {len(lost)} tiles"
    )
    print(
        f"each of these is lost: {min(wrong):.0%} to {max(wrong):.0%} of its symbols come out wrong, which the decoder "
        f"notices {refused} times in {len(wrong)}; the integer path is the same to the bit on all {len(lost)}"
    )


def coded_tiles(bundle: LatentBundle, scene: Scene) -> Iterator[TileSymbols]:
    encoder = LatentRowEncoder(bundle)
    grid, mean = encoder.grid(scene), encoder.mean_spectrum(scene)
    for quality in QUALITIES:
        for tile in grid:
            yield encoder.symbols(scene, grid, tile, mean, quality_code(quality))


def padded(hyperlatent: NDArray[np.int32], cells: int) -> NDArray[np.float32]:
    """With zeros where the tile does not cover the scene, as the decoder has it."""
    result = np.zeros((len(hyperlatent), cells, cells), np.float32)
    result[:, : hyperlatent.shape[1], : hyperlatent.shape[2]] = hyperlatent
    return result


def covered(picture: NDArray[np.float32], tile: TileSymbols) -> NDArray[np.float32]:
    """What of a (M, line, sample) output the tile codes."""
    _, lines, samples = tile.symbols.shape
    return picture[:, :lines, :samples]


if __name__ == "__main__":
    try:
        main()
    except NoRootError as error:
        sys.exit(f"cross_architecture: {error}")
