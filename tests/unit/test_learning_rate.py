"""The learning rate over a run, against the formulas and against Keras' own callback."""

import types

import numpy as np
import pytest

from cloudmask.config.settings import Training, make_config
from cloudmask.errors import InputError
from cloudmask.record.history import Epoch
from cloudmask.train.learning_rate import learning_rate, log_facts, plateau_rate

STEPS = 10  # of an epoch


def rates(steps, **settings):
    """The learning rate of these steps of the optimizer."""
    rate = learning_rate(Training(learning_rate=0.01, **settings), STEPS)
    return [float(rate(step)) for step in steps]


def fraction(steps, epochs, warm_up=0):
    """How much of the steps after the warm-up is over."""
    return (np.asarray(steps) - warm_up) / (epochs * STEPS - warm_up)


@pytest.mark.slow
@pytest.mark.parametrize("warm_up", [0, 2])
@pytest.mark.parametrize("last", [0.0, 0.002])
def test_cosine_and_polynomial_fall_to_the_last_rate(warm_up, last):
    steps = np.arange(warm_up * STEPS, 101, 5)
    done = fraction(steps, 10, warm_up * STEPS)
    common = {"epochs": 10, "warmup_epochs": float(warm_up), "end_learning_rate": last}
    cosine = last + (0.01 - last) * (1 + np.cos(np.pi * done)) / 2
    found = rates(steps, schedule="cosine", **common)
    np.testing.assert_allclose(found, cosine, rtol=1e-4, atol=1e-8)
    squared = last + (0.01 - last) * (1 - done) ** 2
    found = rates(steps, schedule="polynomial", decay_power=2.0, **common)
    np.testing.assert_allclose(found, squared, rtol=1e-4, atol=1e-8)


@pytest.mark.slow
def test_exponential_loses_the_same_fraction_in_each_step():
    steps = np.arange(0, 101, 5)
    found = rates(steps, schedule="exponential", epochs=10, end_learning_rate=1e-4)
    np.testing.assert_allclose(found, 0.01 * 0.01 ** fraction(steps, 10), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("warm_up", [0.0, 1.5])
def test_steps_come_with_the_first_step_of_the_next_epoch(warm_up):
    settings = {"decay_epochs": (2, 4), "decay_factor": 0.5, "warmup_epochs": warm_up}
    found = rates([15, 19, 20, 39, 40, 99], schedule="step", epochs=10, **settings)
    np.testing.assert_allclose(found, [0.01, 0.01, 0.005, 0.005, 0.0025, 0.0025], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"schedule": "cosine"},
        {"schedule": "polynomial"},
        {"schedule": "exponential", "end_learning_rate": 1e-4},
        {"schedule": "step", "decay_epochs": (5,)},
    ],
)
def test_the_warm_up_rises_evenly_from_zero(settings):
    found = rates([0, 5, 10, 20], epochs=10, warmup_epochs=2.0, **settings)
    np.testing.assert_allclose(found, [0, 0.0025, 0.005, 0.01], rtol=1e-5, atol=1e-9)


LOSSES = (5, 4, 4, 4.5, 3, 3.05, 3.2, 3, 3, 3, 3, 2, 2, 2, 2)


def history(values, accuracy=False):
    """Epochs of which every figure is that."""
    return [
        Epoch(number, *[1 - value if accuracy else value] * 4, seconds=1.0)
        for number, value in enumerate(values, 1)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
def test_plateau_does_what_keras_does(monitor):
    import keras

    settings = {"schedule": "plateau", "decay_patience": 2, "decay_factor": 0.5}
    tree = {
        "training": settings | {"learning_rate": 0.01, "end_learning_rate": 0.002},
        "early_stopping": {"monitor": monitor, "min_delta": 0.1},
    }
    config = make_config(tree, "test")
    callback = keras.callbacks.ReduceLROnPlateau(
        monitor,
        mode="max" if monitor == "val_accuracy" else "min",
        factor=0.5,
        patience=2,
        min_delta=0.1,
        min_lr=0.002,
    )
    optimizer = keras.optimizers.Adam(0.01)
    callback.set_model(types.SimpleNamespace(optimizer=optimizer))
    callback.on_train_begin()
    epochs, expected = history(LOSSES, monitor == "val_accuracy"), []
    for epoch in epochs:
        callback.on_epoch_end(epoch.epoch, {monitor: getattr(epoch, monitor)})
        expected.append(float(np.asarray(optimizer.learning_rate)))
    found = [plateau_rate(config, epochs[:count]) for count in range(1, len(epochs) + 1)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found[0] == 0.01 and found[-1] == 0.002 and len(set(found)) == 4


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"warmup_epochs": 1.0}, "warmup_epochs does not go with schedule: constant"),
        ({"schedule": "plateau", "warmup_epochs": 1.0}, "does not go with schedule: plateau"),
        ({"end_learning_rate": 1e-4}, "end_learning_rate does not go with schedule: constant"),
        ({"schedule": "exponential"}, "never falls to 0"),
        ({"schedule": "cosine", "end_learning_rate": 0.1}, "is more than learning_rate: 0.001"),
        ({"schedule": "step"}, "decay_epochs belongs to schedule: step"),
        ({"decay_epochs": [3]}, "decay_epochs belongs to schedule: step"),
        ({"schedule": "step", "decay_epochs": [9, 3]}, "expected growing numbers"),
        ({"schedule": "step", "decay_epochs": [3, 3]}, "expected growing numbers"),
        (
            {"schedule": "step", "decay_epochs": [3], "warmup_epochs": 4.0},
            "decay_epochs begin before warmup_epochs: 4",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, reason):
    with pytest.raises(InputError, match=reason):
        make_config({"training": settings}, "test")


def test_the_log_states_the_schedule_by_the_keys_of_mllog():
    from mlperf_logging.mllog import constants

    known = {value for name, value in vars(constants).items() if name.startswith("OPT_")}
    step = log_facts(Training(schedule="step", decay_epochs=(100, 150)), STEPS)
    assert step["learning_rate_decay_boundary_epochs"] == [100, 150]
    assert {f"opt_{key}" for key in step} <= known
    cosine = log_facts(Training(epochs=10, schedule="cosine", warmup_epochs=2.0), STEPS)
    assert cosine["learning_rate_decay_steps"] == 80 and cosine["end_learning_rate"] == 0
    assert {f"opt_{key}" for key in cosine} <= known
