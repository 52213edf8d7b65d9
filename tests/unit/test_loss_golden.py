"""The losses of the first training steps, compared with those of tests/golden."""

import json
import multiprocessing
import os

import numpy as np
import pytest
from support.golden import GOLDEN

from cloudmask.config.settings import make_config
from cloudmask.patches.store import INVALID

pytestmark = pytest.mark.slow

PATH = GOLDEN / "loss_first_steps.json"
STEPS, BATCH, FILTERS = 10, 2, 4

# Processors, and TensorFlow's versions, add up in different orders and round differently. To change
# the patches by 1e-5, a hundred times the rounding of float32, stands for that: it moves the losses
# by 3e-6 at most. A learning rate that is 5 % higher moves them by 1e-3.
TOLERANCE = 1e-4
ROUNDING = 1e-5


def patches_and_labels():
    """Batches (STEPS, BATCH, 256, 256, …) of noise in which the mask follows one channel."""
    random = np.random.default_rng(7)
    patches = random.random((STEPS, BATCH, 256, 256, 9), np.float32) - np.float32(0.5)
    labels = (patches[..., 2] > 0.1).astype(np.uint8)
    labels[:, :, :32] = INVALID
    return patches, labels


def initial_weights(model):
    """Weights as He et al. (2015) draw them; by NumPy, since Keras 2 and 3 draw differently."""
    random = np.random.default_rng(8)
    weights = []
    for old in model.get_weights():
        fan_in = np.prod(old.shape[:-1])
        drawn = random.standard_normal(old.shape) * np.sqrt(2 / fan_in)
        weights.append(drawn if old.ndim > 1 else np.zeros(old.shape))
    return weights


def compute(variants, connection):
    """Send the losses of the first steps, for each of the settings and factors of the patches.

    In a process of its own, since deterministic mode, the number of threads and the device, here
    the CPU, can be set only before TensorFlow is used.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    from cloudmask.hardware.devices import open_devices
    from cloudmask.train.step import TrainStep

    devices = open_devices(threads=1, deterministic=True)
    losses = []
    for settings, factor in variants:
        training = {"deterministic": True, "precision": "float32", **settings}
        config = make_config({"model": {"filters": FILTERS}, "training": training}, "test")
        step = TrainStep(devices, config, "float32", STEPS)
        step.model.set_weights(initial_weights(step.model))
        patches, labels = patches_and_labels()
        figures = [
            step.train(step.to_device(patches[k] * np.float32(factor), labels[k])).numpy()
            for k in range(STEPS)
        ]
        losses.append([float(sums[0] / sums[2]) for sums in figures])
    connection.send(losses)


@pytest.fixture(scope="module")
def losses():
    """Losses of the default settings, of a higher learning rate, and of patches slightly larger."""
    variants = [({}, 1), ({"learning_rate": 1.05e-3}, 1), ({}, 1 + ROUNDING)]
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=compute, args=(variants, send))
    process.start()
    send.close()
    found = receive.recv()
    process.join()
    return dict(zip(("defaults", "learning rate", "rounding"), found, strict=True))


def check(found):
    """Fail with a table of the steps unless the losses are those of the golden file."""
    if os.environ.get("GOLDEN") == "update":
        PATH.write_text(json.dumps({"losses": found}, indent=2) + "\n", encoding="utf-8")
        return
    kept = json.loads(PATH.read_text(encoding="utf-8"))["losses"]
    relative = [new / old - 1 for old, new in zip(kept, found, strict=True)]
    if max(map(abs, relative)) <= TOLERANCE:
        return
    rows = [
        f"{step:4}  {old:.7f}  {new:.7f}  {change:+.1e}{' !' * (abs(change) > TOLERANCE)}"
        for step, (old, new, change) in enumerate(zip(kept, found, relative, strict=True), 1)
    ]
    raise AssertionError(
        f"The losses of the first steps differ from {PATH.name} by more than {TOLERANCE:g}:\n"
        "step  golden     now        relative\n" + "\n".join(rows) + "\n"
        "If the change is meant: GOLDEN=update pytest, and commit the file."
    )


def test_first_losses_are_those_of_the_golden_file(losses):
    check(losses["defaults"])


def test_tolerance_is_wider_than_rounding(losses):
    np.testing.assert_allclose(losses["rounding"], losses["defaults"], rtol=TOLERANCE / 10)


def test_a_higher_learning_rate_is_noticed(losses):
    if os.environ.get("GOLDEN") == "update":
        pytest.skip("the golden file is being written")
    with pytest.raises(AssertionError, match=r"differ from loss_first_steps\.json") as failed:
        check(losses["learning rate"])
    lines = str(failed.value).splitlines()
    assert lines[2].startswith("   1  0.69") and not lines[2].endswith("!")
    assert any(line.endswith("!") for line in lines)
