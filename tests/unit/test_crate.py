"""RO-Crates of runs: what they describe, and what the reference validator says of them."""

import json

import pytest
from support import crate_validator
from support.finished_runs import SUBMISSION, add_evaluation, edit, make_run

from cloudmask.errors import InputError
from cloudmask.publication import crate, program


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    """The folder of a run with an evaluation, and its entities by identifier."""
    run = make_run(tmp_path_factory.mktemp("crate") / "run")
    add_evaluation(run)
    graph = json.loads(crate.describe(run.path).read_text())["@graph"]
    return run.path, {entity["@id"]: entity for entity in graph}


def identifiers(value):
    return {each["@id"] for each in (value if isinstance(value, list) else [value])}


def test_a_training_names_its_inputs_and_outputs(described):
    _, entities = described
    action = entities["#training--run"]
    assert action["@type"] == "CreateAction"
    inputs = identifiers(action["object"])
    assert inputs == {"config.yaml", "#patches-12ab", "#scenes-training--run"}
    assert entities["#patches-12ab"]["identifier"] == "sha256:12ab"
    assert "S3A_1, S3A_2" in entities["#scenes-training--run"]["description"]
    assert {"result.json", "model.keras", "mlperf.log"} <= identifiers(action["result"])
    assert entities["#training--run-accuracy-on-whole-scenes"]["value"] == 0.87
    assert action["startTime"] <= action["endTime"]


def test_an_evaluation_names_the_network_and_its_masks(described):
    _, entities = described
    action = entities["#evaluation-of-run--evaluation"]
    assert identifiers(action["object"]) == {
        "model.keras",
        "#scenes-evaluation-of-run--evaluation",
    }
    masks = {f"evaluation/masks/S3A_{number}.nc" for number in (1, 2)}
    assert masks | {"evaluation/result.json"} <= identifiers(action["result"])
    assert entities["evaluation/masks/S3A_1.nc"]["encodingFormat"] == "application/x-netcdf"


def test_the_program_and_who_ran_it_are_named(described):
    _, entities = described
    (software,) = (e for e in entities.values() if e["@type"] == "SoftwareApplication")
    assert software["@id"].startswith(f"{SUBMISSION['repository']}#")
    assert software["identifier"] == "0123abc"
    (person,) = (e for e in entities.values() if e["@type"] == "Person")
    assert person["name"] == SUBMISSION["user"]
    organization = entities[person["affiliation"]["@id"]]
    assert organization["url"] == SUBMISSION["organization_url"]


@pytest.mark.slow
def test_the_validator_finds_nothing(described, tmp_path):
    folder, _ = described
    assert crate_validator.findings(folder, tmp_path) == []


@pytest.mark.slow
def test_the_validator_finds_what_is_taken_away(tmp_path):
    run = make_run(tmp_path / "run")
    path = crate.describe(run.path)

    def damage(tree):
        for entity in tree["@graph"]:
            if entity["@type"] == "CreateAction":
                del entity["instrument"], entity["endTime"]

    edit(path, damage)
    found = "\n".join(crate_validator.findings(run.path, tmp_path))
    assert "REQUIRED process-run-crate" in found and "MUST have an instrument" in found
    assert "SHOULD have an endTime" in found


def test_an_organization_that_is_not_named_is_reported(tmp_path, caplog):
    run = make_run(tmp_path / "run", submission={})
    crate.describe(run.path)
    assert "submission.organization is not set" in caplog.text


def test_a_damaged_provenance_is_named(tmp_path):
    run = make_run(tmp_path / "run")
    edit(run.provenance, lambda tree: tree.pop("user"))
    with pytest.raises(InputError, match=r"provenance\.json: no 'user'"):
        crate.describe(run.path)


@pytest.mark.parametrize(
    ("repository", "address"),
    [
        ("https://github.com/a/b.git", "https://github.com/a/b"),
        ("https://ada:secret@github.com/a/b", "https://github.com/a/b"),
        ("git@github.com:a/b.git", "https://github.com/a/b"),
        ("ssh://git@example.org/a/b.git", "https://example.org/a/b"),
        ("/home/ada/cloudmask", None),
        ("../cloudmask", None),
        ("file:///srv/git/cloudmask", None),
        (None, None),
    ],
)
def test_a_repository_has_a_web_address_or_none(repository, address):
    assert program.web_address(repository) == address
