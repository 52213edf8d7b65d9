"""Write a data set of synthetic scenes in the layout of the published one, with the cloud truth.

What is in a scene is in `simulation`; here are names, files and processes.
"""

import io
from collections.abc import Iterator
from concurrent.futures import as_completed
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from cloudmask.errors import InputError
from cloudmask.scenes.formats.hdf5 import CLOUD_TRUTH, ORIGIN
from cloudmask.scenes.origin import SYNTHETIC
from cloudmask.scenes.simulation import SIZE, SimulatedScene, make_scene
from cloudmask.scenes.slstr import MAX_SIDE
from cloudmask.system.files import remove_temporary, replacing
from cloudmask.system.pool import open_pool

MIN_SIDE = 256  # a scene has room for one patch at least

# The months of the published parts; a product lasts three minutes, so each has room for 14,400.
MONTHS = {"training": datetime(2019, 6, 1), "inference": datetime(2019, 10, 1)}
PRODUCTS = 30 * 24 * 20
ORBIT_MINUTES = 27 * 24 * 60 / 385  # Sentinel-3 repeats 385 orbits in 27 days


@dataclass(frozen=True)
class SceneSummary:
    """What was written: file, and fractions of the valid pixels.

    cloud: true cloud. agreement: where the Bayesian mask equals the cloud truth.
    """

    path: Path
    cloud: float
    agreement: float


def scene_name(part: str, number: int) -> str:
    """Name of scene `number` of `part`, like that of a Level-1 product, without suffix."""
    # 7919 has no factor in common with the number of products: each number has its own start.
    minutes = 3 * (number * 7919 % PRODUCTS)
    start = MONTHS[part] + timedelta(minutes=minutes, seconds=13)
    orbit, along = divmod(minutes, ORBIT_MINUTES)
    times = (start, start + timedelta(minutes=3), start + timedelta(hours=29, minutes=7))
    stamps = "_".join(time.strftime("%Y%m%dT%H%M%S") for time in times)
    frame = 180 * (1 + int(along / 3))
    cycle, relative = divmod(int(orbit), 385)
    numbers = f"0179_{46 + cycle:03d}_{1 + relative:03d}_{frame:04d}"
    return f"S3A_SL_1_RBT____{stamps}_{numbers}_LN2_O_NT_003"


def datasets(scene: SimulatedScene) -> dict[str, np.ndarray]:
    """The arrays of a scene by the names that they have in a file."""
    return {
        "refs": scene.refs,
        "bts": scene.bts,
        "bayes": scene.bayes,
        "summary": scene.summary,
        CLOUD_TRUTH: scene.cloud_truth,
    }


def write_scene(path: Path | str, scene: SimulatedScene) -> None:
    """Write `scene` to `path` atomically, in the published layout and with the cloud truth."""
    # Built in memory: on a full disk HDF5 crashes, while writing bytes fails cleanly.
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for name, values in datasets(scene).items():
            file.create_dataset(name, data=values, track_times=False)
        file.attrs[ORIGIN] = SYNTHETIC
    with replacing(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def check_request(counts: dict[str, int], size: tuple[int, int], workers: int) -> None:
    """Raise InputError if scenes of `size`, `counts` of each part, cannot be made."""
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in size):
        raise InputError(
            f"--size {size[0]}x{size[1]}: both sides must be between {MIN_SIDE} (one patch) "
            f"and {MAX_SIDE}"
        )
    for part, count in counts.items():
        if not 0 <= count <= PRODUCTS:
            raise InputError(f"{count} {part} scenes: expected between 0 and {PRODUCTS}")
    if not any(counts.values()):
        raise InputError("nothing to make: give --train or --test a number above 0")
    if workers < 1:
        raise InputError(f"--workers {workers}: expected at least 1")


def make_scenes(
    out: Path | str,
    counts: dict[str, int],
    size: tuple[int, int] = SIZE,
    seed: int = 0,
    workers: int = 1,
) -> Iterator[SceneSummary]:
    """Write `counts` scenes of each part below `out`; yields a summary as each is written.

    A file of the same name is replaced. Raises InputError if the request makes no sense.
    """
    check_request(counts, size, workers)
    tasks = [(part, number) for part, count in counts.items() for number in range(count)]
    for part in {part for part, _ in tasks}:
        folder = Path(out) / part
        folder.mkdir(parents=True, exist_ok=True)
        remove_temporary(folder)
    make = partial(_make_file, Path(out), size, seed)
    if min(workers, len(tasks)) == 1:
        yield from map(make, tasks)
        return
    with open_pool(min(workers, len(tasks))) as pool:
        for future in as_completed([pool.submit(make, task) for task in tasks]):
            yield future.result()


def _make_file(out: Path, size, seed: int, task: tuple[str, int]) -> SceneSummary:
    part, number = task
    scene = make_scene(part, number, size, seed)
    path = out / part / f"{scene_name(part, number)}.hdf"
    write_scene(path, scene)
    valid = np.isfinite(scene.bts[..., 0])
    truth, mask = scene.cloud_truth[valid, 0] > 0, scene.bayes[valid, 0] > 0
    return SceneSummary(path, float(truth.mean()), float((truth == mask).mean()))
