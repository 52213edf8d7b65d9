"""The benchmarks of speed: each answers, a small one runs, and its figures become a table."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
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


def test_a_gpu_is_measured_through_what_is_installed(monkeypatch, capsys, tmp_path):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import batch_sizes

    words = ["batch_sizes.py", "--data", str(tmp_path), "--out", str(tmp_path / "out.json")]
    for installed, more, message in (
        ((), [], "neither TensorFlow nor JAX is installed"),
        (("tensorflow",), ["--backend", "jax"], "jax is not installed"),
    ):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, has=installed: name in has)
        monkeypatch.setattr(sys, "argv", [*words, *more])
        with pytest.raises(SystemExit) as end:
            batch_sizes.main()
        assert end.value.code == 2 and message in capsys.readouterr().err


THREE_STEPS = """
import importlib, sys
import numpy as np

owner, backend, data, out = sys.argv[1:]
owner, backend = importlib.import_module(owner), importlib.import_module(backend)
unet = owner.unet

def from_the_same_weights(**words):
    model = unet(**words)
    draw = np.random.default_rng(3).normal
    model.set_weights([draw(0, 0.05, weight.shape) for weight in model.weights])
    return model

owner.unet = from_the_same_weights
step = backend.make_step("float32", backend.XLA[0], 3)
arrays = np.load(data)
batch = step.to_device(arrays["patches"], arrays["labels"])
np.save(out, [np.asarray(step.train(batch))[:3] for _ in range(3)])
"""


@pytest.mark.slow
def test_both_backends_train_alike(tmp_path):
    pytest.importorskip("jax", reason="JAX is not installed; it is no part of the project")
    random = np.random.default_rng(1)
    labels = random.integers(0, 4, (1, 256, 256), np.uint8)
    patches = (random.normal(size=(1, 256, 256, 9)) + labels[..., None]).astype(np.float16)
    np.savez(tmp_path / "batch.npz", patches=patches, labels=labels)
    found = {}
    for owner, backend in (
        ("cloudmask.train.step", "through_tensorflow"),
        ("through_jax", "through_jax"),
    ):
        out = tmp_path / f"{backend}.npy"
        words = [owner, backend, tmp_path / "batch.npz", out]
        command = [sys.executable, "-c", THREE_STEPS, *map(str, words)]
        subprocess.run(command, check=True, cwd=BENCHMARKS)
        found[backend] = np.load(out)
    ours, theirs = found.values()
    np.testing.assert_allclose(ours, theirs, rtol=2e-3)
    assert ours[2, 0] < ours[0, 0] and ours[0, 2] == (labels < 2).sum()
