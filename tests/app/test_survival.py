"""Kills, signals, full disks, many at once: nothing is lost, and each has its clear line."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from support.processes import Command, free_ports, run

from cloudmask.patches.store import PatchStore

SETTINGS = [
    "--set",
    "model.filters=2",
    "--set",
    "training.batch_size=4",
    "--set",
    "training.epochs=6",
    "--set",
    "training.deterministic=true",
    "--set",
    "early_stopping.patience=3",
    "--set",
    "checkpoint.minutes=0.005",
]
FIGURES = ("loss", "accuracy", "val_loss", "val_accuracy")


@pytest.fixture(scope="module")
def arguments(store_path, scenes):
    """Of cloudmask-train, without the run directory."""
    return ["--data", store_path, "--scenes", scenes, *SETTINGS, "--run"]


@pytest.fixture(scope="module")
def whole(arguments, tmp_path_factory):
    """An uninterrupted run, and how long it took."""
    folder = tmp_path_factory.mktemp("whole")
    began = time.monotonic()
    done = run("cloudmask-train", [*arguments, folder / "run"], folder / "log")
    assert done.wait() == 0, done.errors
    return folder / "run", time.monotonic() - began


def assert_equal_runs(one, two):
    """Same weights to the bit, same history, same scores."""
    weights = [keras.models.load_model(r / "model.keras").get_weights() for r in (one, two)]
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)
    rows = [(r / "history.csv").read_text().splitlines()[1:] for r in (one, two)]
    figures = [[row.split(",")[:5] for row in lines] for lines in rows]
    assert figures[0] == figures[1]
    results = [json.loads((r / "result.json").read_text()) for r in (one, two)]
    for name in (*FIGURES, "best_epoch", "epochs_run", "stopped_early", "calibration"):
        assert results[0]["training"][name] == results[1]["training"][name]
    assert results[0]["inference"]["confusion"] == results[1]["inference"]["confusion"]


def assert_nothing_half_written(folder):
    """Every file is complete; temporary ones are gone."""
    names = [path.name for path in folder.rglob("*")]
    assert not [name for name in names if ".tmp" in name or name == ".lock"], names


@pytest.mark.long
def test_fifty_kills_at_random_moments(arguments, whole, tmp_path):
    """SIGKILL by the clock and at renames (checkpoint, history, model, result), then to the end."""
    expected, seconds = whole
    rng = random.Random(20)
    kills = finished = 0
    while kills < 50:
        folder = tmp_path / f"run{finished}"
        for _ in range(17):
            log = tmp_path / "log"
            if rng.random() < 0.5:
                command = Command("cloudmask-train", [*arguments, folder], log)
                command.wait(rng.uniform(0.2, 0.9 * seconds))
                command.send(signal.SIGKILL)
            else:
                command = Command("cloudmask-train", [*arguments, folder], log, rng.randint(1, 12))
            code = command.wait(600)
            if code == 2 and "this run is finished" in command.errors:
                code = 0  # the last kill came just after the result
            assert code in (0, -signal.SIGKILL), command.errors
            assert "Traceback" not in command.errors
            if code == 0:
                break
            kills += 1
            assert (folder / "result.json").exists() <= (folder / "model.keras").exists()
        if code != 0 and not (folder / "result.json").exists():
            done = run("cloudmask-train", [*arguments, folder], tmp_path / "log")
            assert done.wait() == 0, done.errors
        assert_equal_runs(expected, folder)
        finished += 1
        if (folder / ".lock").exists():  # killed after the result, so nobody came to tidy up
            (folder / ".lock").unlink()
        assert_nothing_half_written(folder)
    assert finished > 1


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_signals_at_random_moments(arguments, whole, tmp_path, number):
    expected, seconds = whole
    rng = random.Random(number)
    finished = cut_off = 0
    while cut_off < 5:
        folder = tmp_path / f"run{finished}"
        command = Command("cloudmask-train", [*arguments, folder], tmp_path / "log")
        while not (folder / ".lock").exists() and command.wait(0.01) is None:
            pass
        command.wait(rng.uniform(0, 0.7 * seconds))
        command.send(number)
        code = command.wait(60)
        assert code in (0, 75), command.errors
        if code == 75:
            cut_off += 1
            assert command.errors.count("interrupted: ") == 1
            assert "the same command continues" in command.errors
        else:
            finished += 1
    if not (folder / "result.json").exists():
        done = run("cloudmask-train", [*arguments, folder], tmp_path / "log")
        assert done.wait() == 0, done.errors
    assert_equal_runs(expected, folder)


def test_ten_at_once(arguments, whole, tmp_path):
    folder = tmp_path / "run"
    commands = [
        Command("cloudmask-train", [*arguments, folder], tmp_path / f"log{i}") for i in range(10)
    ]
    codes = [command.wait(600) for command in commands]
    assert sorted(codes) == [0] + [2] * 9
    for command, code in zip(commands, codes, strict=True):
        assert code == 0 or "in use by" in command.errors or "is finished" in command.errors
    assert_equal_runs(whole[0], folder)
    assert_nothing_half_written(folder)


def test_force_moves_a_finished_run_aside(arguments, whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole[0], folder)
    before = (folder / "result.json").read_bytes()
    done = run("cloudmask-train", [*arguments, folder, "--force"], tmp_path / "log")
    assert done.wait() == 0, done.errors
    assert f"{folder}: finished; moved to {folder}.1" in done.output
    assert (tmp_path / "run.1" / "result.json").read_bytes() == before
    assert_equal_runs(folder, tmp_path / "run.1")


def test_other_patches_are_refused(arguments, whole, scenes, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole[0], folder)
    (folder / "result.json").unlink()
    from cloudmask.patches.prepare import PrepareOptions, prepare
    from cloudmask.scenes.finding import find_scenes

    other = tmp_path / "other.h5"
    prepare(find_scenes([scenes / "training"])[:5], other, PrepareOptions(), workers=1)
    changed = [other if a == arguments[1] else a for a in arguments]
    done = run("cloudmask-train", [*changed, folder], tmp_path / "log")
    assert done.wait() == 2
    assert "begun with another patch store" in done.errors


@pytest.fixture
def with_patches(arguments, store_path, tmp_path):
    """The arguments with a store whose patches a function changes, as an older version made it."""

    def make(change):
        store = tmp_path / "p.h5"
        shutil.copy(store_path, store)
        with h5py.File(store, "r+") as file:
            change(file["patches"])
            file.attrs["version"] = 1
            del file["checksums"]
        return [store if a == store_path else a for a in arguments]

    return make


def test_store_full_of_nan_is_refused_at_once(with_patches, tmp_path):
    def change(patches):
        patches[...] = np.nan

    done = run("cloudmask-train", [*with_patches(change), tmp_path / "run"], tmp_path / "log")
    assert done.wait() == 2
    assert "holds NaN or infinite values" in done.errors
    assert not (tmp_path / "run").exists()


def test_numbers_that_are_not_finite_end_a_run_and_keep_its_checkpoint(with_patches, tmp_path):
    """One value of one patch, which ReLU and clipping hide from the loss."""

    def change(patches):
        patches[14, 100, 100, 0] = np.inf

    done = run("cloudmask-train", [*with_patches(change), tmp_path / "run"], tmp_path / "log")
    assert done.wait() == 2
    assert "NaN or infinite values: 1 in the patches; check the store" in done.errors
    assert "Traceback" not in done.errors
    assert not (tmp_path / "run" / "result.json").exists()


def test_diverging_training_ends_with_its_line(with_patches, tmp_path):
    def change(patches):
        patches[...] = np.sign(patches[...]) * np.float16(60_000)

    settings = ["--set", "training.learning_rate=10"]
    words = [*with_patches(change), tmp_path / "run", *settings]
    done = run("cloudmask-train", words, tmp_path / "log")
    assert done.wait() == 1, done.errors
    assert "NaN or infinite values: " in done.errors
    assert "try a smaller training.learning_rate" in done.errors
    assert "Traceback" not in done.errors


def test_store_changed_under_a_training_is_noticed(arguments, store_path, tmp_path):
    store = tmp_path / "p.h5"
    shutil.copy(store_path, store)
    changed = [store if a == store_path else a for a in arguments]
    training = Command("cloudmask-train", [*changed, tmp_path / "run"], tmp_path / "log")
    while not (tmp_path / "run" / "history.csv").exists() and training.wait(0.2) is None:
        pass
    os.utime(store)
    assert training.wait(600) == 1
    assert "changed while in use; check it with cloudmask-prepare --verify" in training.errors


def test_what_tensorflows_errors_mean(tmp_path):
    """Made up: neither a full GPU nor a node that dies can be had on one machine."""
    tf = pytest.importorskip("tensorflow")
    from cloudmask.errors import Fault, Interrupted
    from cloudmask.hardware.devices import Devices
    from cloudmask.record.run_directory import RunDirectory
    from cloudmask.train.faults import explained

    one, two = Devices(None, 0, 1, 2, ""), Devices(None, 0, 2, 2, "")

    def meets(error, devices):
        with explained(RunDirectory(tmp_path), 32, devices):
            raise error(None, None, "told by TensorFlow")

    with pytest.raises(Fault, match=r"out of memory with training\.batch_size 32; try 16"):
        meets(tf.errors.ResourceExhaustedError, one)
    with pytest.raises(Interrupted, match=r"another worker died \(told by TensorFlow\)"):
        meets(tf.errors.UnavailableError, two)
    with pytest.raises(tf.errors.UnavailableError):
        meets(tf.errors.UnavailableError, one)


@pytest.mark.long
@pytest.mark.parametrize("dying", [0, 1])
def test_a_worker_that_dies_ends_the_others_to_be_continued(arguments, tmp_path, dying):
    """Two processes on loopback, one killed after the first epoch; then both go on to the end."""
    folder = tmp_path / "run"
    settings = ["--set", "training.epochs=40", "--set", "early_stopping.enabled=false"]
    train = Path(sys.executable).with_name("cloudmask-train")

    def task(index):
        return {"type": "worker", "index": index}

    def start():
        cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
        return [
            subprocess.Popen(
                [train, *map(str, arguments), folder, *settings],
                env=os.environ
                | {
                    "TF_CONFIG": json.dumps(
                        {"cluster": cluster, "task": {"type": "worker", "index": i}}
                    )
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for i in range(2)
        ]

    workers = start()
    for line in workers[0].stdout:
        if line.startswith("epoch 2/"):
            break
    workers[dying].kill()
    _, errors = workers[1 - dying].communicate(timeout=180)
    assert workers[1 - dying].returncode == 75, errors
    assert "another worker died" in errors
    assert "Traceback" not in errors
    workers = start()
    outputs = [worker.communicate(timeout=300) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    assert "continues after epoch" in outputs[0][0]


@pytest.fixture
def small_disk(tmp_path):
    """A function that mounts a file system of so many bytes; or changes the size of the mounted."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = False

    def resize(size):
        nonlocal mounted
        option = f"remount,size={size}" if mounted else f"size={size}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", option, "tmpfs", place], check=True)
        mounted = True
        return place

    yield resize
    if mounted:
        subprocess.run(["umount", "-l", place], check=True)


def assert_clear_line(command, code):
    assert code in (1, 2), command.errors
    assert "Traceback" not in command.errors, command.errors
    lines = [line for line in command.errors.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, command.errors
    assert "No space left" in lines[0] or "are free there" in lines[0]


def test_a_disk_that_fills_while_training(arguments, whole, small_disk, tmp_path):
    """Larger and larger, so that each write is once the one that fails; then enough to finish."""
    total = sum(path.stat().st_size for path in whole[0].rglob("*") if path.is_file())
    codes = []
    for share in (0.02, 0.2, 0.4, 0.7, 0.9, 1.0, 2.5):
        disk = small_disk(int(total * share) // 4096 * 4096 + 4096)
        command = run("cloudmask-train", [*arguments, disk / "run"], tmp_path / "log")
        codes.append(command.wait())
        if codes[-1] == 0:
            break
        assert_clear_line(command, codes[-1])
        assert not (disk / "run" / "result.json").exists()
        assert not list((disk / "run").glob("*.tmp*"))
    assert codes[-1] == 0, command.errors
    assert len(codes) > 3
    assert_equal_runs(whole[0], disk / "run")


def test_a_disk_that_fills_while_preparing(scenes, store_path, small_disk, tmp_path):
    size = store_path.stat().st_size
    codes = []
    for share in (0.1, 0.5, 0.95, 1.001, 1.5):
        disk = small_disk(int(size * share) // 4096 * 4096)
        arguments = ["--scenes", scenes, "--out", disk / "p.h5", "--workers", 2]
        command = run("cloudmask-prepare", arguments, tmp_path / "log")
        codes.append(command.wait())
        if codes[-1] == 0:
            break
        assert_clear_line(command, codes[-1])
        assert not (disk / "p.h5").exists()
    assert codes[-1] == 0
    assert PatchStore(disk / "p.h5").checksum == PatchStore(store_path).checksum


def test_a_disk_that_fills_while_evaluating(whole, scenes, small_disk, tmp_path):
    codes = []
    for size in (4096, 40_000, 100_000, 200_000, 400_000, 800_000, 4_000_000):
        disk = small_disk(size)
        out = disk / "out"
        arguments = ["--model", whole[0] / "model.keras", "--scenes", scenes, "--out", out]
        command = run("cloudmask-eval", arguments, tmp_path / "log")
        codes.append(command.wait())
        if codes[-1] == 0:
            break
        assert_clear_line(command, codes[-1])
        assert not (out / "result.json").exists()
    assert codes[-1] == 0
    assert len(codes) > 2


@pytest.mark.parametrize("place", ["missing", "read-only"])
def test_places_that_cannot_be_written(arguments, small_disk, tmp_path, place):
    disk = small_disk(10_000_000)
    if place == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        folder = disk / "run"
    else:
        (disk / "file").touch()
        folder = disk / "file" / "run"
    command = run("cloudmask-train", [*arguments, folder], tmp_path / "log")
    assert command.wait() in (1, 2)
    assert "Traceback" not in command.errors
    assert str(folder) in command.errors
