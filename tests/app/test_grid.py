"""Experiments over many runs on this machine, with real processes."""

import contextlib
import fcntl
import itertools
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import tarfile
import termios
import time
from pathlib import Path

import psutil
import pytest
from support.experiments import experiment, rows_by_state

from cloudmask.experiments import plan
from cloudmask.record import provenance

GRID = Path(sys.executable).with_name("cloudmask-grid")


def at_terminal(folder, height, *arguments):
    """Run cloudmask-grid at a terminal of that height, to its end; returns its screens."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", height, 120, 0, 0))
    process = subprocess.Popen(
        [GRID, *arguments],
        cwd=folder,
        # Without the size of another terminal, which readline may have put in.
        env={k: v for k, v in os.environ.items() if k not in ("LINES", "COLUMNS")},
        **dict.fromkeys(("stdin", "stdout", "stderr"), its),
    )
    os.close(its)
    seen = b""
    # Reading fails once the other side is closed.
    with contextlib.suppress(OSError):
        while piece := os.read(ours, 65536):
            seen += piece
    os.close(ours)
    assert process.wait(10) == 0, seen
    screens = seen.decode().replace("\r\n", "\n").split("\033[H\033[J")
    return [screen.strip() for screen in screens[1:]]


@pytest.mark.long
def test_grid_of_twelve_killed_in_the_middle(grid, tmp_path, store_path):
    experiment(tmp_path, "  training.learning_rate: 1e-4..1e-2 log 3\n  seed: [1, 2]\nrepeats: 2")
    submit = [GRID, "submit", "e.yaml", "--data", store_path, "--jobs", "2"]
    executor = subprocess.Popen(submit, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    finished = 0
    for line in executor.stdout:
        finished += "finished" in line
        if finished >= 3 and "started" in line:  # between the two, none may be running
            break
    # The node dies: executor and rows at once, with no time to save.
    executor.send_signal(signal.SIGSTOP)  # so that it cannot note anything
    rows = psutil.Process(executor.pid).children()
    assert 1 <= len(rows) <= 2, "no row runs"
    for process in (*rows, executor):
        process.kill()
    executor.wait()
    executor.stdout.close()
    # A large process takes a moment to die, and nobody may take note of its death.
    for process in rows:
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.05)

    before = rows_by_state(grid("status", "e.yaml"))
    assert 3 <= len(before["finished"]) <= 5
    assert before["lost"] == set(range(1, 13)) - before["finished"]
    missing = grid("missing", "e.yaml").stdout.strip()
    assert set(plan.parse_ranges(missing)) == before["lost"]
    results = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/e/*/result.json")}

    with (tmp_path / "log").open("w") as log:
        again = subprocess.Popen(
            [GRID, "rerun", "e.yaml", "--data", store_path, "--jobs", "2"],
            cwd=tmp_path,
            stdout=log,
            stderr=log,
        )
    while "running" not in rows_by_state(grid("status", "e.yaml")):
        assert again.poll() is None, (tmp_path / "log").read_text()
    # watch, into a file and at a terminal, ends when nothing runs or waits any more.
    with (tmp_path / "watched").open("w+") as file:
        plain = subprocess.Popen(
            [GRID, "watch", "e.yaml", "--every", "1"], cwd=tmp_path, stdout=file
        )
        screens = at_terminal(tmp_path, 24, "watch", "e.yaml", "--every", "1")
        assert plain.wait(10) == 0
        file.seek(0)
        watched = file.read().splitlines()
    assert again.wait(10) == 0, (tmp_path / "log").read_text()
    assert re.fullmatch(r"12 rows: \d+ queued(, [12] running)?, \d+ finished", watched[0])
    assert watched[-1] == "12 rows: 12 finished"
    assert len(watched) > 3 and all(a != b for a, b in itertools.pairwise(watched))
    # Between two rows of the executor none may be running.
    assert any(re.search(r"running .* epoch 1 of 1", screen) for screen in screens)
    assert screens[-1].endswith("12 rows: 12 finished")
    assert rows_by_state(grid("status", "e.yaml")) == {"finished": set(range(1, 13))}
    assert grid("missing", "e.yaml").stdout == ""
    assert all(path.stat().st_mtime_ns == time for path, time in results.items())
    # Every directory describes itself, and was computed with that.
    frozen = plan.load(tmp_path / "runs/e")
    for row in frozen.rows:
        result = frozen.run(row).read_result()
        assert result.experiment["seed"] == row.parameters["seed"]
        rate = result.experiment["training"]["learning_rate"]
        assert rate == row.parameters["training.learning_rate"]
        assert json.loads(frozen.run(row).row.read_text())["index"] == row.index
    done = grid("plan", "e.yaml")
    assert "12 rows, 0 of them to be run" in done.stdout
    # No commit may identify this tree; a row then holds the program, all that it needs.
    archive = frozen.run(frozen.rows[0]).source
    assert archive.exists() == (provenance.git()["dirty"] is not False)


def test_kept_program_works(grid, tmp_path, store_path, monkeypatch):
    monkeypatch.setenv("CLOUDMASK_GIT_COMMIT", "0123abc-dirty")
    experiment(tmp_path, "")
    done = grid("run", "e.yaml", "--index", "1", "--data", tmp_path / "none.h5")
    assert done.returncode == 2
    with tarfile.open(tmp_path / "runs/e/0001/source.tar.gz") as archive:
        archive.extractall(tmp_path / "program", filter="data")
    code = "from cloudmask.commands import grid; print(grid.__file__); grid.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "plan", "paper"],
        cwd=tmp_path / "program",
        env=os.environ | {"PYTHONPATH": str(tmp_path / "program")},
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith(f"{tmp_path}/program/cloudmask/commands/grid.py\n"), done.stderr
    assert "5 rows, 5 of them to be run" in done.stdout


def test_states_with_their_reasons_and_rerun_of_one(grid, tmp_path, store_path):
    experiment(tmp_path, "  training.learning_rate: [1e-3, 1e-2]\n")
    assert rows_by_state(grid("status", "e.yaml")) == {"planned": {1, 2}}
    assert not (tmp_path / "runs").exists()
    bad = tmp_path / "bad.h5"
    bad.write_bytes(b"no patch store")
    done = grid("submit", "e.yaml", "--data", bad)
    assert done.returncode == 1 and "2 rows failed (1 first)" in done.stderr
    done = grid("status", "e.yaml")
    assert rows_by_state(done) == {"failed": {1, 2}}
    assert "bad.h5" in done.stdout
    assert grid("submit", "e.yaml", "--data", store_path).stdout.startswith("e: no row is planned")

    executor = subprocess.Popen(
        [GRID, "rerun", "e.yaml", "--data", store_path, "--index", "2"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
    )
    seen = set()
    while executor.poll() is None:
        seen |= set(rows_by_state(grid("status", "e.yaml")))
    executor.stdout.close()
    assert executor.returncode == 0
    assert {"failed", "running"} <= seen
    assert rows_by_state(grid("status", "e.yaml")) == {"failed": {1}, "finished": {2}}
    # A finished row is begun anew only with --fresh, and what it was is kept.
    done = grid("rerun", "e.yaml", "--data", store_path, "--index", "2")
    assert done.returncode == 2 and "this row is finished (--fresh" in done.stderr
    done = grid("rerun", "e.yaml", "--data", store_path, "--index", "2", "--fresh")
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("runs/e/0002*/result.json"))) == 2
    # Nothing is moved before it is clear that it can be begun.
    done = grid("rerun", "e.yaml", "--data", tmp_path / "none.h5", "--index", "2", "--fresh")
    assert done.returncode == 2 and "no such file" in done.stderr
    assert len(list(tmp_path.glob("runs/e/0002*"))) == 2


def test_when_a_stop_is_requested_the_rows_save(grid, tmp_path, store_path):
    experiment(tmp_path, "  early_stopping.enabled: false\nrepeats: 2\n", epochs=500)
    executor = subprocess.Popen(
        [GRID, "submit", "e.yaml", "--data", store_path],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    history = tmp_path / "runs/e/0001_repeat_1/history.csv"
    while not history.exists() and executor.poll() is None:
        time.sleep(0.05)
    done = grid("status", "e.yaml")
    assert re.search(r"1 +running +1 +epoch \d+ of 500, ends by \d{4}-", done.stdout)
    assert rows_by_state(done) == {"running": {1}, "queued": {2}}
    executor.send_signal(signal.SIGTERM)
    _, errors = executor.communicate(timeout=300)
    assert executor.returncode == 75 and "interrupted: runs/e" in errors
    done = grid("status", "e.yaml")
    assert rows_by_state(done) == {"interrupted": {1}, "lost": {2}}
    assert re.search(r"\d epochs? done", done.stdout)

    # An executor that is killed cannot signal its rows any more; the kernel does.
    run = history.parent
    executor = subprocess.Popen(
        [GRID, "rerun", "e.yaml", "--data", store_path, "--index", "1"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    seen = len(history.read_text().splitlines())
    while len(history.read_text().splitlines()) <= seen:
        assert executor.poll() is None
        time.sleep(0.05)
    executor.kill()
    executor.wait()
    until = time.monotonic() + 300
    while (run / ".lock").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    assert rows_by_state(grid("status", "e.yaml"))["interrupted"] == {1}


# Processor seconds for ten thousand rows: one on a quick processor, beside other work two.
AT_ONCE = 4


def test_ten_thousand_rows_are_listed_at_once(grid, tmp_path):
    (tmp_path / "big.yaml").write_text("name: big\nparameters:\n  seed: 1..10000\n")
    from cloudmask.experiments.experiment import load_experiment

    frozen = plan.freeze(load_experiment(tmp_path / "big.yaml"), tmp_path / "runs")
    for row in frozen.rows[:9000]:
        run = frozen.run(row).path
        run.mkdir()
        for name in ("config.yaml", "row.json", "mlperf.log", "history.csv"):
            (run / name).touch()
        if row.index % 3 == 0:
            (run / "failure.json").write_text('{"reason": "out of memory"}')
        else:
            (run / "result.json").touch()
    printed, seconds = timed(tmp_path, "status", "runs/big")
    assert printed.endswith("10000 rows: 1000 planned, 6000 finished, 3000 failed\n")
    assert seconds < AT_ONCE
    printed, seconds = timed(tmp_path, "missing", "runs/big")
    assert printed.startswith("3,6,9,") and printed.endswith(",9000-10000\n")
    assert seconds < AT_ONCE
    # What does not fit on a terminal is counted; what failed comes first.
    (screen,) = at_terminal(tmp_path, 20, "watch", "runs/big")
    lines = screen.splitlines()
    assert len(lines) < 20 and "out of memory" in lines[1]
    assert lines[-2] == f"… and {3000 - len(lines[1:-2])} more like these"
    done = grid("watch", "runs/big", "--every", "0")
    assert done.returncode == 2 and "--every 0: expected seconds" in done.stderr


def timed(folder, *arguments):
    """What the command prints, and its processor seconds, which other work does not lengthen."""
    with (folder / "printed").open("w+") as file:
        process = subprocess.Popen([GRID, *arguments], cwd=folder, stdout=file)
        _, code, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
        assert process.returncode == 0
        file.seek(0)
        return file.read(), usage.ru_utime + usage.ru_stime
