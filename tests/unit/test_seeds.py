"""Seeds that are another one for each run, and the same for all attempts of it."""

import pytest

from cloudmask.config.settings import Config, load_config
from cloudmask.errors import InputError
from cloudmask.experiments.experiment import load_experiment
from cloudmask.experiments.plan import preview
from cloudmask.record.run_directory import RunDirectory
from cloudmask.train.seeds import JOB, with_seed

DISTINCT = Config(seed="distinct")


def begin(run, config):
    run.path.mkdir(parents=True)
    run.config.write_text(config.to_yaml())


def test_a_number_stays(tmp_path):
    assert with_seed(Config(), RunDirectory(tmp_path / "r")) == Config()


def test_each_run_draws_its_own_and_keeps_it(tmp_path):
    runs = [RunDirectory(tmp_path / str(number)) for number in range(20)]
    configs = [with_seed(DISTINCT, run) for run in runs]
    assert len({config.seed for config in configs}) == 20
    begin(runs[0], configs[0])
    resumed = with_seed(DISTINCT, runs[0])
    assert resumed == configs[0]
    runs[0].check_free(resumed.to_yaml())
    # Another configuration is still another one.
    other = with_seed(DISTINCT.model_copy(update={"name": "other"}), runs[0])
    with pytest.raises(InputError, match="another configuration"):
        runs[0].check_free(other.to_yaml())


def test_a_finished_run_that_is_repeated_draws_anew(tmp_path):
    run = RunDirectory(tmp_path / "r")
    begun = with_seed(DISTINCT, run)
    begin(run, begun)
    run.result.write_text("{}")
    assert with_seed(DISTINCT, run).seed != begun.seed


def test_all_workers_of_a_job_have_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv(JOB, "12")
    run, other = RunDirectory(tmp_path / "r"), RunDirectory(tmp_path / "s")
    seeds = {with_seed(DISTINCT, run, workers=2).seed for _ in range(2)}
    assert len(seeds) == 1
    assert with_seed(DISTINCT, other, workers=2).seed not in seeds
    monkeypatch.delenv(JOB)
    with pytest.raises(InputError, match="expected a number"):
        with_seed(DISTINCT, run, workers=2)


def test_the_experiment_of_the_hpc_rules_asks_for_them(tmp_path):
    plan = preview(load_experiment("hpc"), tmp_path)
    assert len(plan.rows) == 5
    for row in plan.rows:
        assert plan.config(row).seed == "distinct"
        assert plan.config(row).model_copy(update={"seed": 1234, "name": "paper"}) == load_config(
            None
        )


def test_a_seed_that_is_not_drawn_is_no_number():
    with pytest.raises(ValueError, match="drawn when the run begins"):
        assert DISTINCT.seed_number
    for wrong in ("x", -1, True, 2**31, 1.5):
        with pytest.raises(InputError, match=r"seed: expected 0 to 2147483647, or distinct; found"):
            load_config(None, [f"seed={wrong}"])
