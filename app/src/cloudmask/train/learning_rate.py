"""The learning rate over a run: what Keras' schedules compute, a warm-up before them, a plateau.

The schedules are those of the MLPerf HPC rules (warm-up, cosine annealing, multi-step), of the
MLPerf training rules (polynomial) and of the Science policy, which advises to start with a larger
rate and to lower it as returns fall off (plateau).
"""

import math
from collections.abc import Sequence
from typing import Any

from cloudmask.config.settings import Config, Training
from cloudmask.record.history import Epoch


def learning_rate(settings: Training, steps_per_epoch: int) -> Any:
    """What Keras' optimizers take: a number, or a schedule by the steps of the optimizer.

    With `plateau` it is the number that a run begins with; see `plateau_rate`.
    """
    import keras

    schedules = keras.optimizers.schedules
    first, last = settings.learning_rate, settings.end_learning_rate
    warm_up = round(settings.warmup_epochs * steps_per_epoch)
    falling = max(settings.epochs * steps_per_epoch - warm_up, 1)
    if settings.schedule in ("constant", "plateau"):
        return first
    if settings.schedule == "cosine":
        if not warm_up:
            return schedules.CosineDecay(first, falling, alpha=last / first)
        return schedules.CosineDecay(
            0.0, falling, alpha=last / first, warmup_target=first, warmup_steps=warm_up
        )
    if settings.schedule == "polynomial":
        later = schedules.PolynomialDecay(first, falling, last, settings.decay_power)
    elif settings.schedule == "exponential":
        later = schedules.ExponentialDecay(first, falling, last / first)
    else:
        # Keras counts a boundary to the steps before it: from that step on the rate is the next.
        ends = [epoch * steps_per_epoch - warm_up - 1 for epoch in settings.decay_epochs]
        rates = [first * settings.decay_factor**count for count in range(len(ends) + 1)]
        later = schedules.PiecewiseConstantDecay(ends, rates)
    return _after_warm_up(later, first, warm_up) if warm_up else later


def _after_warm_up(later: Any, target: float, steps: int) -> Any:
    """A schedule that rises evenly from 0 to `target` in so many steps, then follows `later`."""
    import keras
    import tensorflow as tf

    class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            count = tf.cast(step, tf.float32)
            rate = tf.cast(later(tf.maximum(count - steps, 0.0)), tf.float32)
            return tf.where(count < steps, target * count / steps, rate)

        def get_config(self):
            return {"target": target, "steps": steps}

    return WarmUp()


def plateau_rate(config: Config, history: Sequence[Epoch]) -> float:
    """The learning rate of the next epoch by `plateau`, from the figures of all epochs before it.

    As Keras' ReduceLROnPlateau: after `decay_patience` epochs in which the monitored figure has not
    improved by more than `early_stopping.min_delta`, the rate is multiplied by `decay_factor` and
    the count begins again. Nothing but the history decides, so a resumed run goes on alike.
    """
    settings, watched = config.training, config.early_stopping
    sign = -1 if watched.monitor.endswith("accuracy") else 1
    rate, best, waited = settings.learning_rate, math.inf, 0
    for epoch in history:
        value = sign * getattr(epoch, watched.monitor)
        if value < best - watched.min_delta:
            best, waited = value, 0
            continue
        waited += 1
        if waited >= settings.decay_patience:
            rate, waited = max(rate * settings.decay_factor, settings.end_learning_rate), 0
    return rate


def log_facts(settings: Training, steps_per_epoch: int) -> dict[str, Any]:
    """What the MLPerf log states about it, by the keys of `mllog.constants` without `opt_`."""
    facts: dict[str, Any] = {
        "base_learning_rate": settings.learning_rate,
        "learning_rate_warmup_epochs": settings.warmup_epochs,
        "learning_rate_decay_schedule": settings.schedule,
    }
    if settings.schedule in ("cosine", "polynomial", "exponential"):
        warm_up = round(settings.warmup_epochs * steps_per_epoch)
        facts["end_learning_rate"] = settings.end_learning_rate
        facts["learning_rate_decay_steps"] = settings.epochs * steps_per_epoch - warm_up
    if settings.schedule == "polynomial":
        facts["learning_rate_decay_poly_power"] = settings.decay_power
    if settings.schedule == "step":
        facts["learning_rate_decay_boundary_epochs"] = list(settings.decay_epochs)
    if settings.schedule in ("step", "plateau"):
        facts["learning_rate_decay_factor"] = settings.decay_factor
    if settings.schedule == "plateau":
        facts["end_learning_rate"] = settings.end_learning_rate
        facts["learning_rate_decay_patience"] = settings.decay_patience
    return facts
