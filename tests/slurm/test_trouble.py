"""What can be wrong before anything runs, reported in a line before time is lost; odd ways in."""

import json
import shutil

import pytest


def test_no_room_on_the_nodes_disk(cluster):
    """The shared file system serves then, loudly."""
    with cluster.little_space("n1", "8m"):
        job = cluster.submit(cluster.experiment("crowded", training__epochs=1), "--nodelist=n1")
        cluster.wait(job)
        assert cluster.left() == []
    log = cluster.log(f"{job}_1")
    assert "WARNING" in log and "NOT on the node's own disk" in log
    assert "GB are needed" in log
    assert cluster.result("crowded")[0]["status"] == "success"


def test_a_damaged_overlay(cluster):
    """Found while it is copied; nothing of it stays, the job is not begun again."""
    image = cluster.root / "damaged.ext3"
    shutil.copyfile(cluster.root / "patches.ext3", image)
    shutil.copyfile(cluster.root / "patches.ext3.json", image.with_name("damaged.ext3.json"))
    with image.open("r+b") as file:
        file.seek(image.stat().st_size // 2)
        file.write(b"\xff" * 4096)
    name = cluster.experiment("damaged")
    job = cluster.submit(name, f"--export=ALL,{cluster.exports(CLOUDMASK_OVERLAY=image)}")
    cluster.wait(job, state="FAILED")
    log = cluster.log(f"{job}_1")
    assert f"error: {image}" in log and "checksum" in log, log
    assert "Traceback" not in log
    assert cluster.job(job)["ExitCode"] == "2:0"
    assert not list(cluster.tree.glob("runs/damaged/0001*"))


def test_a_row_that_is_not_in_the_plan(cluster):
    name = cluster.experiment("short", repeats=2, training__epochs=1)
    job = cluster.submit(name, "--array=3")
    cluster.wait(job, state="FAILED")
    assert cluster.job(job)["ExitCode"] == "2:0"
    assert "error: --index 3: no such row in short; expected 1 to 2" in cluster.log(f"{job}_3")


def test_no_overlay_no_image_no_gpu_each_in_one_line(cluster):
    name = cluster.experiment("nothing")
    wrong = {
        "CLOUDMASK_OVERLAY": (cluster.root / "none.ext3", "none.ext3.json: no such file"),
        "CLOUDMASK_IMAGE": (cluster.root / "none.sif", "none.sif: no such image"),
        "CLOUDMASK_DEVICE": ("gpu", "no GPU is visible"),
    }
    for key, (value, expected) in wrong.items():
        job = cluster.submit(name, f"--export=ALL,{cluster.exports(**{key: value})}")
        cluster.wait(job, state="FAILED")
        assert cluster.job(job)["ExitCode"] == "2:0", key
        assert expected in cluster.log(f"{job}_1"), key
    assert not list(cluster.tree.glob("runs/nothing/0001*"))


@pytest.mark.long
def test_gaps_two_at_once_and_a_finished_row(cluster):
    name = cluster.experiment("gaps", repeats=5, training__epochs=1)
    job = cluster.submit(name, "--array=1,3,5%2")
    cluster.wait(job)
    runs = cluster.tree / "runs/gaps"
    assert sorted(path.parent.name[:4] for path in runs.glob("*/result.json")) == [
        "0001",
        "0003",
        "0005",
    ]
    before = {path: path.read_bytes() for path in runs.glob("0001*/*") if path.is_file()}
    again = cluster.submit(name, "--array=1")
    cluster.wait(again)
    assert "finished already" in cluster.log(f"{again}_1")
    assert before == {path: path.read_bytes() for path in before}


def test_a_single_job_an_allocation_and_no_slurm_at_all(cluster):
    """The same script and steps, four ways; the result is the same."""
    names = [cluster.experiment(f"way-{i}", training__deterministic=True) for i in range(3)]
    exports = dict(part.split("=", 1) for part in cluster.exports().split(","))
    single = cluster.run("sbatch", "--parsable", "slurm/train.sbatch", names[0], **exports)
    assert single.returncode == 0, single.stderr
    cluster.wait(single.stdout.strip())
    words = ["salloc", "--quiet", "--nodes=1", "bash", "slurm/train.sbatch", names[1]]
    inside = cluster.run(*words, **exports)
    assert inside.returncode == 0, inside.stderr
    exports["CLOUDMASK_LOCAL"] = cluster.root / "local" / "n1"
    without = cluster.run("bash", "slurm/train.sbatch", names[2], **exports)
    assert without.returncode == 0, without.stderr
    assert "job without Slurm" in without.stderr
    results = [cluster.result(f"way-{i}")[0]["training"] for i in range(3)]
    assert len({json.dumps([r["loss"], r["val_loss"]]) for r in results}) == 1
