"""A seeded share of the attack that `make attack` makes at length, and the attack itself tried."""

import errno
import os
import signal
import subprocess
import sys

import pytest
from attack import launch, runner, shim
from attack.contents import contents, differences
from attack.protocol import LEFT, LOST, WRONG, Verdict

MINUTES = 3  # besides making the inputs, which takes one or two


def test_a_share_of_every_attack_finds_nothing():
    campaign = runner.run(runner.Options(amount=0.05, minutes=MINUTES, processes=1))
    assert campaign.failures == []
    for name, tally in campaign.tallies.items():
        assert tally.skipped or tally.fired, f"{name} did nothing"


@pytest.mark.parametrize(
    ("where", "faults"),
    [
        ("import re\n  File '/python3.11/re/__init__.py', line 141, in <module>", 0),
        ("from cloudmask.commands.report import main", 0),
        ("sys.exit(main())\n  File '/cloudmask/commands/report.py', line 9, in main", 1),
    ],
)
def test_python_may_tell_where_it_stopped_before_main_alone(where, faults):
    text = f"""Traceback (most recent call last):
  File "/a/bin/cloudmask-report", line 3, in <module>
    {where}
KeyboardInterrupt
"""
    ended = launch.Ended("cloudmask-report", -signal.SIGINT, text, 0.03, [])
    assert len(ended.judged(signal.SIGINT)) == faults
    assert len(ended.judged(signal.SIGTERM)) == 1


@pytest.fixture
def shimmed(tmp_path):
    """Run Python with one call of the C library failing; returns what it printed, and the state."""
    if not shim.compiler():
        pytest.skip("no C compiler")
    library = shim.build(tmp_path)

    def run(program, fault):
        folder = tmp_path / "work"
        folder.mkdir(exist_ok=True)
        state = shim.State(tmp_path / "state", folder, fault)
        environment = {"LD_PRELOAD": str(library), shim.VARIABLE: str(state.path)}
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=folder,
            env=os.environ | environment,
            capture_output=True,
            text=True,
        )
        return done.stdout + done.stderr, state

    return run


WRITES_A_FILE = "import os; f = os.open('a', os.O_CREAT | os.O_WRONLY); print(os.write(f, b'abcd'))"


def test_the_shim_counts_and_fires(shimmed):
    output, state = shimmed(WRITES_A_FILE, shim.Fault())
    assert (output, state.count, state.fired) == ("4\n", 2, 0)
    output, state = shimmed(WRITES_A_FILE, shim.Fault(2, 2, errno.ENOSPC))
    assert "No space left on device" in output
    assert (state.fired, state.what.split()[0]) == (1, "write")
    output, state = shimmed(WRITES_A_FILE, shim.Fault(1, 9, shim.SHORT))
    assert (output, state.fired) == ("2\n", 1)
    output, state = shimmed(WRITES_A_FILE, shim.Fault(3, 3, errno.EIO))
    assert (output, state.fired) == ("4\n", 0)


def test_contents_tell_what_is_missing_too_much_and_other(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        (folder / "same").write_text("same")
        (folder / "changed").write_text(folder.name)
        (folder / f"only {folder.name}").touch()
    kinds = {(f.kind, f.text.split(":")[0]) for f in differences(contents(one), contents(two))}
    assert kinds == {(LOST, "only one is missing"), (LEFT, "only two"), (WRONG, "changed")}


def test_cases_are_drawn_by_share_until_all_have_theirs():
    campaign = runner.Campaign(runner.Options(amount=0.01, attacks=("signals", "hostile files")))
    drawn = []
    while (case := campaign.draw()) is not None:
        drawn.append(case)
        campaign.add(*case, Verdict("", 1 if case[0] == "signals" else 100))
    assert drawn.count(("signals", 3)) == 1
    assert [name for name, _ in drawn].count("signals") == 8
    assert [name for name, _ in drawn].count("hostile files") == 2
