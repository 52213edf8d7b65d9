"""How the network's logits are spread over cloud and clear pixels, counted on the device."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from cloudmask.evaluate.scaling import CLOSEST, LOGIT_LIMIT
from cloudmask.patches.store import CLOUD, INVALID

# Of logits between -LOGIT_LIMIT and LOGIT_LIMIT; a bin is 0.008 wide, which moves a probability by
# 0.002 at most. An even number, so that 0.5 is an edge.
BINS = 4000
EDGES = np.linspace(-LOGIT_LIMIT, LOGIT_LIMIT, BINS + 1)


@dataclass(frozen=True)
class LogitCounts:
    """Clear and cloud pixels, (BINS,) int64 each, by their logits.

    A bin holds its upper edge, so that the bins from k on are the pixels above the edge k.
    """

    clear: np.ndarray
    cloud: np.ndarray

    @property
    def pixels(self) -> int:
        """All of them."""
        return int(self.clear.sum() + self.cloud.sum())


def count(probability: Any, labels: Any) -> Any:
    """Counts of a tensor (n, H, W, 1) with labels (n, H, W) uint8: (2 * BINS,), clear, then cloud.

    Pixels that are not valid are left out.
    """
    import tensorflow as tf

    labels = labels[..., tf.newaxis]
    known = tf.clip_by_value(probability, CLOSEST, 1 - CLOSEST)
    logit = tf.math.log(known) - tf.math.log1p(-known)
    position = logit * (BINS / 2 / LOGIT_LIMIT) + BINS / 2
    index = tf.cast(tf.clip_by_value(tf.math.ceil(position) - 1, 0, BINS - 1), tf.int32)
    cloud = tf.bitwise.bitwise_and(labels, np.uint8(CLOUD)) > 0
    index = tf.where(cloud, index + BINS, index)
    left_out = 2 * BINS
    index = tf.where(labels < INVALID, index, left_out)
    # On a GPU counting into bins is not deterministic, and TensorFlow refuses to.
    with tf.device("CPU:0"):
        counts = tf.math.bincount(tf.reshape(index, [-1]), minlength=left_out + 1)
    return counts[:left_out]
