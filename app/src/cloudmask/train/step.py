"""The step: forward, loss, backward, update, on one or many replicas, on Keras 2 and Keras 3.

Keras 3's `fit` fails under the multi-worker strategy; a `tf.function` with `strategy.run` works on
every version. Loss and metrics are sums over valid pixels, divided by the count of the global
batch: the result does not depend on how the batch is spread over replicas.
"""

from typing import Any

import numpy as np

from cloudmask.model import unet
from cloudmask.store import CLOUD, INVALID
from cloudmask.train.devices import POLICIES, Devices

EPSILON = 1e-7  # keeps the logarithm of a probability finite, as Keras does

# Dynamic loss scaling for float16, with the customary constants: start high, halve on overflow,
# double after 2000 good steps.
INITIAL_SCALE = 2.0**15
GROWTH_STEPS = 2000


class Steps:
    """Model, optimizer and the compiled training and validation step."""

    def __init__(
        self,
        devices: Devices,
        filters: int,
        learning_rate: float,
        precision: str,
        deterministic: bool = False,
    ):
        import keras
        import tensorflow as tf

        self._devices = devices
        with devices.strategy.scope():
            self._size = {"filters": filters, "precision": POLICIES[precision]}
            self.model = unet(**self._size, deterministic=deterministic)
            self.optimizer = keras.optimizers.Adam(learning_rate)
            self.optimizer.build(self.model.trainable_variables)
            # All replicas compute the same new loss scale: the first one's will do.
            first = tf.VariableAggregation.ONLY_FIRST_REPLICA
            self._scaling = [
                tf.Variable(value, trainable=False, aggregation=first)
                for value in ((INITIAL_SCALE, 0.0) if precision == "float16" else ())
            ]
        self._train = tf.function(self._train_all)
        self._validate = tf.function(self._validate_all)

    def published(self) -> Any:
        """The network as published, with the weights of now: what a run leaves behind."""
        model = unet(**self._size)
        model.set_weights(self.model.get_weights())
        return model

    @property
    def variables(self) -> list:
        """Everything that a checkpoint must hold: weights, optimizer, loss scale."""
        return [*self.model.variables, *self.optimizer.variables, *self._scaling]

    def train(self, patches: np.ndarray, labels: np.ndarray, stop: bool = False) -> Any:
        """One update; returns a float64 tensor, the same for all workers.

        It holds the sum of losses, the correct pixels, the valid pixels, and on how many replicas
        `stop` was set.
        """
        return self._train(*self._distribute(patches, labels, stop))

    def validate(self, patches: np.ndarray, labels: np.ndarray, stop: bool = False) -> Any:
        """The same figures without an update."""
        return self._validate(*self._distribute(patches, labels, stop))

    def trace(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Trace both steps for patches of this shape and type, so that no epoch's time holds it."""
        values = self._distribute(np.zeros(shape, dtype), np.zeros(shape[:-1], np.uint8), False)
        self._train.get_concrete_function(*values)
        self._validate.get_concrete_function(*values)

    def _distribute(self, patches: np.ndarray, labels: np.ndarray, stop: bool) -> list:
        """Hand each local replica its part of this worker's share."""
        import tensorflow as tf

        count = self._devices.local_replicas
        asked = tf.constant(float(stop), tf.float64)
        if self._devices.replicas == 1:
            return [tf.convert_to_tensor(patches), tf.convert_to_tensor(labels), asked]
        part = len(patches) // count

        def pick(array):
            def of(context):
                index = context.replica_id_in_sync_group % count
                return tf.convert_to_tensor(array[index * part : (index + 1) * part])

            return self._devices.strategy.experimental_distribute_values_from_function(of)

        return [pick(patches), pick(labels), asked]

    def _train_all(self, patches, labels, stop):
        strategy = self._devices.strategy
        figures = strategy.run(self._train_replica, args=(patches, labels, stop))
        return strategy.reduce("SUM", figures, axis=None)

    def _validate_all(self, patches, labels, stop):
        strategy = self._devices.strategy
        figures = strategy.run(self._validate_replica, args=(patches, labels, stop))
        return strategy.reduce("SUM", figures, axis=None)

    def _train_replica(self, patches, labels, stop):
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            loss, figures = self._forward(patches, labels, stop, training=True)
            count = context.all_reduce(tf.distribute.ReduceOp.SUM, figures[2])
            loss /= tf.cast(tf.maximum(count, 1), loss.dtype)
            if self._scaling:
                loss *= self._scaling[0]
        gradients = tape.gradient(loss, variables)
        if self._scaling:
            gradients = self._unscale(gradients, context)
        # The optimizer itself sums the gradients over the replicas, in Keras 2 and 3.
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return figures

    def _validate_replica(self, patches, labels, stop):
        return self._forward(patches, labels, stop, training=False)[1]

    def _forward(self, patches, labels, stop, training: bool):
        import tensorflow as tf

        patches = tf.cast(patches, tf.float32)
        labels = labels[..., tf.newaxis]
        cloud = tf.bitwise.bitwise_and(labels, np.uint8(CLOUD)) > 0
        valid = labels < INVALID
        probability = self.model(patches, training=training)
        clipped = tf.clip_by_value(probability, EPSILON, 1 - EPSILON)
        pixel = -tf.math.log(tf.where(cloud, clipped, 1 - clipped))
        loss = tf.reduce_sum(tf.where(valid, pixel, 0.0))
        right = ((probability > 0.5) == cloud) & valid
        figures = [loss, tf.math.count_nonzero(right), tf.math.count_nonzero(valid), stop]
        return loss, tf.stack([tf.cast(figure, tf.float64) for figure in figures])

    def _unscale(self, gradients, context):
        """Divide by the loss scale; an overflow anywhere makes all gradients zero for this step."""
        import tensorflow as tf

        scale, good = self._scaling
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(g)) for g in gradients])
        bad = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(~finite, tf.float32))
        overflow = bad > 0
        unscaled = [tf.where(overflow, tf.zeros_like(g), g / scale) for g in gradients]
        steps = tf.where(overflow, 0.0, good + 1)
        grown = steps >= GROWTH_STEPS
        scale.assign(
            tf.where(overflow, tf.maximum(scale / 2, 1.0), tf.where(grown, scale * 2, scale))
        )
        good.assign(tf.where(grown, 0.0, steps))
        return unscaled
