"""Several nodes: one run over two, a worker that dies, the table of scaling."""

import csv

import pytest

# The optimiser's steps differ in the order of their sums: after three epochs that much.
TOLERANCE = 2e-3
SETTINGS = {"training__epochs": 3, "training__precision": "float32", "training__batch_size": 4}


def curve(cluster, name):
    with next(cluster.tree.glob(f"runs/{name}/0001*/history.csv")).open() as file:
        return [(float(row["loss"]), float(row["val_loss"])) for row in csv.DictReader(file)]


def test_two_nodes_have_the_loss_curve_of_one(cluster):
    one = cluster.submit(cluster.experiment("one-node", **SETTINGS))
    two = cluster.submit(cluster.experiment("two-nodes", **SETTINGS), grid=["--nodes", 2])
    cluster.wait(one, two)
    log = cluster.log(f"{two}_1")
    assert "global batch 4 on 2 x CPU of 2 nodes, learning rate 0.001" in log
    assert log.count("preflight: ok") == 2
    # One node may hold the other run's copy.
    assert log.count("/data: ") == 2 and "copied in" in log
    result = cluster.result("two-nodes")[0]
    assert result["system"]["nodes"] == 2
    assert result["inference"]["scenes"] == 2
    assert curve(cluster, "two-nodes") == [
        pytest.approx(pair, abs=TOLERANCE) for pair in curve(cluster, "one-node")
    ]


@pytest.mark.long
def test_a_worker_that_dies_ends_the_job_which_is_queued_again(cluster):
    name = cluster.experiment("widow", training__epochs=12)
    job = cluster.submit(name, grid=["--nodes", 2])
    saved = "runs/widow/0001*/checkpoints/000001*"
    cluster.until(lambda: list(cluster.tree.glob(saved)), "epoch 1")
    workers = cluster.processes(job, "bin/cloudmask-grid", "--data")
    second = next(p for p in workers if p.environ()["SLURM_PROCID"] == "1")
    second.kill()
    cluster.wait(job)
    assert "attempt 1 of 10: queued again" in cluster.log(f"{job}_1")
    assert cluster.result("widow")[0]["training"]["attempts"] == 2


@pytest.mark.long
def test_scaling_makes_the_table(cluster):
    config = cluster.tree / "tiny.yaml"
    config.write_text("name: tiny\nmodel: {filters: 4}\n")
    job = cluster.batch(
        "slurm/scaling.sbatch", arguments=["tiny.yaml"], grid=["--nodes", 2], CLOUDMASK_BATCH="4"
    )
    cluster.wait(job)
    assert {path.parent.name for path in cluster.tree.glob("runs/scaling/*/result.json")} == {
        "strong-1",
        "strong-2",
        "weak-2",
    }
    with (cluster.tree / "runs/scaling/report/tables/scaling.csv").open() as file:
        rows = list(csv.DictReader(file))
    kinds = [(row["runs"].rpartition(" · ")[2], row["workers"]) for row in rows]
    assert sorted(kinds) == [
        ("batch per worker 4", "1"),
        ("batch per worker 4", "2"),
        ("global batch 4", "1"),
        ("global batch 4", "2"),
    ]
    assert all(float(row["patches_per_second"]) > 0 for row in rows)
    log = cluster.log(job)
    assert "efficiency" in log
