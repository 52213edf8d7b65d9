"""An executor that attends to its rows removes what killed ones have left."""

import os
import subprocess
import sys
from types import SimpleNamespace

from cloudmask.experiments import submit

HOLD = """
import sys, time
from pathlib import Path
from cloudmask.system import lock
with lock.exclusive(Path(sys.argv[1]), "runs"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_lock_files_of_killed_executors_go_at_the_next_start(tmp_path):
    def executor(name):
        command = [sys.executable, "-c", HOLD, tmp_path / name]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        process.stdout.readline()
        return process

    dead, living = executor(".executor-node-1"), executor(".executor-node-2")
    dead.kill()
    dead.wait()
    seen = []

    def start(plan, launches, stop):
        seen.extend(path.name for path in tmp_path.glob(".executor-*"))
        return {1: 0}

    row = SimpleNamespace(start=start, attended=True, site_name="local")
    assignment = SimpleNamespace(executor=row, launches=(), rows=[1])
    submit.start(SimpleNamespace(folder=tmp_path, name="e"), [assignment])
    living.kill()
    living.wait()
    assert len(seen) == 2 and ".executor-node-2" in seen
    assert any(name.endswith(f"-{os.getpid()}") for name in seen)
