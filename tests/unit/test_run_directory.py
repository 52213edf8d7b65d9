"""A run's directory: its files by name, and who may work in it."""

from itertools import islice

import pytest
import yaml

from cloudmask.config.settings import load_config
from cloudmask.errors import InputError
from cloudmask.record.result import Result
from cloudmask.record.run_directory import RunDirectory, finished_runs
from cloudmask.system import files

CONFIG = "name: one\n"


def test_a_run_of_a_version_with_fewer_settings_continues(tmp_path):
    run, config = RunDirectory(tmp_path / "run"), load_config(None)
    older = config.model_dump(mode="json")
    del older["loss"], older["training"]["schedule"]
    run.path.mkdir()
    run.config.write_text(yaml.safe_dump(older))
    run.check_free(config.to_yaml())
    older["seed"] = 1
    run.config.write_text(yaml.safe_dump(older))
    with pytest.raises(InputError, match="another configuration"):
        run.check_free(config.to_yaml())


def test_a_directory_is_claimed_once(tmp_path):
    run = RunDirectory(tmp_path / "runs" / "one")
    with run.claimed(CONFIG):
        assert run.config.read_text() == CONFIG
        with pytest.raises(InputError, match="in use by process"), run.claimed(CONFIG):
            pass
    assert not run.lock.exists()


def test_a_claim_removes_what_a_killed_process_left(tmp_path):
    run = RunDirectory(tmp_path)
    run.config.write_text(CONFIG)
    run.checkpoints.mkdir()
    left = files.temporary_path(run.checkpoints / "000001-000000.npz")
    left.touch()
    with run.claimed(CONFIG):
        assert not left.exists()


def test_what_is_no_place_for_a_run_is_named(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(InputError, match="is a file"):
        RunDirectory(file).check_free(CONFIG)
    with pytest.raises(InputError, match="holds files but no run"):
        RunDirectory(tmp_path).check_free(CONFIG)
    run = RunDirectory(tmp_path / "run")
    with run.claimed(CONFIG):
        pass
    with pytest.raises(InputError, match="another configuration"):
        run.check_free("name: two\n")
    Result(status="success").write(run.result)
    assert run.finished and run.read_result().status == "success"
    with pytest.raises(InputError, match="finished"):
        run.check_free(CONFIG)


def test_evaluations_are_numbered(tmp_path):
    run = RunDirectory(tmp_path)
    (tmp_path / "evaluation").mkdir()
    Result(status="success").write(RunDirectory(tmp_path / "evaluation").result)
    first = [folder.path.name for folder in islice(run.possible_evaluations(), 2)]
    assert first == ["evaluation-2", "evaluation-3"]


def test_finished_runs_are_found_through_links(tmp_path):
    elsewhere = tmp_path / "elsewhere" / "one"
    elsewhere.mkdir(parents=True)
    Result(status="success").write(RunDirectory(elsewhere).result)
    folder = tmp_path / "runs"
    (folder / "set").mkdir(parents=True)
    (folder / "set" / "linked").symlink_to(elsewhere)
    assert finished_runs(folder) == [RunDirectory(folder / "set" / "linked")]
