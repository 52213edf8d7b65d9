"""Time limits, preemption, a dead node, scancel: the run goes on, or is left tidy."""

import csv

import pytest
from test_arrays import hold_copying

ENDLESS = {"training__epochs": 100_000, "early_stopping__enabled": False}
SETTINGS = {"training__epochs": 8, "training__deterministic": True, "training__batch_size": 2}


def losses(result):
    return [result["training"][key] for key in ("loss", "val_loss", "accuracy", "val_accuracy")]


@pytest.fixture(scope="module")
def uninterrupted(cluster):
    """What the run of SETTINGS gives when nobody disturbs it."""
    job = cluster.submit(cluster.experiment("calm", **SETTINGS), "--array=1")
    cluster.wait(job)
    return cluster.result("calm")[0]


@pytest.mark.long
def test_time_limit_twice_then_finished_with_the_same_result(cluster, uninterrupted):
    name = cluster.experiment("limited", **SETTINGS)
    job = cluster.submit(name)
    task = f"{job}_1"
    for attempt in (1, 2):
        saved = f"runs/limited/0001*/checkpoints/{attempt * 2:06d}*"
        cluster.until(lambda saved=saved: list(cluster.tree.glob(saved)), f"epoch {attempt * 2}")
        # What Slurm does at the warning, without waiting for a minute, its shortest limit, to pass.
        cluster.run("scancel", "--batch", "--signal=USR1", task)
        words = f"interrupted in attempt {attempt} of 10: queued again"
        cluster.until(lambda words=words: words in cluster.log(task), words)
    cluster.wait(job)
    result = cluster.result("limited")[0]
    assert result["training"]["attempts"] == 3
    assert losses(result) == losses(uninterrupted)
    # Seconds of all attempts are added up; each staged anew or found the copy.
    (run,) = cluster.tree.glob("runs/limited/0001*")
    with (run / "history.csv").open() as file:
        epochs = [float(row["seconds"]) for row in csv.DictReader(file)]
    assert len(epochs) == 8
    assert result["training"]["seconds"] >= sum(epochs) * 0.99
    with (run / "telemetry.csv").open() as file:
        sampled = {row["attempt"]: float(row["seconds"]) for row in csv.DictReader(file)}
    assert set(sampled) == {"1", "2", "3"}
    assert result["energy"]["seconds"] == pytest.approx(sum(sampled.values()), rel=0.05)
    assert (run / "mlperf.log").read_text().count('"staging_start"') == 3


@pytest.mark.long
def test_slurm_warns_before_the_limit(cluster):
    """The shortest limit that Slurm has: a minute; the warning comes 25 s before its end.

    Slurm may send it half a minute earlier, when a slow machine has no epoch to save yet.
    """
    name = cluster.experiment("minute", **ENDLESS)
    job = cluster.submit(name, "--time=1", CLOUDMASK_ATTEMPTS="2")
    cluster.wait(job, state="FAILED")
    log = cluster.log(f"{job}_1")
    assert log.count("got SIGUSR1") == 2
    first, second = log.split("interrupted in attempt 1 of 2: queued again")
    assert "continues after epoch" not in first
    if "training on" in second:  # Otherwise the warning came while TensorFlow was loaded.
        assert ("continues after epoch" in second) == ("saved after epoch" in first)
    assert "interrupted in attempt 2 of 2 (CLOUDMASK_ATTEMPTS): not queued again" in second
    assert not cluster.result("minute")


@pytest.mark.long
def test_preempted_it_goes_on_by_itself(cluster):
    name = cluster.experiment("gives-way", training__epochs=15)
    job = cluster.submit(name, "--nodelist=n1", "--exclusive")
    saved = "runs/gives-way/0001*/checkpoints/000002*"
    cluster.until(lambda: list(cluster.tree.glob(saved)), "epoch 2")
    urgent = cluster.run(
        "sbatch",
        "--parsable",
        "--partition=urgent",
        "--nodelist=n1",
        "--exclusive",
        "--output=/dev/null",
        "--wrap=sleep 1",
    )
    assert urgent.returncode == 0, urgent.stderr
    cluster.wait(job)
    log = cluster.log(f"{job}_1")
    assert "got SIGTERM" in log
    assert "continues after epoch" in log
    assert cluster.result("gives-way")[0]["training"]["attempts"] == 2


@pytest.mark.long
def test_a_node_dies(cluster, uninterrupted):
    name = cluster.experiment("survivor", **SETTINGS)
    job = cluster.submit(name, "--exclude=n[1,3-5]")
    saved = "runs/survivor/0001*/checkpoints/000003*"
    cluster.until(lambda: list(cluster.tree.glob(saved)), "epoch 3")
    died = cluster.job(job)["NodeList"]
    cluster.node(died, "kill")
    try:
        cluster.wait(job)
    finally:
        cluster.node(died, "up")
    assert cluster.job(job)["NodeList"] != died
    result = cluster.result("survivor")[0]
    assert result["training"]["attempts"] == 2
    assert losses(result) == losses(uninterrupted)
    # Its disk still holds what its tasks had there. Who comes next tidies, or this:
    assert cluster.left()
    cleaned = cluster.batch("slurm/clean.sbatch", f"--nodelist={died}")
    cluster.wait(cleaned)


@pytest.mark.parametrize("during", ["staging", "training"])
def test_scancel_leaves_nothing_on_the_node(cluster, during):
    name = cluster.experiment(f"cancelled-{during}", **ENDLESS)
    copying = hold_copying(cluster, "n4") if during == "staging" else None
    job = cluster.submit(name, "--nodelist=n4")
    if during == "staging":
        cluster.until(lambda: cluster.program(job, "cloudmask-stage"), "staging")
        cluster.run("scancel", job)
    else:
        saved = f"runs/cancelled-{during}/0001*/checkpoints/000001*"
        cluster.until(lambda: list(cluster.tree.glob(saved)), "epoch 1")
        # As with cgroups, where Slurm signals the shell alone.
        cluster.run("scancel", "--batch", "--signal=TERM", job)
        cluster.until(lambda: "canceled or preempted" in cluster.log(f"{job}_1"), "saved")
    cluster.idle()
    assert not cluster.result(f"cancelled-{during}")
    if copying:
        copying.close()
        cluster.clear()  # the one who "copied" tidies up after himself
    assert not cluster.left()


@pytest.mark.long
def test_killed_without_a_word(cluster):
    """Shell and all: nobody of the job can tidy up; the next task on the node does."""
    name = cluster.experiment("silent", **ENDLESS)
    job = cluster.submit(name, "--nodelist=n5")
    saved = "runs/silent/0001*/checkpoints/000001*"
    cluster.until(lambda: list(cluster.tree.glob(saved)), "epoch 1")
    for process in cluster.processes(job):
        process.kill()
    cluster.wait(job, state="FAILED")
    assert cluster.left()
    again = cluster.submit(cluster.experiment("after"), "--nodelist=n5")
    cluster.wait(again)
