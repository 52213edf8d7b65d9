"""Worker processes: none outlives its parent, however that died, and their deaths are one line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import cloudmask
from cloudmask.errors import Fault
from cloudmask.system import process
from cloudmask.system.pool import open_pool

pytestmark = pytest.mark.slow

SOURCES = Path(cloudmask.__file__).parent

PARENT = """
import os, time
from cloudmask.system.pool import open_pool
if __name__ == "__main__":
    with open_pool(2) as pool:
        jobs = [pool.submit(os.getpid) for _ in range(8)]
        print(*[job.result() for job in jobs], flush=True)
        {work}
"""


def die(_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_death_of_a_worker_is_one_line():
    with pytest.raises(Fault, match=r"a worker process died .* fewer --workers"), open_pool(1) as p:
        p.submit(die, 0).result()


def alive(number):
    return process.started(number) is not None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("work", ["time.sleep(60)", "pool.submit(time.sleep, 60).result()"])
def test_no_worker_outlives_a_killed_parent(tmp_path, number, work):
    script = tmp_path / "parent.py"
    script.write_text(PARENT.format(work=work))
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    workers = set(map(int, parent.stdout.readline().split()))
    assert workers and all(map(alive, workers))
    parent.send_signal(number)
    parent.wait(10)
    until = time.monotonic() + 120
    while any(map(alive, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(alive, workers))
    parent.stdout.close()


def test_no_scene_is_made_by_the_orphans_of_a_killed_synth(tmp_path):
    program = "import sys; from cloudmask.commands.synth import main; sys.exit(main())"
    out = tmp_path / "scenes"
    words = [sys.executable, "-c", program, "--out", out, "--train", "40", "--test", "1"]
    synth = subprocess.Popen([*words, "--workers", "2"], stderr=subprocess.DEVNULL)
    while not list(out.rglob("S3A*.hdf")):
        time.sleep(0.05)
    synth.kill()
    synth.wait()
    time.sleep(3)
    made = list(out.rglob("S3A*.hdf"))
    time.sleep(3)
    assert list(out.rglob("S3A*.hdf")) == made


def test_there_is_one_way_to_run_worker_processes():
    words = ("ProcessPoolExecutor", "multiprocessing", "os.fork")
    found = {
        str(path.relative_to(SOURCES))
        for path in SOURCES.rglob("*.py")
        if any(word in path.read_text(encoding="utf-8") for word in words)
    }
    assert found == {"system/pool.py"}
