"""What building says before it builds, without a runtime: plans, and every reason to stop early."""

import os
import subprocess
import sys

import pytest
from support import machine


@pytest.fixture
def build(tmp_path):
    """Run build.py with a runtime that must not be called."""
    runtime = tmp_path / "bin/apptainer"
    runtime.parent.mkdir()
    runtime.write_text(f"#!/bin/sh\ntouch {tmp_path}/called\n")
    runtime.chmod(0o755)
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "app.txt").touch()

    def run(*words, **variables):
        defaults = ("--wheels", wheels, "--out", tmp_path / "x.sif")
        return subprocess.run(
            [sys.executable, machine.REPOSITORY / "containers/build.py", *defaults, *words],
            env=os.environ | {"PATH": f"{runtime.parent}:{os.environ['PATH']}"} | variables,
            capture_output=True,
            text=True,
        )

    yield run
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize(
    ("choice", "bootstrap", "address"),
    [
        ((), "docker", "nvcr.io/nvidia/tensorflow:24.03-tf2-py3"),
        (("--gpu", "V100"), "docker", "nvcr.io/nvidia/tensorflow:24.03-tf2-py3"),
        (("--gpu", "k80"), "docker", "tensorflow/tensorflow:2.14.0-gpu"),
        (("--base", "ngc-25.02"), "docker", "nvcr.io/nvidia/tensorflow:25.02-tf2-py3"),
        (("--base", "cpu", "--mirror", "http://m/debian"), "debootstrap", "bookworm"),
    ],
)
def test_dry_run_prints_the_command(build, tmp_path, choice, bootstrap, address):
    # Without the folders of administrators' programs: it needs no debootstrap.
    folders = [place for place in os.environ["PATH"].split(":") if not place.endswith("sbin")]
    done = build("--dry-run", *choice, PATH=f"{tmp_path}/bin:{':'.join(folders)}")
    assert done.returncode == 0, done.stderr
    assert f"--build-arg BOOTSTRAP={bootstrap} --build-arg FROM={address} " in done.stdout
    assert done.stdout.strip().endswith("containers/cloudmask.def")


def test_digest_replaces_the_tag(build):
    done = build("--dry-run", "--digest", "sha256:abc")
    assert "FROM=nvcr.io/nvidia/tensorflow@sha256:abc" in done.stdout


def test_names_that_are_not_there(build):
    done = build("--gpu", "k20")
    assert done.returncode == 2 and "GPU=k20: not known; expected one of v100" in done.stderr


def test_no_wheelhouse(build, tmp_path):
    done = build("--wheels", tmp_path / "none")
    assert done.returncode == 2 and "no wheelhouse; make it with: make wheels" in done.stderr


def test_too_little_space(build, tmp_path):
    (tmp_path / "app").mkdir()
    table = (machine.REPOSITORY / "containers/base_images.yaml").read_text()
    copy = machine.shared_folder("little-space")
    names = ("containers/build.py", "containers/sources.py", "containers/cloudmask.def")
    for name in (*names, "app/src/cloudmask"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-r", machine.REPOSITORY / name, copy / name], check=True)
    table = table.replace("space_gb: 60", "space_gb: 60000000")
    (copy / "app/src/cloudmask/hardware/base_images.yaml").write_text(table)
    words = ("--wheels", tmp_path / "wheels", "--out", tmp_path / "x.sif", "--tmp", tmp_path)
    done = subprocess.run(
        [sys.executable, copy / "containers/build.py", *words],
        env=os.environ | {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert f"{tmp_path}: " in done.stderr and "needs about 60000000 GB" in done.stderr
    assert "give another folder with TMP=" in done.stderr


def test_registry_away(build, tmp_path):
    folders = ("--tmp", tmp_path, "--cache", tmp_path)
    done = build("--gpu", "k80", "--from", "127.0.0.1:9/a/b:1", *folders, "--plain-http")
    assert done.returncode == 2
    assert "http://127.0.0.1:9/v2/a/b/manifests/1: cannot be reached" in done.stderr
    assert "DIGEST=sha256" in done.stderr


def test_certificates_that_are_not_there(build):
    done = build("--ca-bundle", "/nowhere.pem")
    assert done.returncode == 2 and "CA_BUNDLE=/nowhere.pem: no such file" in done.stderr


def test_no_mirror(build, tmp_path):
    apt = tmp_path / "bin/apt-get"
    apt.write_text("#!/bin/sh\necho 'other http://m/'\n")
    apt.chmod(0o755)
    done = build("--base", "cpu")
    assert done.returncode == 2 and "give one with MIRROR=" in done.stderr


def test_no_runtime(build):
    done = build("--runtime", "podmansingularity")
    assert done.returncode == 2 and "module load apptainer" in done.stderr


def test_no_address_of_this_machine_is_written_down():
    """The tree names no package mirror and no folder of a machine."""
    listed = subprocess.run(
        ["git", "ls-files", "containers", "slurm", "tests/env", "Makefile"],
        cwd=machine.REPOSITORY,
        capture_output=True,
        text=True,
    )
    for name in listed.stdout.split():
        text = (machine.REPOSITORY / name).read_text()
        assert "deb.debian.org" not in text and "/home/" not in text, name
