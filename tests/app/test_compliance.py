"""Logs of real runs against the rules of cloudmask and of HPC 3.0.0; what a killed run keeps."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.compliance import comply
from support.processes import Command, run

from cloudmask.errors import InputError
from cloudmask.record.compliance import findings
from cloudmask.record.run_directory import RunDirectory
from cloudmask.record.telemetry import summarize

SETTINGS = ("model.filters=2", "training.batch_size=8", "training.deterministic=true")


def arguments(store, folder, *settings):
    words = [word for setting in (*SETTINGS, *settings) for word in ("--set", setting)]
    return ["--data", store, "--run", folder, *words]


@pytest.fixture(scope="module")
def normal(store_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("normal")
    done = run("cloudmask-train", arguments(store_path, folder / "run", "training.epochs=2"),
               folder / "log")  # fmt: skip
    assert done.wait() == 0, done.errors
    return folder / "run"


def assert_compliant(log, folder):
    assert findings(log) == []
    # The unmodified HPC checks with the benchmark's name replaced; their accuracy is deepcam's.
    _, output = comply(log, folder, "--werror")
    warnings = [line for line in output.splitlines() if line.startswith("WARNING")]
    assert all("Failed checks for eval_accuracy" in line for line in warnings), output
    assert "-" * 30 not in output  # that stands between two findings


def test_normal_run(normal, tmp_path):
    assert_compliant(normal / "mlperf.log", tmp_path)
    command = Path(sys.executable).with_name("cloudmask-check-log")
    done = subprocess.run([command, normal / "mlperf.log"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{normal}/mlperf.log: compliant\n")


def test_run_that_stopped_early(store_path, tmp_path):
    settings = ("training.epochs=60", "early_stopping.patience=1", "training.learning_rate=1.0")
    done = run("cloudmask-train", arguments(store_path, tmp_path / "run", *settings),
               tmp_path / "log")  # fmt: skip
    assert done.wait() == 0, done.errors
    assert RunDirectory(tmp_path / "run").read_result().training.stopped_early
    assert_compliant(tmp_path / "run/mlperf.log", tmp_path)


@pytest.mark.long
def test_run_that_was_killed_and_asked_to_stop(store_path, tmp_path):
    """SIGKILL, then SIGTERM, then to the end: log, telemetry and energy span the attempts."""
    folder = tmp_path / "run"
    words = arguments(store_path, folder, "training.epochs=40", "early_stopping.enabled=false")
    history = folder / "history.csv"
    for number, expected in ((signal.SIGKILL, -9), (signal.SIGTERM, 75)):
        seen = len(history.read_text().splitlines()) if history.exists() else 0
        command = Command("cloudmask-train", words, tmp_path / "log")
        while not history.exists() or len(history.read_text().splitlines()) <= seen + 1:
            assert command.wait(0.02) is None, command.errors
        if number == signal.SIGKILL:
            time.sleep(1.2)  # for a sample of the telemetry after the first
        command.send(number)
        assert command.wait(60) == expected
        assert (folder / "telemetry.csv").read_text().count("\n") > 1
    done = run("cloudmask-train", words, tmp_path / "log")
    assert done.wait() == 0, done.errors
    assert_compliant(folder / "mlperf.log", tmp_path)
    with (folder / "telemetry.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["device"] == "host"]
    assert {row["attempt"] for row in rows} == {"1", "2", "3"}
    energy = RunDirectory(folder).read_result().energy.model_dump(exclude_unset=True)
    assert energy["samples"] == len(rows)
    assert energy["peak_host_memory_bytes"] > 100e6
    # What this machine cannot measure is there, and says so.
    for name in ("joules", "mean_power_watts", "peak_power_watts", "mean_gpu_utilisation"):
        assert name in energy
    assert energy["joules"] is not None or energy["sources"]["notes"]


@pytest.mark.long
def test_energy_of_a_gpu_outlives_a_killed_run(store_path, tmp_path):
    """The real run and the real telemetry; NVIDIA's binding is a stand-in."""
    folder = tmp_path / "run"
    words = arguments(store_path, folder, "training.epochs=12", "early_stopping.enabled=false")
    command = [Path(sys.executable).with_name("cloudmask-train"), *map(str, words)]
    stand_ins = Path(__file__).resolve().parents[1] / "stand-ins"
    environment = os.environ | {"PYTHONPATH": str(stand_ins)}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    first = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while not (folder / "history.csv").exists():
        assert first.poll() is None
        time.sleep(0.02)
    time.sleep(1.2)  # for a sample after the first
    first.kill()
    first.wait()
    left = summarize(folder / "telemetry.csv")
    assert left["samples"] > 1 and left["joules"] > 0

    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    energy = RunDirectory(folder).read_result().energy.model_dump(exclude_unset=True)
    assert energy["joules"] == pytest.approx(300 * energy["seconds"], rel=0.05)
    assert energy["joules"] > left["joules"] and energy["samples"] > left["samples"]
    assert energy["mean_power_watts"] == pytest.approx(300, rel=0.05)
    assert (energy["peak_power_watts"], energy["mean_gpu_utilisation"]) == (300, 75)
    assert energy["peak_gpu_memory_bytes"] == 2 << 30
    summary = (folder / "summary.txt").read_text()
    for name in ("joules", "mean_power_watts", "peak_host_memory_bytes"):
        assert re.search(rf"\| telemetry_{name} +\| {str(energy[name])[:6]}", summary)


def broken_by(change):
    """Apply `change` to the events of a log."""

    def apply(lines):
        events = [json.loads(line.removeprefix(":::MLLOG ")) for line in lines]
        events = change(events)
        return [f":::MLLOG {json.dumps(event)}" for event in events]

    return apply


def without(key):
    return broken_by(lambda events: [e for e in events if e["key"] != key])


def with_value(key, value):
    return broken_by(
        lambda events: [e | {"value": value} if e["key"] == key else e for e in events]
    )


def twice(key):
    return broken_by(lambda events: [x for e in events for x in [e] * (1 + (e["key"] == key))])


def moved_to_the_end(key):
    return broken_by(lambda events: sorted(events, key=lambda event: event["key"] == key))


def without_metadata(key):
    return broken_by(
        lambda events: [e | {"metadata": {}} if e["key"] == key else e for e in events]
    )


def late(key, minutes):
    def change(events):
        first = next(i for i, e in enumerate(events) if e["key"] == key)
        return [
            e | {"time_ms": e["time_ms"] + minutes * 60_000} if i >= first else e
            for i, e in enumerate(events)
        ]

    return broken_by(change)


def second_only(key):
    return broken_by(
        lambda events: [e for e in events if e["key"] != key or e["metadata"].get("epoch_num") != 1]
    )


def first_epoch_again(*between):
    """The first epoch twice, with these events between."""

    def change(events):
        first, last = (
            next(i for i, e in enumerate(events) if e["key"] == key)
            for key in ("epoch_start", "eval_stop")
        )
        inserted = [events[last] | event for event in between]
        return [*events[: last + 1], *inserted, *events[first:]]

    return broken_by(change)


BROKEN = {
    "epoch twice": (first_epoch_again(), "epochs are numbered"),
    "no end": (without("run_stop"), "run_stop: missing"),
    "no result": (without("result"), "result: missing"),
    "no seed": (without("seed"), "seed: missing"),
    "result is a number": (with_value("result", 0.9), "a dictionary with training"),
    "other benchmark": (with_value("submission_benchmark", "deepcam"), 'found "deepcam"'),
    "closed division": (with_value("submission_division", "closed"), "the division open only"),
    "no organisation": (with_value("submission_org", ""), "submission_org"),
    "percent": (with_value("eval_accuracy", 90.1), "eval_accuracy"),
    "begun twice": (twice("run_start"), "run_start: stands 2 times, expected once"),
    "start-up ends last": (moved_to_the_end("init_stop"), "init_stop"),
    "slow start-up": (late("init_stop", 31), "within 30 minutes"),
    "no status": (without_metadata("run_stop"), "a status: success or aborted"),
    "epochs without number": (without_metadata("epoch_start"), "epochs are numbered"),
    "epoch never ends": (second_only("epoch_stop"), "epoch"),
    "epoch is missing": (second_only("epoch_start"), "epoch"),
    "no time": (
        broken_by(lambda events: [{k: v for k, v in e.items() if k != "time_ms"} for e in events]),
        "a line is damaged",
    ),
    "damaged line": (lambda lines: [*lines[:3], lines[3][:40], *lines[4:]], "a line is damaged"),
    "no log": (lambda lines: ["nothing"], "holds no event"),
}


def test_killed_between_an_epochs_end_and_its_checkpoint(normal, tmp_path):
    resumed = {"key": "resumed", "event_type": "POINT_IN_TIME", "value": 2, "metadata": {}}
    lines = (normal / "mlperf.log").read_text().splitlines()
    log = tmp_path / "mlperf.log"
    log.write_text("\n".join(first_epoch_again(resumed)(lines)) + "\n")
    assert_compliant(log, tmp_path)


@pytest.mark.parametrize("name", BROKEN)
def test_broken_log_is_explained(normal, tmp_path, name):
    change, expected = BROKEN[name]
    log = tmp_path / "mlperf.log"
    log.write_text("\n".join(change((normal / "mlperf.log").read_text().splitlines())) + "\n")
    found = findings(log)
    assert any(expected in line for line in found), found
    assert not any("failed test" in line or "\n" in line for line in found)


def test_command_tells_and_fails(normal, tmp_path):
    log = tmp_path / "mlperf.log"
    log.write_text((normal / "mlperf.log").read_text().replace('"run_stop"', '"run_end"'))
    command = [Path(sys.executable).with_name("cloudmask-check-log"), normal / "mlperf.log", log]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 1
    assert f"{log}: not compliant\n  " in done.stdout
    assert "error: 1 of 2 logs not compliant" in done.stderr
    done = subprocess.run([command[0], tmp_path / "none.log"], capture_output=True, text=True)
    assert done.returncode == 2 and "cannot be read" in done.stderr


def test_repeated_seeds_are_told_if_asked(normal, tmp_path):
    same, other = tmp_path / "same.log", tmp_path / "other.log"
    text = (normal / "mlperf.log").read_text()
    same.write_text(text)
    seed = re.search(r'"key": "seed", "value": \d+', text)[0]
    other.write_text(text.replace(seed, '"key": "seed", "value": 987654'))
    command = [Path(sys.executable).with_name("cloudmask-check-log"), normal / "mlperf.log"]
    for options, code in (((same,), 0), ((other, "--distinct-seeds"), 0)):
        done = subprocess.run([*command, *options], capture_output=True, text=True)
        assert done.returncode == code, done.stderr
    done = subprocess.run([*command, same, "--distinct-seeds"], capture_output=True, text=True)
    assert done.returncode == 1
    assert f": 2 times, in {normal / 'mlperf.log'}, {same}\n" in done.stdout
    assert "error: the seeds are not distinct" in done.stderr


def test_published_logs_are_not_compliant(shared):
    for log in (shared / "published").glob("mlperf_*.log"):
        assert len(findings(log)) > 10


def test_missing_checker_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlperf_logging.compliance_checker", None)
    with pytest.raises(InputError, match=r"cloudmask-slstr\[check\]"):
        findings(tmp_path / "mlperf.log")
