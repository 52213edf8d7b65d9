"""Job arrays: staging once per node, a directory for each task, tasks that are killed."""

import fcntl
import json
import subprocess
import sys
from pathlib import Path

import pytest


def test_five_repeats_on_two_nodes(cluster):
    name = cluster.experiment("five", repeats=5)
    job = cluster.submit(name, "--exclude=n[3-6]", gpu="v100")
    # The last task has the array's own number; queued again, it must not take the others along.
    last = f"{job}_5"
    assert cluster.number(last) == job
    cluster.until(lambda: "attempt 1" in cluster.log(last), "the last task's row")
    cluster.run("scancel", "--batch", "--signal=USR1", last)
    cluster.wait(job)
    restarts = [cluster.job(f"{job}_{index}")["Restarts"] for index in range(1, 6)]
    assert restarts == ["0", "0", "0", "0", "1"]
    results = cluster.result("five")
    assert len(results) == 5
    logs = [cluster.log(f"{job}_{index}") for index in range(1, 6)]
    # One GPU a node: three tasks of one node at least come one after the other.
    assert sum("copied in" in log for log in logs) <= 3  # once per node, and after the array's end
    assert sum("found another task's copy" in log for log in logs) >= 2
    for log in logs:
        assert "preflight: ok" in log
        assert "global batch 4 on 1 x CPU of 1 node, learning rate 0.001" in log
    seconds = [result["training"]["staging_seconds"] for result in results]
    assert all(0 <= each < 60 for each in seconds) and any(seconds)
    assert all(result["inference"]["scenes"] == 2 for result in results)
    models = list(cluster.tree.glob("runs/five/*/model.keras"))
    assert len({(model.stat().st_ino, model.stat().st_mtime_ns) for model in models}) == 5
    certificate_of_five(cluster.tree / "runs/five", cluster.tree.parent / "certified")


def certificate_of_five(runs, out):
    """Synthetic scenes are not the paper's: accuracies stay untested, and the reason is told."""
    command = Path(sys.executable).with_name("cloudmask-report")
    done = subprocess.run(
        [command, runs, "--out", out, "--certificate"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    certified = json.loads((out / "certificate.json").read_text())
    verdicts = {claim["name"]: claim["these_runs"] for claim in certified["claims"]}
    assert verdicts["accuracy-band"]["outcome"] == "not testable"
    assert "2 synthetic scenes" in json.dumps(verdicts["accuracy-band"])
    assert verdicts["stopping-rule"]["outcome"] == "confirmed"


@pytest.mark.long
def test_eight_at_once_on_one_node_some_killed(cluster):
    """Of eight: 1 killed in training, 2 in evaluation, 3 and 4 (its shell) while staging."""
    name = cluster.experiment("eight", repeats=8, training__epochs=4)
    # Somebody copies, as the eight believe, so that all are caught while they wait for it.
    copying = hold_copying(cluster, "n3")
    job = cluster.submit(name, "--nodelist=n3")
    ids = {index: cluster.number(f"{job}_{index}") for index in range(1, 9)}

    def holder(index):
        return cluster.program(ids[index], "cloudmask-stage")

    for index in ids:
        cluster.until(lambda index=index: holder(index), "staging")
    cluster.until(lambda: len(holders(cluster, "n3")) == 8, "eight holders", every=0.1)
    holder(3).kill()
    shell = [p for p in cluster.processes(ids[4], "slurm_script") if p.name() == "bash"]
    shell[0].kill()
    copying.close()

    run = cluster.tree / "runs/eight"
    first, second = (
        cluster.until(lambda i=i: cluster.program(ids[i], "cloudmask-grid", "--data"), "training")
        for i in (1, 2)
    )
    cluster.until(lambda: list(run.glob("0001*/checkpoints/000001*")), "first epoch of row 1")
    first.kill()
    cluster.until(lambda: list(run.glob("0002*/model.keras")), "training of row 2", every=0.002)
    second.kill()
    assert not list(run.glob("0002*/result.json")), "evaluation was faster than this test"

    cluster.wait(job, _4="FAILED")
    assert len(cluster.result("eight")) == 7
    # Nothing was left to report the task whose shell was killed: status shows it, and it is begun
    # again.
    again = cluster.submit(name, "--nodelist=n3", index="4")
    cluster.wait(again)
    results = cluster.result("eight")
    assert len(results) == 8
    logs = {index: cluster.log(f"{job}_{index}") for index in ids}
    for index in (1, 2, 3):
        assert "attempt 1 of 10: queued again" in logs[index], logs[index]
        assert "attempt 2" in logs[index]
    assert "killed by SIGKILL" in logs[1]
    assert "continues after epoch" in logs[1]
    assert [result["training"]["attempts"] for result in results][:3] == [2, 2, 1]
    assert sum(log.count("copied in") for log in logs.values()) == 1


def hold_copying(cluster, node):
    """The lock of a node's copy, held as by somebody who copies; the file to close."""
    from cloudmask.overlay import manifest

    folder = cluster.root / "local" / node / "cloudmask-cloudmask-ci"
    content = folder / manifest.read(cluster.root / "patches.ext3").id
    done = cluster.run("mkdir", "-p", "-m", "700", folder)
    assert done.returncode == 0, done.stderr
    done = cluster.run("mkdir", "-p", content)
    lock = (content / ".copying").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    (content / ".copying").chmod(0o666)
    (content / ".kept").touch()  # nobody tidies it away
    (content / ".kept").chmod(0o666)
    return lock


def holders(cluster, node):
    return list((cluster.root / "local" / node).glob("*/leases/*/lock"))
