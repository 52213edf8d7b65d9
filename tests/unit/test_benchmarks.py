"""The benchmarks of speed: each answers, a small one runs, and its figures become a table."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch):
    """The module that runs them all."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import bench

    return bench


def run(name, *words):
    return subprocess.run(
        [sys.executable, BENCHMARKS / f"{name}.py", *map(str, words)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_each_tells_what_it_takes(bench):
    assert {path.stem for path in BENCHMARKS.glob("*.py")} >= set(bench.NAMES)
    for name in bench.NAMES:
        assert "--rounds" in run(name, "--help"), name


@pytest.mark.slow
def test_the_first_pass_is_measured_and_shown(bench, scenes, tmp_path):
    (tmp_path / "scenes").symlink_to(scenes / "training")
    out = tmp_path / "out.json"
    run("first_pass", "--data", tmp_path, "--out", out, "--rounds", 1)
    figures = json.loads(out.read_text())
    assert len(figures) == 1 and 0 < figures[0]["ratio"] < 100
    assert figures[0]["ratio"] == pytest.approx(figures[0]["ours"] / figures[0]["baseline"])
    facts = {"date": "d", "commit": "c", "cores": 2, "cpu": "x"}
    facts |= {"tensorflow": "2", "keras": "3", "numpy": "2"}
    sure = [figures[0] | {"ratio": 0.9, "reached": True}, figures[0] | {"reached": False}]
    table = bench.table(facts, sure)
    assert "| 0.9 | ≥ 0.8 | reached |" in table and "**missed**" in table
    bench.draw(facts, sure, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").stat().st_size > 1000
