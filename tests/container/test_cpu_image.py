"""The CPU image, built from Debian with real Apptainer."""

import json
import time

import pytest
from support import machine


@pytest.fixture(scope="module")
def facts(apptainer, cpu_image):
    """What make image-info tells, as a dictionary."""
    told = apptainer.run("make", "-s", "-C", cpu_image.tree, "image-info", "BASE=cpu")
    assert told.returncode == 0, told.stderr
    return {line.split()[0]: line.split(maxsplit=1)[1] for line in told.stdout.splitlines()}


def test_image_says_what_it_is(facts, cpu_image, apptainer):
    head = apptainer.run("git", "-C", cpu_image.tree, "rev-parse", "HEAD").stdout.strip()
    assert facts["revision"] == head
    assert facts["version"] == "0.1.0"
    assert facts["base.name"] == "debootstrap:bookworm"
    assert facts["base.digest"].startswith("sha256:")
    assert facts["created"].startswith("20")
    assert facts["cloudmask.base.tensorflow"].startswith("2.")


def test_what_the_app_adds_is_small(facts):
    assert 10 < int(facts["cloudmask.app.megabytes"]) < 150


def test_image_passes_its_own_test(apptainer, cpu_image):
    tested = apptainer.run("make", "-C", cpu_image.tree, "image-test", "BASE=cpu")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "forward pass of the U-Net: ok" in tested.stdout
    assert "preflight: ok" in tested.stdout
    assert "numpy" in tested.stdout


def test_example_shows_a_result(apptainer, cpu_image):
    folder = machine.shared_folder("example")
    done = apptainer.run(
        "apptainer", "exec", cpu_image.path, "cloudmask-eval", "--example", cwd=folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "accuracy" in done.stdout and "U-Net, cloud truth" in done.stdout
    result = json.loads((folder / "evaluation/result.json").read_text())
    assert 0.8 < result["inference"]["accuracy"] < 1
    (picture,) = (folder / "evaluation/pictures").iterdir()
    assert picture.stat().st_size > 50_000


def test_result_names_image_and_commit(apptainer, cpu_image):
    folder = machine.shared_folder("provenance")
    words = ("cloudmask-eval", "--example", "--no-pictures", "--no-masks")
    apptainer.run("apptainer", "exec", cpu_image.path, *words, cwd=folder)
    system = json.loads((folder / "evaluation/result.json").read_text())["system"]
    head = apptainer.run("git", "-C", cpu_image.tree, "rev-parse", "HEAD").stdout.strip()
    assert system["commit"] == head
    assert system["container"] == "cloudmask-cpu.sif"


def test_nothing_to_evaluate_is_said(apptainer, cpu_image):
    folder = machine.shared_folder("empty")
    done = apptainer.run("apptainer", "exec", cpu_image.path, "cloudmask-eval", cwd=folder)
    assert done.returncode == 2
    assert f"no finished run under {folder}/runs" in done.stderr


def test_run_without_a_command_helps(apptainer, cpu_image):
    helped = apptainer.run("apptainer", "run", cpu_image.path)
    assert helped.returncode == 0 and "cloudmask-eval --example" in helped.stdout
    named = apptainer.run("apptainer", "run", cpu_image.path, "cloudmask-prepare", "--help")
    assert named.returncode == 0 and "usage: cloudmask-prepare" in named.stdout


def test_preflight_says_that_there_is_no_gpu(apptainer, cpu_image):
    asked = apptainer.run("apptainer", "exec", cpu_image.path, "cloudmask-preflight")
    assert asked.returncode == 2 and "no GPU is visible" in asked.stderr
    meant = apptainer.run("apptainer", "exec", cpu_image.path, "cloudmask-preflight", "--cpu")
    assert meant.returncode == 0 and "base cpu" in meant.stdout


def test_second_build_does_nothing(apptainer, cpu_image):
    before = cpu_image.path.stat().st_mtime_ns
    began = time.monotonic()
    again = machine.make_image(apptainer, cpu_image.tree, "image", "BASE=cpu")
    assert again.returncode == 0 and "Nothing to be done" in again.stdout, again.stdout
    assert cpu_image.path.stat().st_mtime_ns == before
    assert time.monotonic() - began < 10
