"""A process is told from a later one of the same number."""

import os
import subprocess
import sys
import time

from cloudmask.errors import EXIT_FAULT
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


def test_a_program_ends_with_a_killed_parent():
    code = (
        "import signal, subprocess, time\n"
        "from cloudmask.system import process\n"
        "child = process.start(['sleep', '100'], signal.SIGTERM, stdout=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(100)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        child = int(parent.stdout.readline())
        assert process.started(child) is not None
        parent.kill()
    until = time.monotonic() + 120
    while process.started(child) is not None and time.monotonic() < until:
        time.sleep(0.02)
    assert process.started(child) is None


def test_no_signal_is_lost_while_a_program_starts():
    """Python copies the process for it, and ignores what a handler raises meanwhile."""
    code = (
        "import signal\n"
        "from cloudmask.system import process\n"
        "came = raised = 0\n"
        "class Stop(Exception): pass\n"
        "def stop(number, frame):\n"
        "    global came\n"
        "    came += 1\n"
        "    raise Stop\n"
        "signal.signal(signal.SIGALRM, stop)\n"
        "for number in range(300):\n"
        "    try:\n"
        "        signal.setitimer(signal.ITIMER_REAL, 0.00001 * (1 + number))\n"
        "        process.run(['true'], signal.SIGKILL)\n"
        "        signal.pause() if signal.getitimer(signal.ITIMER_REAL)[0] else None\n"
        "    except Stop:\n"
        "        raised += 1\n"
        "print(came - raised)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_a_process_whose_parent_has_died_meanwhile_ends_at_once():
    code = "import os; from cloudmask.system.process import end_with; end_with(os.getppid() + 1, 9)"
    done = subprocess.run([sys.executable, "-c", f"{code}; print('goes on')"], capture_output=True)
    assert (done.returncode, done.stdout) == (EXIT_FAULT, b"")
