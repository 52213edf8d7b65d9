"""Scenes, and patches, that a training cannot use are found before it begins."""

import logging
import shutil

import h5py
import numpy as np
import pytest

from cloudmask.config.settings import load_config
from cloudmask.errors import Fault, InputError, SceneError
from cloudmask.evaluate.evaluation import EvaluationOptions
from cloudmask.evaluate.job import EvaluationRequest, run_evaluation
from cloudmask.evaluate.scene_check import check_scenes
from cloudmask.evaluate.sources import RunNetwork
from cloudmask.patches.prepare import PrepareOptions, prepare
from cloudmask.record.result import Result
from cloudmask.record.run_directory import RunDirectory
from cloudmask.scenes.finding import find_scenes
from cloudmask.scenes.synthetic import make_scene, scene_name, write_scene
from cloudmask.train.finite import require_pixels
from cloudmask.train.run import TrainingRequest, train

SMALL = ("model.filters=2", "training.epochs=1", "training.batch_size=1", "data.split=0.5")


@pytest.fixture
def good(tmp_path):
    path = tmp_path / f"{scene_name('inference', 0)}.hdf"
    write_scene(path, make_scene("inference", 0, (256, 256), seed=1))
    return path


def without_labels(file):
    del file["bayes"]


def with_empty_labels(file):
    file["bayes"][...] = 255


def labeled_where_not_measured(file):
    file["bayes"][...] = 255
    file["bayes"][0, 0] = 1
    file["bts"][0, 0] = np.nan


def without_measurement(file):
    file["bts"][..., 1] = np.nan


BAD = {
    without_labels: "no data set 'bayes'",
    with_empty_labels: "'bayes' holds no flags, only fill",
    labeled_where_not_measured: "no pixel holds both a measurement and a label",
    without_measurement: "channel S8 holds no measurement",
}


def damaged(good, damage, number=1):
    path = good.with_name(f"{scene_name('inference', number)}.hdf")
    shutil.copy(good, path)
    with h5py.File(path, "r+") as file:
        damage(file)
    return path


@pytest.mark.parametrize("damage", BAD)
def test_a_scene_that_cannot_be_judged_is_refused_or_left_out(good, damage, caplog):
    bad = damaged(good, damage)
    with pytest.raises(SceneError, match=BAD[damage]) as error:
        check_scenes([good, bad], EvaluationOptions())
    assert str(bad) in str(error.value)
    with caplog.at_level(logging.WARNING):
        found = check_scenes([good, bad], EvaluationOptions(skip_bad=True))
    assert found.usable == (good,)
    assert found.left_out == (str(error.value),) and str(error.value) in caplog.text
    with pytest.raises(InputError, match=f"no scene can be judged; the first: .*{BAD[damage]}"):
        check_scenes([bad], EvaluationOptions(skip_bad=True))


def test_labels_are_those_that_the_run_uses(good):
    bad = damaged(good, without_labels)
    assert check_scenes([bad], EvaluationOptions(labels="summary")).usable == (bad,)
    with pytest.raises(InputError, match="does not tell the source of its labels"):
        check_scenes([good], EvaluationOptions(labels=""))
    assert check_scenes([], EvaluationOptions(labels="")).usable == ()


def test_what_is_no_scene_is_passed_over(good, store_path):
    assert check_scenes([good, store_path], EvaluationOptions()).usable == (good,)


def test_a_training_begins_with_scenes_that_can_be_judged(good, store_path, tmp_path):
    run = RunDirectory(tmp_path / "run")
    scenes = [good, damaged(good, with_empty_labels)]
    request = TrainingRequest(load_config(None, SMALL), store_path, run, scenes)
    with pytest.raises(SceneError, match="holds no flags"):
        train(request)
    assert not run.path.exists()


@pytest.mark.parametrize("part", ["training", "validation"])
def test_patches_without_a_valid_pixel_are_an_error(good, part, tmp_path):
    """Their loss would be 0, the best there is."""
    prepare(
        [good, damaged(good, labeled_where_not_measured)],
        tmp_path / "p.h5",
        PrepareOptions(),
        workers=1,
    )
    seed = next(
        seed
        for seed in range(99)
        if np.random.RandomState(seed).permutation(2)[int(part == "training")] == 1
    )
    config = load_config(None, (*SMALL, f"data.split_seed={seed}"))
    with pytest.raises(InputError, match=f"no pixel of the 1 {part} patch holds a measurement"):
        train(TrainingRequest(config, tmp_path / "p.h5", RunDirectory(tmp_path / "run")))
    assert not (tmp_path / "run").exists()


def test_an_epoch_without_a_pixel_is_a_fault():
    require_pixels(1.0, "validation", 3)
    with pytest.raises(Fault, match="epoch 3: not one valid pixel in the validation patches"):
        require_pixels(0.0, "validation", 3)


def test_a_run_on_summary_flags_is_judged_by_them(scenes, good, tmp_path):
    """By the run itself, and later; other labels are named in the result."""
    data, run = tmp_path / "p.h5", RunDirectory(tmp_path / "run")
    training = find_scenes([scenes / "training"])[:2]
    prepare(training, data, PrepareOptions(labels="summary"), workers=1)
    unlabeled = damaged(
        good, lambda file: file["summary"].write_direct(np.full((256, 256, 1), 255, np.uint8)), 2
    )
    request = TrainingRequest(load_config(None, SMALL), data, run, [good, unlabeled], skip_bad=True)
    inference = train(request).inference
    assert (inference.truth, inference.trained_labels, inference.scenes) == ("summary",) * 2 + (1,)
    (line,) = inference.left_out
    assert str(unlabeled) in line
    assert Result.read(run.result).inference.left_out == inference.left_out
    (logged,) = [line for line in run.log.read_text().splitlines() if '"result"' in line]
    for key in ("accuracy", "accuracy_all_pixels", "pooled", "iou_scenes", "skill", "truth"):
        assert f'"{key}": ' in logged
    source = RunNetwork(run)
    found = {}
    for labels in (None, "bayes"):
        request = EvaluationRequest(source, [good], labels=labels, masks=False, pictures=False)
        found[labels] = run_evaluation(request).inference
    assert found[None].truth == "summary" and found[None].notes == ()
    assert found["bayes"].truth == "bayes" and found["bayes"].trained_labels == "summary"
    assert found["bayes"].notes == (
        "judged by 'bayes' labels, but the network learned 'summary' (--labels)",
    )
    assert found[None].accuracy_all_pixels is not None
