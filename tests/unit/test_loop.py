"""What a checkpoint must hold for a training to continue from it."""

from dataclasses import asdict

import pytest

from cloudmask.record.history import Epoch
from cloudmask.train.loop import TrainingState

STATE = TrainingState(epoch=1, history=[Epoch(1, 0.5, 0.75, 0.4, 0.8, 10.0)])


def test_a_state_comes_back():
    assert TrainingState.restore(asdict(STATE)) == STATE


def test_an_older_version_counted_less():
    assert TrainingState.restore(asdict(STATE) | {"sums": [0.0] * 3}) == STATE


@pytest.mark.parametrize("key", asdict(STATE))
def test_each_key_is_required(key):
    saved = asdict(STATE)
    del saved[key]
    with pytest.raises(ValueError, match=f"lacks {key}"):
        TrainingState.restore(saved)


@pytest.mark.parametrize("key", asdict(STATE))
@pytest.mark.parametrize("value", [None, "x", {}, [None]])
def test_each_value_has_its_type(key, value):
    with pytest.raises(ValueError):
        TrainingState.restore(asdict(STATE) | {key: value})


def test_its_figures_are_those_of_its_epochs():
    with pytest.raises(ValueError, match="figures of 1"):
        TrainingState.restore(asdict(STATE) | {"epoch": 2})
