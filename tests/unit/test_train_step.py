"""The training step: warm-up, several devices, augmentation, averaged weights, schedule, XLA."""

import multiprocessing
import pickle

import numpy as np
import pytest

from cloudmask.config.settings import make_config
from cloudmask.hardware.devices import Devices, open_devices
from cloudmask.model import unet
from cloudmask.patches.store import INVALID
from cloudmask.train.step import BAD_GRADIENTS, BAD_INPUTS, BAD_OUTPUTS, LOSS, TrainStep

pytestmark = pytest.mark.slow

BATCH = 4
RANDOM = np.random.default_rng(0)
PATCHES = RANDOM.normal(size=(BATCH, 256, 256, 9)).astype(np.float16)
LABELS = RANDOM.choice([0, 1, INVALID], size=(BATCH, 256, 256), p=[0.6, 0.3, 0.1]).astype(np.uint8)


def make(devices=None, seed=3, steps_per_epoch=2, precision="float32", loss=None, **settings):
    import keras

    keras.utils.set_random_seed(1)
    tree = {"model": {"filters": 2}, "training": settings, "loss": loss or {}, "seed": seed}
    config = make_config(tree, "test")
    return TrainStep(devices or open_devices(), config, precision, steps_per_epoch)


def weights(steps):
    return [variable.numpy() for variable in steps.model.variables]


def run(steps, count=3):
    """Figures of some steps with the same batch."""
    batch = steps.to_device(PATCHES, LABELS)
    return [steps.train(batch).numpy() for _ in range(count)]


def counted(steps):
    """Counts of the logits of PATCHES, and how many devices were requested to stop."""
    found = steps.count_logits(steps.to_device(PATCHES, LABELS), stop=True).numpy()
    return found[:-1], found[-1]


def test_figures_are_of_the_valid_pixels():
    figures = run(make(), 1)[0]
    assert figures[2] == np.count_nonzero(LABELS < INVALID)
    assert 0 < figures[1] < figures[2]
    assert figures[3] == 0
    steps = make()
    assert steps.validate(steps.to_device(PATCHES, LABELS), stop=True).numpy()[3] == 1


@pytest.mark.parametrize("settings", [{}, {"averaging": 0.9}, {"precision": "float16"}])
def test_warm_up_changes_nothing(settings):
    steps, other = make(**settings), make(**settings)
    before = [variable.numpy() for variable in steps.variables]
    steps.warm_up(PATCHES.shape, PATCHES.dtype)
    for variable, value in zip(steps.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    np.testing.assert_array_equal(run(steps), run(other))


def test_numbers_that_are_not_finite_are_counted():
    """ReLU makes 0 of what is no number, and the clipped probability hides it from the loss."""
    steps = make()
    patches = PATCHES.copy()
    patches[1, 100, 100, 3], patches[2, 50, 60, 0] = np.nan, np.inf
    figures = steps.validate(steps.to_device(patches, LABELS)).numpy()
    assert figures[BAD_INPUTS] == 2

    batch = steps.to_device(PATCHES, LABELS)
    assert steps.not_finite(batch) == {"weights": 0, "activations": 0}
    good = [variable.numpy() for variable in steps.variables]
    steps.model.variables[2].assign(np.full_like(good[2], np.nan))
    found = steps.not_finite(batch)
    assert found["weights"] == good[2].size and found["activations"] > 0
    figures = steps.train(batch).numpy()
    assert figures[BAD_INPUTS] == 0 and figures[BAD_OUTPUTS] + figures[BAD_GRADIENTS] > 0


def test_overflow_of_half_precision_is_bad_only_where_the_scale_cannot_fall():
    steps = make(precision="float16")
    scale = steps._scaling[0]
    for value, bad in ((2.0**15, False), (1.0, True)):
        scale.assign(value)
        steps.model.variables[-1].assign([np.nan])
        figures = steps.train(steps.to_device(PATCHES, LABELS)).numpy()
        assert (figures[BAD_GRADIENTS] > 0) == bad


def on_two_devices(settings, connection):
    """In a process of its own: devices can be cut only before TensorFlow uses them."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    steps = make(Devices(strategy, 0, 1, 2, ""), **settings)
    steps.warm_up(PATCHES.shape, PATCHES.dtype)
    connection.send(pickle.dumps((run(steps), steps.kept(), counted(steps))))


@pytest.mark.parametrize("settings", [{}, {"augment": True, "averaging": 0.9}])
def test_two_devices_compute_what_one_does(settings):
    one = make(**settings)
    figures = run(one)
    counts, stops = counted(one)
    assert counts.sum() == np.count_nonzero(LABELS < INVALID) and stops == 1
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=on_two_devices, args=(settings, send))
    process.start()
    send.close()
    other_figures, other_weights, (other_counts, other_stops) = pickle.loads(receive.recv())
    process.join()
    np.testing.assert_allclose(other_figures, figures, rtol=1e-4)
    for a, b in zip(one.kept(), other_weights, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)
    # Weights that differ by rounding move single pixels to the next bin.
    assert other_counts.sum() == counts.sum() and other_stops == 2
    assert np.abs(np.cumsum(other_counts) - np.cumsum(counts)).max() < 0.01 * counts.sum()


def test_xla_computes_the_same():
    from tensorflow.python.framework import config as framework_config

    # Another test of this process may have asked for determinism, which XLA's pooling lacks.
    framework_config.disable_op_determinism()
    plain, compiled = make(augment=True), make(augment=True, xla=True)
    np.testing.assert_allclose(run(compiled), run(plain), rtol=1e-3)
    for a, b in zip(weights(plain), weights(compiled), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)


def test_turning_moves_patch_and_label_alike():
    """Each comes back in one of its eight orientations, others in the next step."""
    import tensorflow as tf

    steps = make(augment=True)
    # The label is the sign of a channel, so that a wrong pairing shows.
    labels = (PATCHES[..., 0] > 0).astype(np.uint8)
    context = tf.distribute.get_replica_context()
    orientations = []
    for _ in range(6):
        patches, turned = (a.numpy() for a in steps._turned(PATCHES, tf.constant(labels), context))
        np.testing.assert_array_equal(patches[..., 0] > 0, turned > 0)
        for before, after in zip(PATCHES, patches, strict=True):
            eight = [np.rot90(side, k) for side in (before, before[::-1]) for k in range(4)]
            orientations.append([np.array_equal(after, e) for e in eight].index(True))
        steps.optimizer.iterations.assign_add(1)
    assert len(set(orientations)) >= 5
    repeated = make(augment=True)._turned(PATCHES, tf.constant(labels), context)[0]
    other = make(augment=True, seed=4)._turned(PATCHES, tf.constant(labels), context)[0]
    np.testing.assert_array_equal(
        repeated, make(augment=True)._turned(PATCHES, tf.constant(labels), context)[0]
    )
    assert not np.array_equal(repeated, other)


def test_averaged_weights_are_judged_and_kept():
    steps = make(averaging=0.5)
    begin = weights(steps)
    mean = begin
    for _ in range(5):
        run(steps, 1)
        step = int(steps.optimizer.iterations.numpy())
        decay = min(0.5, (1 + step) / (10 + step))
        mean = [m * decay + w * (1 - decay) for m, w in zip(mean, weights(steps), strict=True)]
    raw = weights(steps)
    for a, b in zip(steps.kept(), mean, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    with steps.judged():
        np.testing.assert_array_equal(weights(steps)[0], steps.kept()[0])
        assert not np.array_equal(weights(steps)[0], raw[0])
    np.testing.assert_array_equal(weights(steps)[0], raw[0])


def test_the_loss_is_tensorflows_weighted_cross_entropy():
    import tensorflow as tf

    for weight in (1.0, 3.0):
        steps = make(loss={"positive_weight": weight})
        batch = steps.to_device(PATCHES, LABELS)
        probability = steps.model(tf.cast(PATCHES, tf.float32), training=False).numpy()[..., 0]
        logits = np.log(probability.astype(np.float64)) - np.log1p(-probability.astype(np.float64))
        valid = LABELS < INVALID
        pixels = tf.nn.weighted_cross_entropy_with_logits(
            LABELS[valid].astype(np.float64), logits[valid], weight
        )
        loss = steps.validate(batch).numpy()[LOSS]
        np.testing.assert_allclose(loss, float(tf.reduce_sum(pixels)), rtol=1e-5)


def test_a_positive_weight_finds_more_cloud():
    def cloud(weight):
        steps = make(learning_rate=0.01, loss={"positive_weight": weight})
        run(steps, 5)
        return float(np.mean(steps.model(PATCHES.astype(np.float32), training=True)))

    assert cloud(8.0) > cloud(1.0) > cloud(0.125)


def test_the_learning_rate_can_be_set_between_epochs():
    steps, other = make(learning_rate=0.01), make(learning_rate=0.001)
    steps.set_learning_rate(0.001)
    run(steps)
    run(other)
    for a, b in zip(weights(steps), weights(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_beta_2_reaches_adam():
    steps, same, other = make(), make(beta_2=0.999), make(beta_2=0.9)
    for each in (steps, same, other):
        run(each)
    np.testing.assert_array_equal(weights(steps)[0], weights(same)[0])
    assert not np.allclose(weights(steps)[0], weights(other)[0], atol=1e-6)


def test_the_published_network_has_the_trained_weights():
    steps = make(deterministic=False)
    run(steps)
    published = steps.published()
    assert [layer.name for layer in published.layers][:1] and published.count_params() == unet(
        filters=2
    ).count_params()
    np.testing.assert_array_equal(published.get_weights()[0], weights(steps)[0])
