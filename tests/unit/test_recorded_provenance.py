"""Provenance of others: any JSON there is a clean read, or one line that names file and key."""

import copy
import json
import shutil

import pytest
from support.finished_runs import edit, make_run

from cloudmask.errors import InputError
from cloudmask.publication import crate, eligibility, submission, submission_text
from cloudmask.publication.eligibility import DataClaim, choose_runs
from cloudmask.publication.submission_text import Submission
from cloudmask.record import provenance, recorded_provenance
from cloudmask.record.system_description import system_description
from cloudmask.report.collection import collect

VALUES = (None, -1, 2**70, "\ud800", "a\nb", [[]], {"a": {}})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("made") / "run")


@pytest.fixture
def run(made, tmp_path):
    """A copy of a finished run that a test may damage."""
    shutil.copytree(made.path, tmp_path / "run")
    return type(made)(tmp_path / "run")


def places(tree, where=()):
    """Every key of nested JSON, as the keys and indices that lead there."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        yield (*where, key)
        if key != "packages" and isinstance(value, (dict, list)):
            yield from places(value, (*where, key))


def spoiled(tree, where, value):
    tree = copy.deepcopy(tree)
    inner = tree
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    return json.dumps(tree)


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("git", ["0123abc"], "'git'"),
        ("git", {"commit": 123}, "'git.commit'"),
        ("versions", {"cloudmask": ["1"]}, "'versions.cloudmask'"),
        ("command", "cloudmask-train", "'command'"),
        ("command", [1], "'command.0'"),
        ("user", {}, "'user'"),
        ("earlier", {}, "'earlier'"),
        ("earlier", [{"started": 5}], "'earlier.0.started'"),
        ("packages", ["numpy"], "'packages'"),
        ("memory_bytes", 10**400, "'memory_bytes'"),
        ("gpus", [7], "'gpus.0'"),
        ("data", {"path": ["p.h5"]}, "'data.path'"),
        ("masks", [], "'masks'"),
    ],
)
def test_a_wrong_type_is_one_line_that_names_file_and_key(run, key, value, named):
    edit(run.provenance, lambda tree: tree.update({key: value}))
    with pytest.raises(InputError) as caught:
        recorded_provenance.read(run.provenance)
    text = str(caught.value)
    assert text.startswith(f"{run.provenance}: ") and named in text and "\n" not in text
    with pytest.raises(InputError, match=r"damaged: .*provenance\.json: ") as caught:
        choose_runs([run.path], "x", DataClaim("made-up scenes"))
    assert named in str(caught.value)


def test_what_a_reader_needs_has_to_be_there(run):
    edit(run.provenance, lambda tree: tree.pop("versions"))
    assert recorded_provenance.read(run.provenance).versions == {}
    with pytest.raises(InputError, match=r"provenance\.json: no 'versions'"):
        recorded_provenance.read(run.provenance, "command", "versions")


def test_no_value_anywhere_ends_in_a_traceback(run, monkeypatch):
    """Of a submission's texts and of a crate's description of the run."""
    monkeypatch.setattr(eligibility, "findings", lambda log: [])  # which takes time
    tree, readable = json.loads(run.provenance.read_text()), 0
    for where in places(tree):
        for value in VALUES:
            run.provenance.write_text(spoiled(tree, where, value))
            try:
                chosen = choose_runs([run.path], "x", DataClaim("made-up scenes"))
            except InputError:
                continue
            readable += 1
            made = Submission(tuple(chosen), "one", "all", "made-up scenes")
            submission_text.readme(made, []).encode()
            json.dumps(
                system_description(
                    chosen[0].result, chosen[0].provenance.model_dump(), chosen[0].config.submission
                )
            ).encode()
            json.dumps(submission._config(made)).encode()
    assert readable > 50


def test_a_crate_of_a_damaged_run_names_the_file(run):
    pytest.importorskip("rocrate")
    for key, value in (("git", [1]), ("user", 5), ("started", None)):
        original = run.provenance.read_text()
        edit(run.provenance, lambda tree, key=key, value=value: tree.update({key: value}))
        with pytest.raises(InputError, match=rf"provenance\.json: .*'{key}'"):
            crate.describe(run.path)
        run.provenance.write_text(original)
    edit(run.result, lambda tree: tree["experiment"].update(submission={"organization": ["x"]}))
    with pytest.raises(InputError, match=r"result\.json: 'experiment\.submission\.organization'"):
        crate.describe(run.path)


def test_a_report_lists_it_and_goes_on(run):
    edit(run.provenance, lambda tree: tree.update(git=["0123abc"]))
    (found,) = [each for each in collect([run.path.parent]).runs if each.origin == "run"]
    (note,) = [note for note in found.notes if "provenance.json" in note]
    assert "'git'" in note and found.code is None


def test_an_earlier_attempt_of_a_run_is_not_judged_when_a_later_one_writes(run):
    edit(run.provenance, lambda tree: tree.update(git=["0123abc"]))
    provenance.write(run.provenance, {"command": ["again"], "started": "2026"})
    found = recorded_provenance.read(run.provenance)
    assert found.command == ("again",) and len(found.earlier) == 1
    assert found.begun == found.earlier[0].started != "2026"


def test_a_job_file_in_any_encoding_is_submitted_as_it_is(run, tmp_path):
    run.job.mkdir()
    (run.job / "train.sbatch").write_bytes("#!/bin/sh\n# für uns\n".encode("latin-1"))
    (chosen,) = choose_runs([run.path], "x", DataClaim("made-up scenes"))
    submission._copy_job(chosen, tmp_path)
    assert (tmp_path / "job/train.sbatch").read_bytes() == (run.job / "train.sbatch").read_bytes()
