"""A process is told from a later one of the same number."""

import os
import subprocess

from cloudmask.system import process


def test_living_dead_and_reused_numbers():
    own = process.started(os.getpid())
    assert own and process.alive(os.getpid(), own)
    assert not process.alive(os.getpid(), own + 1)
    child = subprocess.Popen(["sleep", "60"])
    start = process.started(child.pid)
    assert process.alive(child.pid, start)
    child.kill()
    # Dead, although nobody has waited for it: killing takes a moment.
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process.started(child.pid) is None
    child.wait()
    assert not process.alive(child.pid, start)


def test_impossible_number_is_dead():
    assert process.started(2**40) is None
