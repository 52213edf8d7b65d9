"""Temperature, calibration error and thresholds from histograms of logits."""

import json
import logging
import os
import signal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudmask.errors import Interrupted
from cloudmask.evaluate.metrics import ConfusionCounts
from cloudmask.evaluate.scaling import LOGIT_LIMIT, scaled
from cloudmask.record.result import Calibration
from cloudmask.train.calibration import fit
from cloudmask.train.logits import BINS, LogitCounts


def sample(temperature, pixels=400_000, seed=0, spread=2.5, center=-0.7):
    """Logits of a network that is `temperature` times too sure of itself, and labels."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(center, spread, pixels)
    cloud = rng.random(pixels) < 1 / (1 + np.exp(-logits))
    return logits * temperature, cloud


def counted(logits, cloud):
    """Their counts, by another rule than the program's: a search in the edges."""
    edges = np.linspace(-LOGIT_LIMIT, LOGIT_LIMIT, BINS + 1)
    index = np.clip(np.searchsorted(edges, logits, side="left") - 1, 0, BINS - 1)
    return LogitCounts(*(np.bincount(index[cloud == c], minlength=BINS) for c in (False, True)))


def probability_of(logits):
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


@pytest.mark.parametrize("temperature", [0.5, 0.9, 1.0, 1.6, 3.0])
def test_a_known_temperature_is_found_to_2_percent(temperature):
    calibration, notes = fit(counted(*sample(temperature)))
    assert calibration.temperature == pytest.approx(temperature, rel=0.02)
    assert not notes
    assert calibration.pixels == 400_000


def test_the_likelihood_has_its_peak_at_the_temperature():
    logits, cloud = sample(1.6, 20_000)
    found = fit(counted(logits, cloud))[0].temperature

    def loss(temperature):
        return np.mean(np.logaddexp(0, np.where(cloud, -logits, logits) / temperature))

    assert loss(found) < min(loss(found * 1.01), loss(found / 1.01))


@pytest.mark.parametrize("temperature", [0.5, 2.5])
def test_the_calibration_error_is_that_of_the_metrics_and_falls(temperature):
    logits, cloud = sample(temperature)
    calibration, _ = fit(counted(logits, cloud))
    valid = np.ones(cloud.shape, bool)
    probability = probability_of(logits)
    after = scaled(probability, calibration.temperature)
    for found, values in (
        (calibration.calibration_error_before, probability),
        (calibration.calibration_error_after, after),
    ):
        expected = ConfusionCounts.of(values, cloud, valid).scores().calibration_error
        assert found == pytest.approx(expected, abs=5e-4)
    assert calibration.calibration_error_before > 0.03
    assert calibration.calibration_error_after < 0.005


def test_thresholds_keep_what_they_promise_to_one_bin():
    logits, cloud = sample(2.0)
    calibration, _ = fit(counted(logits, cloud))
    probability = scaled(probability_of(logits), calibration.temperature)
    step = 1.02  # of the odds, more than a bin

    def found(threshold):
        return np.mean(probability[cloud] > threshold)

    def lost(threshold):
        return np.mean(probability[~cloud] > threshold)

    def moved(threshold, by):
        odds = threshold / (1 - threshold) * by
        return odds / (1 + odds)

    assert calibration.threshold_favor_cloud < 0.5 < calibration.threshold_favor_clear
    assert found(calibration.threshold_favor_cloud) >= 0.98
    assert found(moved(calibration.threshold_favor_cloud, step)) < 0.98
    assert lost(calibration.threshold_favor_clear) <= 0.02
    assert lost(moved(calibration.threshold_favor_clear, 1 / step)) > 0.02


def test_thresholds_of_hand_made_pixels():
    """Of 100 cloud pixels two may be missed, of 100 clear ones two may be lost."""
    logits = np.r_[np.full(2, -3.0), np.full(3, -2.0), np.full(95, 3.0)]
    cloud = np.ones(100, bool)
    calibration, _ = fit(counted(np.r_[logits, -logits], np.r_[cloud, ~cloud]))
    edge = 1 / (1 + np.exp(2.0 / calibration.temperature))
    assert calibration.threshold_favor_cloud == pytest.approx(edge, abs=1e-3)
    assert calibration.threshold_favor_clear == pytest.approx(1 - edge, abs=1e-3)
    assert calibration.threshold_favor_cloud < edge < 1 - calibration.threshold_favor_clear + 2e-3


def test_a_good_network_needs_no_other_threshold():
    """A use never gets less of what it wants than the default threshold gives."""
    logits, cloud = np.r_[np.full(99, 4.0), -1.0, np.full(99, -4.0), 1.0], np.arange(200) < 100
    calibration, notes = fit(counted(logits, cloud))
    assert not notes
    assert (calibration.threshold_favor_cloud, calibration.threshold_favor_clear) == (0.5, 0.5)


NOTHING = np.zeros(0)
DEGENERATE = {
    "no valid pixel": (NOTHING, NOTHING > 0, "both cloud and clear"),
    "clear alone": (np.full(9, -1.0), np.zeros(9, bool), "both cloud and clear"),
    "cloud alone": (np.full(9, 2.0), np.ones(9, bool), "both cloud and clear"),
    "all right and certain": (np.r_[np.full(9, 40.0), -40.0], np.arange(10) < 9, "no temperature"),
    "all wrong and certain": (np.r_[np.full(9, -40.0), 40.0], np.arange(10) < 9, "no temperature"),
    "all 0.5": (np.zeros(10), np.arange(10) < 5, "no temperature"),
    "knows nothing": (np.tile([3.0, -3.0], 20), np.arange(40) < 20, "no temperature"),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_what_cannot_be_found_is_told_and_neutral(name):
    logits, cloud, words = DEGENERATE[name]
    calibration, notes = fit(counted(logits, cloud))
    assert calibration.temperature == 1
    assert words in notes[0]
    assert 0 < calibration.threshold_favor_cloud <= 0.5 <= calibration.threshold_favor_clear < 1
    assert (calibration.calibration_error_before is None) == (name == "no valid pixel")


def test_thresholds_out_of_reach_are_told():
    """Half of the cloud has probability 0, half of what is clear 1."""
    logits = np.r_[np.full(10, -40.0), np.full(10, 40.0), np.full(10, 40.0), np.full(10, -40.0)]
    calibration, notes = fit(counted(logits, np.arange(40) < 20))
    assert (calibration.threshold_favor_cloud, calibration.threshold_favor_clear) == (0.5, 0.5)
    assert [note.split(" at ")[0] for note in notes[1:]] == [
        "no threshold favors cloud",
        "no threshold favors clear",
    ]


@given(st.lists(st.tuples(st.floats(-50, 50), st.booleans()), max_size=30))
def test_any_pixels_have_a_calibration(pixels):
    logits = np.array([logit for logit, _ in pixels])
    calibration, _ = fit(counted(logits, np.array([cloud for _, cloud in pixels], bool)))
    assert 0.05 <= calibration.temperature <= 20
    assert 0 < calibration.threshold_favor_cloud <= 0.5 <= calibration.threshold_favor_clear < 1
    assert calibration.pixels == len(pixels)


@pytest.mark.slow
def test_the_device_counts_as_numpy_does():
    import tensorflow as tf

    from cloudmask.patches.store import INVALID
    from cloudmask.train.logits import count

    rng = np.random.default_rng(1)
    probability = rng.beta(0.1, 0.1, (3, 50, 60, 1)).astype(np.float32)
    probability[0, 0, :6, 0] = [0, 1, 0.5, 1e-30, 1 - 2**-24, 0.5001]
    labels = rng.choice([0, 1, INVALID, INVALID | 1], (3, 50, 60)).astype(np.uint8)
    labels[0, 0, :6] = [0, 1, 0, 1, 0, 1]
    found = count(tf.constant(probability), tf.constant(labels)).numpy().reshape(2, BINS)
    valid = labels < INVALID
    # In the type of the device: in a finer one, values on an edge lie elsewhere.
    exact = probability[..., 0][valid].astype(np.float64)
    with np.errstate(divide="ignore"):
        expected = counted(np.log(exact / (1 - exact)), labels[valid] == 1)
    assert found.sum() == np.count_nonzero(valid)
    for counts, wanted in zip(found, (expected.clear, expected.cloud), strict=True):
        moved = np.abs(np.cumsum(counts) - np.cumsum(wanted))
        assert moved.max() <= 3 and moved[BINS // 2 - 1] == 0 and moved[-1] == 0


class _Attempt:
    """What `calibrate` needs of an attempt."""

    run = "run"

    class devices:
        chief = True

    class stop:
        requested = False


class _Batches:
    def epoch(self, number, deliver):
        return iter([deliver(0, 0), deliver(0, 0)])


class _Step:
    """Counts one clear and three cloud pixels in each batch."""

    def __init__(self, stops=0.0):
        self._stops = stops

    def to_device(self, *batch):
        return batch

    def count_logits(self, batch, stop):
        counts = np.zeros((2, BINS))
        counts[0, BINS // 2 + 100] = 1
        counts[1, BINS // 2 + 100] = 3
        return _Tensor(np.r_[counts.ravel(), self._stops])


class _Tensor:
    def __init__(self, value):
        self._value = value

    def numpy(self):
        return self._value


def test_batches_add_up_and_the_log_tells_what_was_found(caplog):
    from cloudmask.train.calibration import calibrate

    with caplog.at_level(logging.INFO):
        found = calibrate(_Attempt, _Step(), _Batches())
    assert isinstance(found, Calibration) and found.pixels == 8
    # Three of four pixels are cloud where the network says so: logit log(3).
    logit = 100.5 * 2 * LOGIT_LIMIT / BINS
    assert found.temperature == pytest.approx(logit / np.log(3), rel=1e-6)
    assert found.calibration_error_after == pytest.approx(0, abs=1e-6)
    assert f"calibration: temperature {found.temperature:.3f}; calibration error" in caplog.text
    assert f"{found.threshold_favor_clear:.3f} to keep clear sky clear" in caplog.text


def test_a_request_to_stop_ends_the_pass():
    from cloudmask.train.calibration import calibrate

    with pytest.raises(Interrupted, match="calibration not finished; the same command continues"):
        calibrate(_Attempt, _Step(stops=1), _Batches())


@pytest.mark.slow
def test_a_run_that_is_stopped_while_calibrating_continues(store_path, tmp_path, monkeypatch):
    from cloudmask.config.settings import load_config
    from cloudmask.record.run_directory import RunDirectory
    from cloudmask.train import run as module
    from cloudmask.train.calibration import calibrate

    settings = ("model.filters=2", "training.epochs=2", "training.batch_size=8")
    config = load_config(None, (*settings, "training.deterministic=true"))
    cut, whole = RunDirectory(tmp_path / "cut"), RunDirectory(tmp_path / "whole")

    def stopped(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return calibrate(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, "calibrate", stopped)
        with pytest.raises(Interrupted, match="cut: trained, calibration not finished"):
            module.train(module.TrainingRequest(config, store_path, cut))
    assert not cut.result.exists() and not cut.model.exists()
    found = [module.train(module.TrainingRequest(config, store_path, run)) for run in (cut, whole)]
    assert [result.training.attempts for result in found] == [2, 1]
    assert found[0].training.calibration == found[1].training.calibration
    written = json.loads(cut.result.read_text())["training"]["calibration"]
    assert written == found[0].training.calibration.model_dump()
    assert 0 < written["pixels"] <= 8 * 256 * 256
