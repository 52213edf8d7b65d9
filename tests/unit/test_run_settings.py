"""Settings of older and newer versions, as today's program compares them."""

import copy
import json

import pytest
from support.paper_runs import as_published, write_run

from cloudmask.config.settings import Config
from cloudmask.report.collection import Collection, collect
from cloudmask.report.groups import group
from cloudmask.report.published_paper import paper
from cloudmask.report.run_settings import decisive
from cloudmask.report.runs import RecordedEvaluation, RecordedRun
from cloudmask.report.tables import groups_table

TODAY = json.loads(Config().model_dump_json())
# What a run of the first version had, apart from what names it.
FIRST = {
    "data": {"split": 0.8, "split_by": "scene", "split_seed": 42},
    "model": {"filters": 32},
    "training": {
        "epochs": 200,
        "batch_size": 32,
        "learning_rate": 0.001,
        "precision": "auto",
        "deterministic": False,
        "threads": 0,
    },
    "early_stopping": {
        "enabled": True,
        "monitor": "val_loss",
        "patience": 25,
        "min_delta": 0.0,
        "weights": "best",
    },
    "evaluation": {"tiling": "whole", "threshold": 0.5},
}


def changed(experiment, section, **values):
    """A copy with other values in one section."""
    tree = copy.deepcopy(experiment)
    tree.setdefault(section, {}).update(values)
    return tree


def test_settings_of_an_older_version_are_those_that_it_had():
    assert decisive(FIRST) == decisive(TODAY)
    assert decisive(FIRST)["loss.positive_weight"] == 1.0
    assert "training.precision" not in decisive(FIRST)


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("loss", {"positive_weight": 2.0}),
        ("training", {"learning_rate": 0.01}),
        ("training", {"ema_decay": 0.9}),
        ("training", {"of_the_future": 1}),
        ("of_the_future", {"x": 1}),
    ],
)
def test_what_differs_stays_different(section, values):
    assert decisive(changed(TODAY, section, **values)) != decisive(FIRST)


def test_other_names_and_kinds_of_numbers_are_the_same_setting():
    older = changed(FIRST, "training", ema_decay=0.9, warmup_epochs=0)
    assert decisive(older) == decisive(changed(TODAY, "training", averaging=0.9))


def test_a_value_of_the_future_stays_and_the_rest_is_completed():
    found = decisive(changed(FIRST, "training", schedule="sawtooth", teeth=3))
    assert (found["training.schedule"], found["training.teeth"]) == ("sawtooth", 3)
    assert found["training.decay_power"] == 1.0


def test_no_settings_are_invented():
    assert decisive({}) == {}
    assert decisive({"seed": 1, "name": "x"}) == {}
    assert decisive({"training": 3}) == {"training": 3}


def test_early_stopping_that_is_off_has_no_settings():
    off = decisive(changed(FIRST, "early_stopping", enabled=False))
    assert not [key for key in off if key.startswith("early_stopping.")]


def test_runs_of_an_older_version_join_the_group_they_repeat(tmp_path):
    history = as_published(paper().runs[0])[:3]
    runs = tmp_path / "runs"
    write_run(runs / "old", history, 0.8)
    write_run(runs / "new", history, 0.9)
    path = runs / "new" / "result.json"
    tree = json.loads(path.read_text())
    tree["experiment"] = {**TODAY, "seed": 5, "config_sha256": "ab" * 32}
    path.write_text(json.dumps(tree))
    (one,) = collect([runs], with_published=False).groups
    assert {run.name for run in one.runs} == {"old", "new"}


def judged(name, data, patches, trained_on=None, scenes=("a", "b")):
    """A run that tells of its data what is given."""
    run = RecordedRun(name, "run", "own", name, data=patches, trained_on=trained_on)
    accuracies = dict.fromkeys(scenes, 0.9)
    run.evaluations.append(RecordedEvaluation("x", data, accuracy=0.9, per_scene=accuracies))
    return run


def test_data_that_a_run_does_not_tell_are_those_of_an_equal_one():
    runs = [judged("old", None, "p1"), judged("new", "2 scenes", "p1", "5 scenes")]
    (one,) = group(runs)
    assert (one.tested_on, one.by_names) == ("2 scenes", 1)
    (row,) = groups_table(Collection([], runs)).rows
    assert row["test_data"] == "2 scenes (1 of 2 by the scenes' names)"


@pytest.mark.parametrize(
    "others",
    [
        [judged("new", "2 scenes", "p2")],  # other patches
        [judged("new", "2 scenes", "p1", scenes=("a", "c"))],  # other scenes
        [judged("new", "2 scenes", "p1"), judged("another", "2 others", "p1")],  # who knows which
    ],
)
def test_data_are_not_guessed(others):
    groups = group([judged("old", None, "p1"), *others])
    assert len(groups) == 1 + len(others)
    assert groups[0].tested_on == "data unknown"
