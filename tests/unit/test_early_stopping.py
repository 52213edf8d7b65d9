"""Early stopping: patience, improvement, and a state that can be saved."""

import math

from cloudmask.config.settings import EarlyStoppingSettings
from cloudmask.record.history import Epoch
from cloudmask.train.early_stopping import EarlyStopping


def epoch_of(number, value):
    """An epoch of which every figure has this value."""
    return Epoch(number, value, value, value, value, seconds=1.0)


def follow(values, **settings):
    """Epoch after which training ends, and the best epoch."""
    early_stopping = EarlyStopping(EarlyStoppingSettings(**settings))
    for epoch, value in enumerate(values, start=1):
        early_stopping.update(epoch_of(epoch, value))
        if early_stopping.stop_after(epoch):
            return epoch, early_stopping.best_epoch
    return None, early_stopping.best_epoch


def test_stops_after_patience_without_improvement():
    assert follow([3, 2, 1, 1, 1, 1], patience=2) == (5, 3)
    assert follow([3, 2, 1, 1, 0.5, 1, 1], patience=2) == (7, 5)
    assert follow([1, 2, 3, 4], patience=9) == (None, 1)
    assert follow([1, 2, 3, 4], patience=1, enabled=False) == (None, 1)


def test_small_changes_do_not_count():
    assert follow([1, 0.95, 0.91, 0.89], patience=3, min_delta=0.1) == (None, 4)
    assert follow([1, 0.95, 0.91, 0.901], patience=3, min_delta=0.1) == (4, 1)


def test_accuracy_is_better_when_larger():
    assert follow([0.7, 0.8, 0.8, 0.75], patience=2, monitor="val_accuracy") == (4, 2)


def test_nan_is_never_best():
    assert follow([math.nan, 2, math.nan, math.nan], patience=2) == (4, 2)
    assert follow([math.nan, math.nan], patience=2) == (2, 0)


def test_a_restored_state_goes_on():
    values = [5, 4, 4.5, 3, 3.5, 3.6, 3.7]
    one = EarlyStopping(EarlyStoppingSettings(patience=3))
    for epoch, value in enumerate(values[:4], 1):
        one.update(epoch_of(epoch, value))
    two = EarlyStopping(EarlyStoppingSettings(patience=3))
    two.restore(one.state())
    for epoch, value in enumerate(values[4:], 5):
        two.update(epoch_of(epoch, value))
    assert (two.best_epoch, two.stop_after(7)) == (4, True)
