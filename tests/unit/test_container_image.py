"""The checksum of the image: beside it, in the cache, by the job; never computed twice."""

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from cloudmask.hardware import container_image

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def image(tmp_path, monkeypatch):
    """An image that this process seems to run in, and a cache of its own."""
    path = tmp_path / "cloudmask.sif"
    path.write_bytes(b"an image")
    monkeypatch.setenv("APPTAINER_CONTAINER", str(path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(container_image.CHECKSUM, "")
    monkeypatch.setattr(container_image, "LABELS", tmp_path / "labels.json")
    return path


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_no_checksum_is_computed_by_asking(image):
    assert container_image.known_checksum() is None
    assert container_image.image()["sha256"] is None


def test_what_is_beside_the_image_counts_while_the_image_is_the_same(image):
    container_image.write_beside(image)
    assert container_image.known_checksum() == sha256(image)
    check = subprocess.run(["sha256sum", "-c", "cloudmask.sif.sha256"], cwd=image.parent)
    assert check.returncode == 0
    before = image.stat()
    image.write_bytes(b"in image")  # as long, and of another time
    os.utime(image, (before.st_atime, before.st_mtime + 1))
    assert container_image.known_checksum() is None


def test_a_computed_checksum_stays_in_the_cache(image, monkeypatch, tmp_path):
    container_image.compute_checksum()
    monkeypatch.setenv(container_image.CHECKSUM, "")
    assert container_image.known_checksum() == sha256(image)
    monkeypatch.setattr(container_image.files, "sha256", lambda path: pytest.fail("computed"))
    container_image.compute_checksum()
    os.utime(image, (1, 1))
    assert container_image.known_checksum() is None


def test_a_cache_that_cannot_be_written_is_no_error(image, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    container_image.compute_checksum()
    assert container_image.known_checksum() == sha256(image)


def test_a_sandbox_has_none(image):
    image.unlink()
    image.mkdir()
    container_image.compute_checksum()
    assert container_image.known_checksum() is None
    assert container_image.image()["name"] == "cloudmask.sif"


@pytest.mark.parametrize("damaged", ["", "# size 8", "\0", "# size 8, modified 1\nzz  x\n"])
def test_a_damaged_file_beside_it_is_passed_over(image, damaged):
    container_image.beside(image).write_text(damaged)
    assert container_image.known_checksum() is None


def test_base_by_the_labels(image):
    labels = {
        "org.opencontainers.image.base.digest": "sha256:cd",
        "org.opencontainers.image.base.name": "unknown",
    }
    container_image.LABELS.write_text(json.dumps(labels))
    found = container_image.image()
    assert (found["base_digest"], found["base_name"], found["created"]) == ("sha256:cd", None, None)
    container_image.LABELS.write_text("[]")
    assert container_image.image()["base_digest"] is None


def identify(image):
    """What slurm/lib/container.sh exports for an image, and what it reports."""
    script = f'source slurm/lib/container.sh; container::identify "{image}"; printenv '
    done = subprocess.run(
        ["bash", "-c", script + container_image.CHECKSUM], cwd=ROOT, capture_output=True, text=True
    )
    return done.stdout.strip(), done.stderr


def test_a_job_reads_and_writes_the_same_files(image, monkeypatch):
    """The shell's cache is Python's and the other way round."""
    found, messages = identify(image)
    assert found == sha256(image) and "computing its checksum, once" in messages
    assert container_image.known_checksum() == found
    assert identify(image) == (found, "")
    image.write_bytes(b"another image")
    container_image.compute_checksum()
    assert identify(image) == (sha256(image), "")


def test_a_job_takes_what_is_beside_the_image(image, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    container_image.write_beside(image)
    assert identify(image) == (sha256(image), "")
    with image.open("ab") as file:
        file.write(b"!")
    found, messages = identify(image)
    assert found == sha256(image) and "computing" in messages


def test_a_job_in_a_sandbox_has_none(image):
    assert identify(image.parent) == ("", "")
