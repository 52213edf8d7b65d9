"""Provenance on this machine, in a container, in a job; never the environment's secrets."""

import hashlib
import json
import subprocess
import sys

import pytest

import cloudmask
from cloudmask.errors import InputError
from cloudmask.overlay import manifest
from cloudmask.record import provenance


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in ("CLOUDMASK_GIT_COMMIT", "APPTAINER_CONTAINER", "SINGULARITY_CONTAINER"):
        monkeypatch.delenv(name, raising=False)
    for name in (*provenance.SLURM, *provenance.LSF, *provenance.SITE.values()):
        monkeypatch.delenv(name, raising=False)


def test_this_machine():
    found = provenance.collect(["cloudmask-train", "--run", "r"], {"sha256": "abc"})
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["command"] == ["cloudmask-train", "--run", "r"]
    assert found["data"] == {"sha256": "abc"}
    assert found["started"].endswith("+00:00")
    assert found["versions"]["cloudmask"] == cloudmask.__version__
    assert found["versions"]["numpy"] == sys.modules["numpy"].__version__
    assert found["memory_bytes"] > 1e8 and found["cpu"]["usable_threads"] >= 1
    assert found["container"] is None and found["slurm"] == {}
    flat = provenance.system(found)
    assert (flat["nodes"], flat["gpus"]) == (1, len(found["gpus"]))
    assert not any(isinstance(value, dict) for value in flat.values())


def test_job_and_container_are_told_and_secrets_are_not(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "3")
    monkeypatch.setenv("SLURM_JWT", "s3cret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("APPTAINER_CONTAINER", "/images/cloudmask.sif")
    found = provenance.collect(["c"])
    assert found["slurm"] == {"SLURM_JOB_ID": "4711", "SLURM_JOB_NUM_NODES": "3"}
    assert found["container"]["name"] == "cloudmask.sif"
    assert provenance.system(found)["nodes"] == 3
    assert "s3cret" not in json.dumps(found)


def test_job_of_lsf_and_features_of_the_node(monkeypatch):
    monkeypatch.setenv("LSB_JOBID", "812")
    monkeypatch.setenv("LSB_JOBINDEX", "0")
    monkeypatch.setenv("LSB_SUB_PASSWORD", "s3cret")
    monkeypatch.setenv("CLOUDMASK_SITE", "greene")
    monkeypatch.setenv("CLOUDMASK_NODE_FEATURES", "a100,ib")
    found = provenance.collect(["c"])
    assert found["lsf"] == {"LSB_JOBID": "812", "LSB_JOBINDEX": "0"}
    assert found["site"] == {"site": "greene", "features": "a100,ib"}
    assert provenance.identity(found)["job"] == "812"
    assert "s3cret" not in json.dumps(found)


@pytest.mark.parametrize(
    ("facts", "job"),
    [
        ({"slurm": {"SLURM_JOB_ID": "7"}, "lsf": {}}, "7"),
        (
            {
                "slurm": {
                    "SLURM_JOB_ID": "9",
                    "SLURM_ARRAY_JOB_ID": "7",
                    "SLURM_ARRAY_TASK_ID": "2",
                }
            },
            "7_2",
        ),
        ({"lsf": {"LSB_JOBID": "7", "LSB_JOBINDEX": "3"}}, "7_3"),
        ({"slurm": {}}, None),
        ({}, None),
    ],
)
def test_job_by_its_scheduler_or_of_an_older_version(facts, job):
    assert provenance.identity(facts).get("job") == job


def test_list_of_packages_has_a_checksum():
    found = provenance.collect(["c"])
    assert found["packages"]["numpy"] == sys.modules["numpy"].__version__
    listing = "".join(f"{name}=={version}\n" for name, version in found["packages"].items())
    assert found["packages_sha256"] == hashlib.sha256(listing.encode()).hexdigest()
    assert provenance.system(found)["packages_sha256"] == found["packages_sha256"]


def test_overlay_by_its_manifest(tmp_path, monkeypatch):
    image = tmp_path / "patches.ext3"
    monkeypatch.setenv("CLOUDMASK_OVERLAY", str(image))
    assert provenance.collect(["c"])["overlay"] is None, "there is no manifest"
    patches = manifest.Content(manifest.PATCHES, 1, "ef" * 32, 1, ("ef" * 32,))
    made = manifest.Manifest(
        id=manifest.identity([patches]),
        files=(patches,),
        sources={},
        image=manifest.ImageFacts(1, 1, "cd" * 32),
        made=manifest.Origin("1", "h", "t"),
    )
    made.write(manifest.beside(image))
    found = provenance.collect(["c"])
    assert found["overlay"] == {"path": str(image), "sha256": "cd" * 32, "id": made.id}
    assert provenance.identity(found)["overlay_sha256"] == "cd" * 32


NOWHERE = dict.fromkeys(("commit", "dirty", "repository", "branch", "tag"))


@pytest.mark.parametrize(("value", "dirty"), [("0123abc", False), ("0123abc-dirty", True)])
def test_commit_of_the_image_wins(monkeypatch, value, dirty):
    monkeypatch.setenv("CLOUDMASK_GIT_COMMIT", value)
    found = provenance.collect(["c"])["git"]
    assert found == NOWHERE | {"commit": "0123abc", "dirty": dirty}


def test_commit_of_a_source_tree(tmp_path, monkeypatch):
    source = tmp_path / "cloudmask" / "__init__.py"
    source.parent.mkdir()
    source.write_text("")
    monkeypatch.setattr(cloudmask, "__file__", str(source))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")

    def git(*arguments):
        who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        command = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--initial-branch=main")
    git("commit", "--allow-empty", "-m", "of another project")
    # An installed copy inside a foreign tree is not that tree's commit.
    assert provenance.collect(["c"])["git"] == NOWHERE
    git("add", ".")
    git("commit", "-m", "x")
    commit = git("rev-parse", "HEAD")
    on_main = NOWHERE | {"commit": commit, "dirty": False, "branch": "main"}
    assert provenance.collect(["c"])["git"] == on_main
    git("tag", "v1")
    git("remote", "add", "origin", "https://ada:secret@example.org/cloudmask.git")
    where = {"tag": "v1", "repository": "https://example.org/cloudmask.git"}
    assert provenance.collect(["c"])["git"] == on_main | where
    source.write_text("changed = True\n")
    assert provenance.collect(["c"])["git"] == on_main | where | {"dirty": True}


def test_no_git_is_no_fault(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert provenance.collect(["c"])["git"] == NOWHERE


def test_user_without_a_name(monkeypatch):
    def nobody():
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(provenance.getpass, "getuser", nobody)
    assert provenance.user().isdigit()


def test_earlier_attempts_stay(tmp_path):
    for number in range(3):
        provenance.write(tmp_path / "provenance.json", {"attempt": number})
    found = json.loads((tmp_path / "provenance.json").read_text())
    assert found["attempt"] == 2
    assert [earlier["attempt"] for earlier in found["earlier"]] == [0, 1]
    (tmp_path / "provenance.json").write_text("{")
    with pytest.raises(InputError, match=r"provenance\.json: damaged"):
        provenance.write(tmp_path / "provenance.json", {})


def test_importing_the_package_is_light():
    code = (
        "import sys\n"
        "from cloudmask.record import events, provenance, result, stopwatch, telemetry\n"
        "heavy = {'tensorflow', 'keras', 'pynvml', 'psutil', 'mlperf_logging', 'numpy'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
