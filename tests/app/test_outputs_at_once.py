"""Two commands, two processes each, that write into one place at the same time."""

import subprocess
import sys

import pytest

from cloudmask.scenes import synthetic

# Each waits until the other is ready, so that both begin at once.
MAIN = """
import os, sys, time
from importlib import import_module
from pathlib import Path
module, barrier, own, others, *arguments = sys.argv[1:]
sys.argv = ["test", *arguments]
main = import_module(f"cloudmask.commands.{module}").main
Path(barrier, own).touch()
while not Path(barrier, others).exists():
    time.sleep(0.01)
sys.exit(main())
"""


@pytest.fixture
def at_once(tmp_path):
    """Run two commands at once; returns their exit codes and messages, the successful one first."""

    def run(first, second):
        barrier = tmp_path / "barrier"
        barrier.mkdir()
        both = []
        for own, other, (module, *arguments) in (("a", "b", first), ("b", "a", second)):
            words = [sys.executable, "-c", MAIN, module, barrier, own, other, *arguments]
            both.append(subprocess.Popen(words, stdout=-1, stderr=-1, text=True))
        ended = [(process.communicate(timeout=300)[1], process.returncode) for process in both]
        return sorted((code, text) for text, code in ended)

    return run


def _evaluate(folder, out):
    return ("evaluate", "--example", "--scenes", folder / "scenes", "--out", out, "--no-pictures")


@pytest.mark.slow
@pytest.mark.parametrize("other", ["evaluate", "report", "synth"])
def test_one_of_two_is_refused(at_once, tmp_path, other):
    out, scene = tmp_path / "out", synthetic.make_scene("inference", 0, (256, 256), seed=1)
    (tmp_path / "scenes").mkdir()
    synthetic.write_scene(
        tmp_path / "scenes" / f"{synthetic.scene_name('inference', 0)}.hdf", scene
    )
    second = {
        "evaluate": _evaluate(tmp_path, out),
        "report": ("report", tmp_path, "--out", out),
        "synth": ("synth", "--out", out, "--train", "4", "--test", "1", "--size", "512x512"),
    }[other]
    (tmp_path / "one.log").write_text(
        ':::MLLOG {"key": "seed", "value": 1, "metadata": {}, "time_ms": 1}\n'
    )
    (first, _), (code, message) = at_once(_evaluate(tmp_path, out), second)
    assert (first, code) == (0, 2), message
    assert message.startswith("error: ") and message.count("\n") == 1
    if other == "evaluate":
        assert "in use by process" in message
