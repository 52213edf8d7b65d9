"""The step: forward, loss, backward, update, on one or many replicas, on Keras 2 and Keras 3.

Keras 3's `fit` fails under the multi-worker strategy; a `tf.function` with `strategy.run` works on
every version. Loss and metrics are sums over valid pixels, divided by the count of the global
batch: the result does not depend on how the batch is spread over replicas.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cloudmask.config.settings import Config, Training
from cloudmask.hardware.devices import POLICIES, Devices
from cloudmask.model import unet
from cloudmask.patches.store import CLOUD, INVALID
from cloudmask.train.finite import convolutions, count_bad
from cloudmask.train.learning_rate import learning_rate
from cloudmask.train.logits import count

EPSILON = 1e-7  # keeps the logarithm of a probability finite, as Keras does

ALIGNMENT = 64  # bytes, that TensorFlow's kernels rely on

# Dynamic loss scaling for float16, with the customary constants: start high, halve on overflow,
# double after 2000 good steps.
INITIAL_SCALE = 2.0**15
GROWTH_STEPS = 2000

# What a step returns, each summed over the global batch. STOPS: on how many replicas a stop was
# requested. The others count numbers that are infinite or none at all, which ReLU and the clipping
# of probabilities would hide from the loss.
LOSS, CORRECT, VALID, STOPS, BAD_INPUTS, BAD_OUTPUTS, BAD_GRADIENTS = range(7)
FIGURES = 7


class TrainStep:
    """Model, optimizer and the compiled training and validation step of a configuration.

    `steps_per_epoch` is for the schedule of the learning rate.
    """

    def __init__(self, devices: Devices, config: Config, precision: str, steps_per_epoch: int):
        import tensorflow as tf

        settings = config.training
        self._devices = devices
        self._seed = config.seed_number if settings.augment else None
        self._filters = config.model.filters
        self._policy = POLICIES[precision]
        self._decay = settings.averaging
        self._positive_weight = config.loss.positive_weight
        with devices.strategy.scope():
            # XLA has no gradient of Keras 2's up-sampling, and on a GPU it is not deterministic.
            plain = settings.deterministic or settings.xla
            self.model = unet(filters=self._filters, precision=self._policy, deterministic=plain)
            self._convolutions = convolutions(self.model)
            self.optimizer = _optimizer(settings, steps_per_epoch)
            self.optimizer.build(self.model.trainable_variables)
            scaling = (INITIAL_SCALE, 0.0) if precision == "float16" else ()
            self._scaling = [_variable(value) for value in scaling]
            averaged = self.model.trainable_variables if self._decay else ()
            self._averages = [_variable(tf.convert_to_tensor(value)) for value in averaged]
        self._gradients = self._differentiate
        if settings.xla:
            self._gradients = tf.function(self._differentiate, jit_compile=True)
        self._train = tf.function(self._train_all)
        self._validate = tf.function(self._validate_all)
        self._probe = tf.function(self._probe_all)
        self._count = tf.function(self._count_all)
        self._stop = [tf.constant(flag, tf.float64) for flag in (0.0, 1.0)]

    def published(self) -> Any:
        """The network as published, with the present weights: what a run leaves behind."""
        model = unet(filters=self._filters, precision=self._policy)
        model.set_weights(self.model.get_weights())
        return model

    @property
    def variables(self) -> list:
        """Everything that a checkpoint must hold: weights, optimizer, loss scale, averages."""
        return [*self.model.variables, *self.optimizer.variables, *self._scaling, *self._averages]

    def kept(self) -> list[np.ndarray]:
        """The weights that validation judges and a run keeps: the averages, if there are any."""
        return [variable.numpy() for variable in self._averages or self.model.variables]

    @contextlib.contextmanager
    def judged(self) -> Iterator[None]:
        """Within, the model has the weights that are kept."""
        if not self._averages:
            yield
            return
        raw = [variable.numpy() for variable in self.model.variables]
        self.set_weights(self.kept())
        yield
        self.set_weights(raw)

    def restore(self, values: Sequence[np.ndarray]) -> None:
        """Give all `variables` these values."""
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        """Give the model these weights."""
        for variable, value in zip(self.model.variables, weights, strict=True):
            variable.assign(value)

    def set_learning_rate(self, rate: float) -> None:
        """Train with this rate from now on; only where no schedule of the steps decides it."""
        self.optimizer.learning_rate.assign(rate)

    def train(self, batch: Sequence, stop: bool = False) -> Any:
        """One update with a batch of `to_device`; returns float64 FIGURES, equal for all workers.

        `stop`: whether this worker has been requested to stop.
        """
        return self._train(*batch, self._stop[stop])

    def validate(self, batch: Sequence, stop: bool = False) -> Any:
        """The same figures without an update."""
        return self._validate(*batch, self._stop[stop])

    def count_logits(self, batch: Sequence, stop: bool = False) -> Any:
        """Counts of `logits.count` for a batch of `to_device`, then how many requested to stop.

        float64 (2 * BINS + 1,), equal for all workers.
        """
        return self._count(*batch, self._stop[stop])

    def not_finite(self, batch: Sequence) -> dict[str, int]:
        """How many of the weights, and of the activations for a batch, are not finite numbers.

        The activations are those before each ReLU, which makes 0 of what is no number.
        """
        values = [variable.numpy() for variable in self.variables]
        floating = [value for value in values if np.issubdtype(value.dtype, np.floating)]
        weights = sum(np.count_nonzero(~np.isfinite(value)) for value in floating)
        return {"weights": int(weights), "activations": int(self._probe(batch[0]))}

    def warm_up(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Trace, compile and run both steps, so that no epoch's time holds it.

        Twice: the second run is still slower than the later ones. The batch has no valid pixel;
        what the steps do to the variables is undone.
        """
        before = [variable.numpy() for variable in self.variables]
        batch = self.to_device(np.zeros(shape, dtype), np.full(shape[:-1], INVALID, np.uint8))
        for _ in range(2):
            for figures in (self.train(batch), self.validate(batch)):
                figures.numpy()
        self.not_finite(batch)
        self.restore(before)

    def to_device(self, patches: np.ndarray, labels: np.ndarray) -> list:
        """Bring this worker's shard of a batch to its devices, each replica its part.

        The tensors use the arrays' memory.
        """
        if self._devices.replicas == 1:
            return [self._on_gpu(_tensor(patches), 0), self._on_gpu(_tensor(labels), 0)]
        count = self._devices.local_replicas
        part = len(patches) // count

        def pick(array):
            def of(context):
                index = context.replica_id_in_sync_group % count
                return self._on_gpu(_tensor(array[index * part : (index + 1) * part]), index)

            return self._devices.strategy.experimental_distribute_values_from_function(of)

        return [pick(patches), pick(labels)]

    def _on_gpu(self, tensor, index: int):
        """Begin the copy to this worker's GPU now, while it still computes the step before."""
        import tensorflow as tf

        if not self._devices.gpu:
            return tensor
        with tf.device(self._devices.strategy.extended.worker_devices[index]):
            return tf.identity(tensor)

    def _train_all(self, patches, labels, stop):
        strategy = self._devices.strategy
        figures = strategy.run(self._train_replica, args=(patches, labels, stop))
        return strategy.reduce("SUM", figures, axis=None)

    def _validate_all(self, patches, labels, stop):
        strategy = self._devices.strategy
        figures = strategy.run(self._validate_replica, args=(patches, labels, stop))
        return strategy.reduce("SUM", figures, axis=None)

    def _count_all(self, patches, labels, stop):
        strategy = self._devices.strategy
        found = strategy.run(self._count_replica, args=(patches, labels, stop))
        return strategy.reduce("SUM", found, axis=None)

    def _probe_all(self, patches):
        strategy = self._devices.strategy
        return strategy.reduce("SUM", strategy.run(self._probe_replica, args=(patches,)), axis=None)

    def _probe_replica(self, patches):
        import tensorflow as tf

        return count_bad(self._convolutions(tf.cast(patches, tf.float32), training=False))

    def _train_replica(self, patches, labels, stop):
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        variables = self.model.trainable_variables
        if self._seed is not None:
            patches, labels = self._turned(patches, labels, context)
        valid = tf.math.count_nonzero(labels < INVALID)
        count = context.all_reduce(tf.distribute.ReduceOp.SUM, valid)
        scale = 1 / tf.cast(tf.maximum(count, 1), tf.float32)
        if self._scaling:
            scale *= self._scaling[0]
        gradients, figures = self._gradients(patches, labels, scale)
        if self._scaling:
            gradients, bad = self._unscale(gradients, context)
        else:
            bad = count_bad(gradients)
        # The optimizer itself sums the gradients over the replicas, in Keras 2 and 3.
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        if self._averages:
            self._average()
        return _figures(figures, stop, bad)

    def _validate_replica(self, patches, labels, stop):
        return _figures(self._forward(patches, labels, training=False)[1], stop, 0)

    def _count_replica(self, patches, labels, stop):
        import tensorflow as tf

        probability = self.model(tf.cast(patches, tf.float32), training=False)
        return tf.concat([tf.cast(count(probability, labels), tf.float64), [stop]], 0)

    def _differentiate(self, patches, labels, scale):
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss, figures = self._forward(patches, labels, training=True)
            loss *= scale
        return tape.gradient(loss, self.model.trainable_variables), figures

    def _forward(self, patches, labels, training: bool):
        """Sum of the loss, and that sum with CORRECT, VALID, BAD_INPUTS and BAD_OUTPUTS."""
        import tensorflow as tf

        patches = tf.cast(patches, tf.float32)
        labels = labels[..., tf.newaxis]
        cloud = tf.bitwise.bitwise_and(labels, np.uint8(CLOUD)) > 0
        valid = labels < INVALID
        probability = self.model(patches, training=training)
        clipped = tf.clip_by_value(probability, EPSILON, 1 - EPSILON)
        pixel = -tf.math.log(tf.where(cloud, clipped, 1 - clipped))
        if self._positive_weight != 1:
            pixel = tf.where(cloud, pixel * self._positive_weight, pixel)
        loss = tf.reduce_sum(tf.where(valid, pixel, 0.0))
        right = ((probability > 0.5) == cloud) & valid
        counts = [tf.math.count_nonzero(right), tf.math.count_nonzero(valid)]
        return loss, [loss, *counts, count_bad([patches]), count_bad([probability])]

    def _turned(self, patches, labels, context):
        """Each patch in one of its eight orientations, drawn by seed, step and index in the batch.

        Hence it does not depend on how the batch is spread, and a resumed run draws the same.
        """
        import tensorflow as tf

        shard = tf.shape(patches)[0]
        step = tf.cast(tf.convert_to_tensor(self.optimizer.iterations), tf.int32)
        drawn = tf.random.stateless_uniform(
            (shard * self._devices.replicas,), (self._seed, step), 0, 8, tf.int32
        )
        mine = drawn[context.replica_id_in_sync_group * shard :][:shard]

        def turn(a):
            for bit, change in enumerate(
                (
                    lambda x: tf.reverse(x, [1]),
                    lambda x: tf.reverse(x, [2]),
                    lambda x: tf.transpose(x, (0, 2, 1, 3)),
                )
            ):
                chosen = tf.bitwise.bitwise_and(mine, 1 << bit) > 0
                a = tf.where(chosen[:, None, None, None], change(a), a)
            return a

        # The labels turn as numbers of the patches' type: for integers TensorFlow works, but prints
        # an error.
        as_numbers = tf.cast(labels[..., tf.newaxis], patches.dtype)
        return turn(patches), tf.cast(turn(as_numbers)[..., 0], labels.dtype)

    def _average(self):
        """Move the averages towards the weights; faster at the beginning, to forget the start."""
        import tensorflow as tf

        step = tf.cast(tf.convert_to_tensor(self.optimizer.iterations), tf.float32)
        decay = tf.minimum(self._decay, (1 + step) / (10 + step))
        for average, weight in zip(self._averages, self.model.trainable_variables, strict=True):
            average.assign(average * decay + tf.convert_to_tensor(weight) * (1 - decay))

    def _unscale(self, gradients, context):
        """Divide by the loss scale; an overflow anywhere makes all gradients zero for this step.

        Returns also how many are not finite although the scale cannot fall any further.
        """
        import tensorflow as tf

        scale, good = self._scaling
        count = count_bad(gradients)
        overflow = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(count, tf.float32)) > 0
        bad = tf.where(scale > 1.0, tf.zeros_like(count), count)
        unscaled = [tf.where(overflow, tf.zeros_like(g), g / scale) for g in gradients]
        steps = tf.where(overflow, 0.0, good + 1)
        grown = steps >= GROWTH_STEPS
        scale.assign(
            tf.where(overflow, tf.maximum(scale / 2, 1.0), tf.where(grown, scale * 2, scale))
        )
        good.assign(tf.where(grown, 0.0, steps))
        return unscaled, bad


def _figures(forward: Sequence, stop: Any, bad_gradients: Any) -> Any:
    """The figures of a step in their order, float64."""
    import tensorflow as tf

    loss, correct, valid, bad_inputs, bad_outputs = forward
    ordered = [loss, correct, valid, stop, bad_inputs, bad_outputs, bad_gradients]
    return tf.stack([tf.cast(figure, tf.float64) for figure in ordered])


def _tensor(array: np.ndarray) -> Any:
    import tensorflow as tf

    if array.ctypes.data % ALIGNMENT:
        return tf.convert_to_tensor(array)
    # TensorFlow's own conversion copies.
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def _variable(value: Any) -> Any:
    """A variable that no gradient changes; all replicas compute the same new values of it."""
    import tensorflow as tf

    first = tf.VariableAggregation.ONLY_FIRST_REPLICA
    return tf.Variable(value, trainable=False, aggregation=first)


def _optimizer(settings: Training, steps_per_epoch: int) -> Any:
    import keras

    rate = learning_rate(settings, steps_per_epoch)
    return keras.optimizers.Adam(rate, beta_2=settings.beta_2)
