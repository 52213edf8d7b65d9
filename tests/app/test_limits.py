"""Too little memory, too few processes: one line that names what to lower, whatever it hits."""

import errno
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from cloudmask import commands
from cloudmask.commands import run
from cloudmask.errors import Interrupted

BIN = Path(sys.executable).parent


def ResourceExhaustedError():
    return type("ResourceExhaustedError", (Exception,), {})(
        "OOM when allocating tensor\nwith shape"
    )


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 3.0 GiB"),
        ResourceExhaustedError(),
        RuntimeError("can't start new thread"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
        ImportError("libx.so: failed to map segment from shared object"),
        ImportError("libx.so: cannot allocate memory in static TLS block"),
    ],
    ids=lambda error: f"{type(error).__name__}-{error}"[:40],
)
def test_each_is_one_line_that_names_what_to_lower(capsys, error):
    def fail():
        raise error

    assert run(fail) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "lower --workers, --memory-limit or training.batch_size" in lines[0]


@pytest.mark.parametrize("moment", ["_print_logs", "require_address_space"])
def test_ctrl_c_is_one_word_from_the_first_line_on(monkeypatch, capsys, moment):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, moment, interrupted)
    assert commands.run(lambda: None) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize(
    ("interruption", "code"), [(KeyboardInterrupt(), 130), (Interrupted("the same continues"), 75)]
)
def test_an_interruption_stays_one_where_cleaning_up_fails(capsys, interruption, code):
    """Matplotlib's pages, for one, fail an assertion when they are closed half-written."""

    def fail():
        try:
            raise interruption
        finally:
            raise AssertionError("No offset for object 13")

    assert run(fail) == code
    assert capsys.readouterr().err.startswith("interrupted")


def test_other_errors_keep_their_traceback():
    def fail():
        raise RuntimeError("a fault of the program")

    with pytest.raises(RuntimeError):
        run(fail)


def limited(megabytes, *words):
    """Run a command with so much address space."""

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))

    return subprocess.run(
        [BIN / words[0], *words[1:]],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        preexec_fn=limit,
    )


def assert_one_line(done):
    assert done.returncode in {0, 1}, done.stderr
    assert "Traceback" not in done.stderr
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1
        assert "lower --workers" in lines[0] or "address space is limited" in lines[0]


@pytest.mark.parametrize("megabytes", [150, 250, 500, 520, 600, 700])
def test_prepare_in_little_memory(scenes, tmp_path, megabytes):
    done = limited(megabytes, "cloudmask-prepare", "--scenes", scenes, "--out", tmp_path / "p.h5")
    assert_one_line(done)
    assert (done.returncode == 1) == (megabytes < 512)
    if done.returncode:
        assert list(tmp_path.iterdir()) == []


# Threads that happen to run at once take some hundred megabytes more than the 3 GiB required.
@pytest.mark.parametrize("megabytes", [700, 2900, 3500, 4000])
def test_evaluation_in_little_memory(tmp_path, megabytes):
    done = limited(megabytes, "cloudmask-eval", "--example", "--out", tmp_path / "e")
    assert_one_line(done)
    assert (done.returncode == 1) == (megabytes < 3072)
