"""What a plan would cost, by made-up earlier runs of known times."""

import json

import pytest

from cloudmask.experiments import cost, plan
from cloudmask.experiments.experiment import load_experiment
from cloudmask.record.history import Epoch, write_history


@pytest.fixture
def planned(tmp_path):
    path = tmp_path / "e.yaml"
    path.write_text("name: e\nparameters:\n  training.epochs: [10, 20]\n  gpu: [a100, v100]\n")
    return plan.preview(load_experiment(path), tmp_path / "runs")


def earlier_run(folder, name, gpu, seconds_per_epoch, gpus=1, filters=32):
    run = folder / "runs" / name
    run.mkdir(parents=True)
    result = {
        "schema": 1,
        "status": "success",
        "experiment": {"model": {"filters": filters}, "precision": "float32"},
        "training": {
            "epochs_run": 1,
            "best_epoch": 1,
            "seconds_per_epoch": seconds_per_epoch,
            "staging_seconds": 30.0,
            "tracing_seconds": 6.0,
        },
        "inference": {
            "accuracy": 0.9,
            "scenes": 4,
            "seconds_per_scene_all": 3.0,
            "tracing_seconds": 12.0,
        },
        "system": {"gpu": gpu, "gpus": gpus, "cpu": "Some CPU"},
    }
    (run / "result.json").write_text(json.dumps(result))
    # 16 patches in 4 seconds of a longer epoch, validation being the rest.
    write_history(run / "history.csv", [Epoch(1, 0.5, 0.9, 0.5, 0.9, 5.0, 4.0, 4.0, 0.0)])


def printed(planned, tmp_path, data=None):
    return "\n".join(cost.lines(planned, tmp_path / "runs", data))


def test_epochs_and_what_is_needed_besides(planned, tmp_path):
    assert printed(planned, tmp_path).endswith("unknown for 4 rows, no earlier run is like them")
    for number, seconds in enumerate((90.0, 100.0, 900.0)):
        earlier_run(tmp_path, f"a{number}", "NVIDIA A100-SXM4", seconds)
    earlier_run(tmp_path, "other network", "NVIDIA A100-SXM4", 1.0, filters=2)
    earlier_run(tmp_path, "a CPU", None, 1.0)
    # The median of three, 30 epochs in two rows, and 60 s for each.
    lines = printed(planned, tmp_path)
    assert f"at most {(30 * 100 + 2 * 60) / 3600:.3g} GPU hours for 2 rows" in lines
    assert "by 3 runs of this network on NVIDIA A100-SXM4" in lines
    assert "16 training patches an epoch (as there; --data FILE.h5 scales)" in lines
    assert "unknown for 2 rows" in lines
    # Each card of a run counts.
    earlier_run(tmp_path, "v", "Tesla V100", 100.0, gpus=2)
    assert f"{(30 * 100 + 2 * 60 + 2 * (30 * 100 + 2 * 60)) / 3600:.3g} GPU" in printed(
        planned, tmp_path
    )


def test_in_proportion_to_the_patches(planned, tmp_path, store_path):
    """The test's store trains on 16 of its 24 patches, as the earlier run; then on half as many."""
    earlier_run(tmp_path, "a", "NVIDIA A100-SXM4", 100.0)
    history = tmp_path / "runs/a/history.csv"
    same, halved = ((30 * 100 / n + 2 * 60) / 3600 for n in (1, 2))
    assert f"at most {same:.3g} GPU" in printed(planned, tmp_path, store_path)
    history.write_text(history.read_text().replace("4.0,4.0", "4.0,8.0"))
    lines = printed(planned, tmp_path, store_path)
    assert f"at most {halved:.3g} GPU" in lines
    assert f"32 training patches an epoch (scaled to {store_path})" in lines


def test_without_a_history_a_run_is_of_no_use(planned, tmp_path):
    earlier_run(tmp_path, "a", "NVIDIA A100-SXM4", 100.0)
    (tmp_path / "runs/a/history.csv").write_text("")
    assert "unknown for 4 rows" in printed(planned, tmp_path)
