"""Make the network and the scene of `cloudmask-eval --example` anew, some minutes on two cores.

    app/scripts/make_example.py FOLDER [--run RUN]

FOLDER keeps the training scenes, patches and run. The scene comes out bit for bit, and so does the
network on one kind of processor: everything is seeded and runs in deterministic mode.
"""

import argparse
import dataclasses
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np

from cloudmask.evaluate import example
from cloudmask.evaluate.saved_network import load
from cloudmask.record.run_directory import RunDirectory
from cloudmask.scenes import synthetic
from cloudmask.scenes.simulation import make_scene

CONFIG = Path(__file__).parents[1] / "configs" / "demo.yaml"
# A day scene over the sea, 58 % cloud of several kinds. The training has another seed.
SCENE, SIZE, SEED = 0, (512, 512), 7
# Steps that the instrument's own files are finer than, but noise is not: powers of two compress.
REFLECTANCE_STEP, KELVIN_STEP = 2.0**-9, 2.0**-4


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="where to work")
    parser.add_argument("--run", type=Path, help="a finished run with 16 filters, instead of a new")
    arguments = parser.parse_args()
    write_scene()
    example.save(
        load(RunDirectory(arguments.run or train(arguments.folder)).model), example.WEIGHTS
    )
    for path in (example.scene(), example.WEIGHTS):
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


def write_scene() -> None:
    """Write the scene, rounded so that it compresses."""
    raw = make_scene("inference", SCENE, SIZE, SEED)
    raw = dataclasses.replace(
        raw, refs=rounded(raw.refs, REFLECTANCE_STEP), bts=rounded(raw.bts, KELVIN_STEP)
    )
    for old in example.FOLDER.glob("*.hdf"):
        old.unlink()
    path = example.FOLDER / f"{synthetic.scene_name('inference', SCENE)}.hdf"
    with h5py.File(path, "w") as file:
        for name, values in synthetic.datasets(raw).items():
            # One channel per chunk: neighbors in a channel are alike, channels are not.
            file.create_dataset(
                name,
                data=values,
                chunks=(*SIZE, 1),
                shuffle=True,
                compression="gzip",
                compression_opts=9,
                track_times=False,
            )


def rounded(values: np.ndarray, step: float) -> np.ndarray:
    """The values to the nearest multiple of a step."""
    return (np.round(values / step) * step).astype(np.float32)


def train(folder: Path) -> Path:
    """Train the demonstration's network on synthetic scenes; returns the run."""
    data, patches, run = folder / "data", folder / "patches.h5", folder / "run"
    scenes = ("--train", 36, "--test", 0, "--size", "512x768", "--seed", 1)
    command("cloudmask-synth", "--out", data, *scenes)
    command("cloudmask-prepare", "--scenes", data, "--out", patches)
    settings = ("--set", "training.deterministic=true")
    command("cloudmask-train", "--config", CONFIG, "--data", patches, "--run", run, *settings)
    return run


def command(name: str, *arguments) -> None:
    """Run one of the app's commands, of the same environment."""
    subprocess.run([Path(sys.executable).with_name(name), *map(str, arguments)], check=True)


if __name__ == "__main__":
    main()
