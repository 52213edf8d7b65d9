"""Numbers that are infinite or none at all: counted on the device, and the end of a training."""

from collections.abc import Mapping, Sequence
from typing import Any

from cloudmask.errors import Fault, InputError


def count_bad(tensors: Sequence) -> Any:
    """How many numbers of these tensors are infinite or no numbers, int64."""
    import tensorflow as tf

    def count():
        return tf.add_n([tf.math.count_nonzero(~tf.math.is_finite(x)) for x in tensors])

    # Counting takes several passes, the difference of each number to itself one: it is 0, or no
    # number for what is not finite.
    total = tf.add_n([tf.reduce_sum(tf.cast(x - x, tf.float32)) for x in tensors])
    return tf.cond(tf.equal(total, 0), lambda: tf.constant(0, tf.int64), count)


def convolutions(model: Any) -> Any:
    """A model that shares the layers of `model` and returns what each convolution does."""
    import keras

    found = [layer.output for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    return keras.Model(model.inputs, found)


def require_none(bad: Mapping[str, int], epoch: int) -> None:
    """Raise InputError or Fault if any numbers, counted by what they are, are bad."""
    if inputs := bad.get("inputs", 0):
        raise InputError(
            f"epoch {epoch}: NaN or infinite values: {inputs} in the patches; check the store "
            "with cloudmask-prepare --verify. The previous checkpoint is kept"
        )
    if found := ", ".join(f"{count} {what}" for what, count in bad.items() if count):
        raise Fault(
            f"epoch {epoch}: NaN or infinite values: {found}; try a smaller "
            "training.learning_rate, or training.precision float32. The previous checkpoint is "
            "kept"
        )


def require_pixels(valid: float, part: str, epoch: int) -> None:
    """Raise Fault unless an epoch saw a pixel to judge by: the loss over none would be 0."""
    if not valid:
        raise Fault(
            f"epoch {epoch}: not one valid pixel in the {part} patches, so that their loss is not "
            "defined; check the store with cloudmask-prepare --verify"
        )
