"""From scenes to pictures as jobs that wait for each other, as `make submit` does it."""

import os
import re
import shutil
import subprocess

from support import cluster as slurm


def test_prepare_train_evaluate(cluster, scenes):
    for part in ("training", "inference"):
        shutil.copytree(scenes / part, cluster.tree / "data" / part)
    subprocess.run(["chown", "-R", slurm.machine.USER, cluster.tree / "data"], check=True)
    # A site of one's own: a file. Without scenes: of the overlay, and data/inference.
    site = (slurm.machine.REPOSITORY / "slurm/sites/test-cluster.yaml").read_text()
    site = re.sub("(?m)^(overlay|scenes):.*$", "", site) + "overlay: $CLOUDMASK_TEST/made.ext3\n"
    (cluster.tree / "mine.yaml").write_text(site)
    name = cluster.experiment("chained", repeats=2, training__epochs=1)
    lines = chain_lines(cluster, name)
    assert [line.split("=")[0] for line in lines] == ["prepare", "train", "evaluate"]
    assert "--dependency=afterok:$prepare" in lines[1] and "--array=1-2" in lines[1]
    assert "--dependency=aftercorr:$train" in lines[2] and "--array=1-2" in lines[2]
    assert not (cluster.tree / "runs/chained").exists()
    # The printed lines are a script.
    script = "\n".join([*lines, "echo $prepare $train $evaluate"])
    done = cluster.run("bash", "-euc", script)
    assert done.returncode == 0, done.stderr
    jobs = done.stdout.split()
    cluster.submitted += jobs
    cluster.wait(*jobs)
    assert (cluster.root / "made.ext3").exists()
    results = cluster.result("chained")
    assert [result["inference"]["scenes"] for result in results] == [2, 2]
    assert len(list(cluster.tree.glob("runs/chained/*/evaluation/pictures/*.png"))) >= 4
    # There is an overlay now.
    cluster.experiment("chained", repeats=3, training__epochs=1)
    train, evaluate = chain_lines(cluster, name)
    assert "--array=3 " in train and "--array=3 " in evaluate


def chain_lines(cluster, name, *options):
    words = [slurm.GRID, "chain", name, "--site", "mine.yaml", "--gpu", "v100", *options]
    shown = subprocess.run(
        [*map(str, words), "--dry-run"],
        cwd=cluster.tree,
        env=os.environ | {"CLOUDMASK_TEST": str(cluster.root)},
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stderr
    return shown.stdout.splitlines()
