"""The networks that can be evaluated, and what is known about each."""

import json
import os

import pytest

from cloudmask.errors import InputError
from cloudmask.evaluate import example, saved_network
from cloudmask.evaluate.saved_network import NetworkFacts
from cloudmask.evaluate.sources import ExampleNetwork, FileNetwork, RunNetwork, newest_run
from cloudmask.record.run_directory import RunDirectory


def finished(path, seconds, model=True):
    """A folder that looks like a finished run, whose network was written at `seconds`."""
    run = RunDirectory(path)
    run.path.mkdir(parents=True)
    run.result.write_text("{}")
    if model:
        run.model.write_bytes(b"")
        os.utime(run.model, (seconds, seconds))
    return run


def test_the_newest_run_is_the_one_that_finished_last(tmp_path):
    with pytest.raises(InputError, match="no finished run under"):
        newest_run(tmp_path)
    finished(tmp_path / "b", 100)
    newest = finished(tmp_path / "experiment" / "row", 200)
    # An evaluation has a result of its own, but no network.
    finished(tmp_path / "b" / "evaluation", 300, model=False)
    (tmp_path / "unfinished").mkdir()
    assert newest_run(tmp_path) == newest


def test_a_run_has_to_be_finished(tmp_path):
    with pytest.raises(InputError, match="not a finished run; expected a folder with result"):
        RunNetwork(RunDirectory(tmp_path)).check()
    RunNetwork(finished(tmp_path / "run", 100)).check()


def test_the_patch_store_of_a_run_is_that_of_its_provenance(tmp_path):
    run = finished(tmp_path / "run", 100)
    assert RunNetwork(run).patches() is None
    run.provenance.write_text('{"earlier": [], "data": {"path": "/data/p.h5"}}')
    assert str(RunNetwork(run).patches()) == "/data/p.h5"
    for content in ("{", '{"earlier": []}', '{"earlier": [], "data": {"path": ["p.h5"]}}'):
        run.provenance.write_text(content)
        with pytest.raises(InputError, match=r"provenance\.json: .*(damaged|'data\.path')"):
            RunNetwork(run).patches()


def test_little_is_known_about_other_networks(tmp_path):
    file = FileNetwork(tmp_path / "model.keras")
    assert str(file) == str(tmp_path / "model.keras")
    assert file.result() is file.patches() is ExampleNetwork().result() is None
    with pytest.raises(InputError, match=r"model\.keras"):
        file.load()
    config = ExampleNetwork().config()
    assert (config.name, config.model.filters) == ("example", example.FILTERS)


def test_a_run_whose_network_does_not_tell_has_the_labels_of_its_patches(tmp_path, store_path):
    run = finished(tmp_path / "run", 100)
    saved_network.save(example.network(), run.model, NetworkFacts())
    assert RunNetwork(run).facts().labels == ""
    run.provenance.write_text(json.dumps({"earlier": [], "data": {"path": str(store_path)}}))
    assert RunNetwork(run).facts().labels == "bayes"
    run.provenance.write_text("{")
    assert RunNetwork(run).facts().labels == ""
