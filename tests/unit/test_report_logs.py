"""What the report reads out of the logs of others, against the logs themselves."""

import json
import re
import time

import numpy as np
import pytest

from cloudmask.report.alarms import alarms
from cloudmask.report.collection import collect
from cloudmask.report.tables import fits_table, groups_table, runs_table, times_table
from cloudmask.report.timing import machines

CARDS = {"A100", "K80", "P100", "RTX2080", "V100"}


@pytest.fixture(scope="module")
def uva(shared):
    """Everything in the folder of published logs."""
    return collect([shared / "published"])


@pytest.fixture
def nyu(tmp_path):
    """Write a log as the code of NYU's submission does; returns its folder."""

    def write(name, epochs, accuracies, extra=()):
        folder = tmp_path / "logs" / name
        folder.mkdir(parents=True, exist_ok=True)
        curve = [0.5 + 0.4 * k / (k + epochs) for k in range(epochs)]
        history = dict.fromkeys(("loss", "accuracy", "val_loss", "val_accuracy"), curve)
        last = dict.fromkeys(history, curve[-1])
        result = {
            "name": "cloudmask",
            "training": {"samples": 970, **last, "history": history},
            "inference": {"avg_accuracy": float(np.mean(accuracies)), "accuracy": accuracies},
            "inference_analyze": {"number": len(accuracies), "time_per_inference": "1.46"},
        }
        events = [
            ("POINT_IN_TIME", "submission_benchmark", "CloudMask", 0),
            ("POINT_IN_TIME", "submission_org", "NYU", 0),
            ("POINT_IN_TIME", "submission_platform", "v100", 0),
            ("INTERVAL_START", "eval_start", "Start: Training", 1),
            ("INTERVAL_END", "eval_stop", "Stop: Training", 1 + 40 * epochs),
            ("POINT_IN_TIME", "result", result, 2 + 40 * epochs),
            *extra,
        ]
        lines = [
            ":::MLLOG "
            + json.dumps(
                {
                    "namespace": "",
                    "time_ms": 1000 * at,
                    "event_type": kind,
                    "key": key,
                    "value": value,
                    "metadata": {"file": "/x/experiments/greene/slstr_cloud.py", "lineno": 1},
                }
            )
            for kind, key, value, at in events
        ]
        with (folder / "mlperf_cloudmask.log").open("a") as log:
            log.write("\n".join(lines) + "\n")
        return folder

    return write


def test_published_times_are_those_of_the_files(shared, uva):
    """Each figure read a second time, by regular expressions on the raw text."""
    logs = {run.name: run for run in uva.runs if run.origin == "log"}
    assert len(logs) == len(list((shared / "published").glob("mlperf_*.log"))) == 12
    for name, run in logs.items():
        text = (shared / "published" / f"slstr_stopwatch_benchmark_{name}.log").read_text()
        for part in ("training", "inference"):
            seconds = float(re.search(rf"# csv,{part},ok,([\d.]+)", text)[1])
            assert run.times[part] == seconds
        text = (shared / "published" / f"cloudMask_Log_{name}.log").read_text()
        card, epochs = name.split("_")
        assert (run.device, run.epochs_run) == (card.upper(), int(epochs))
        assert run.seconds_per_epoch == float(re.search(r"time_per_epoch=([\d.]+)", text)[1])
        # The log's own time per epoch is the total by the epochs requested.
        assert run.seconds_per_epoch * run.epochs_run == pytest.approx(run.times["training"], 1e-3)
        assert run.test.seconds_per_scene == float(re.search(r"inference=([\d.]+)", text)[1])
        assert (run.source, run.workers) == ("UVA Rivanna", 2)
    assert {run.device for run in logs.values()} == CARDS


def test_fixed_cost_of_the_published_a100_runs(uva):
    """About 34 s per epoch and 700 s before: the first pass over the shared file system."""
    line = next(m.line for m in machines(uva.runs) if "A100" in m.label)
    x, y = [10, 30, 50], [1052.665, 1696.652, 2421.63]
    assert (line.slope, line.fixed) == pytest.approx(tuple(np.polyfit(x, y, 1)))
    assert 34 < line.slope < 35
    assert 680 < line.fixed < 730
    shown = {row["machine"]: row for row in fits_table(uva).rows}
    assert shown["UVA Rivanna · A100 ×2"]["fixed_seconds"] == line.fixed
    assert shown["UVA Rivanna · V100 ×2"]["fixed_seconds_error"] is None


def test_the_paper_stands_beside_with_its_figures(uva):
    rows = [row for row in runs_table(uva).rows if row["source"] == "NYU Greene"]
    assert [row["epochs_run"] for row in rows] == [200, 147, 162, 200, 183]
    assert [row["seconds_per_epoch"] for row in rows] == [142.47, 98.75, 108.16, 126.44, 121.21]
    accuracies = [(row["train_accuracy"], row["test_accuracy"]) for row in rows]
    assert accuracies == [
        (0.895950, 0.884168),
        (0.908647, 0.896051),
        (0.897208, 0.890086),
        (0.897057, 0.889887),
        (0.896541, 0.885192),
    ]
    (group,) = [row for row in groups_table(uva).rows if row["group"].startswith("NYU")]
    # The paper's text: an average of 0.889 in 5 runs.
    assert round(group["test_accuracy_mean"], 3) == 0.889
    assert "arXiv:2401.08636" in rows[0]["path"]


def test_alarms_of_the_published_runs(uva):
    raised = alarms(uva)
    (same,) = [a for a in raised if a.title == "5 different runs, one result"]
    assert same.level == "alarm"
    assert "published notebook 100 epochs" in same.text
    five = [run for run in uva.runs if run.source == "published notebook"]
    assert [round(run.test_accuracy, 6) for run in five] == [0.809146] * 5
    assert any(a.title == "Failed compliance: 12 logs" and "run_start" in a.text for a in raised)
    (missing,) = [a for a in raised if a.title == "3 of 15 runs missing"]
    assert "K80 50; RTX2080 10; V100 30" in missing.text
    assert any("nvidia gtx-2" in a.text for a in raised)
    (note,) = [a for a in raised if "avg. train time" in a.title]
    assert "0.63 to 0.71" in note.text
    assert "about 40 s" in note.text


def test_parts_of_the_published_time_are_not_invented(uva):
    row = next(row for row in times_table(uva).rows if "A100 ×2 · 10" in row["group"])
    assert row["training"] == 1052.665
    assert "first_epoch" not in row


def test_nyu_log(nyu):
    accuracies = [0.95, 0.9, 0.85]
    (run,) = collect([nyu("run_1", 7, accuracies)], with_published=False).runs
    assert (run.source, run.device, run.epochs_run) == ("NYU Greene", "v100", 7)
    assert run.history["val_loss"][0] == 0.5
    assert run.test_accuracy == pytest.approx(0.9)
    assert run.times["training"] == 280
    assert run.test.seconds_per_scene == 1.46


def test_one_model_under_five_names(nyu, tmp_path):
    """Runs of 1 to 100 epochs with the very same accuracies: the fault of a published notebook."""
    for epochs in (1, 10, 30, 50, 100):
        nyu(f"card_name_a100_epoch_{epochs}_repeat_1", epochs, [0.95, 0.9, 0.85])
    found = collect([tmp_path / "logs"], with_published=False)
    assert {(run.device, run.epochs_run) for run in found.runs} == {
        ("A100", epochs) for epochs in (1, 10, 30, 50, 100)
    }
    (same,) = [a for a in alarms(found) if "one result" in a.title]
    assert same.level == "alarm"
    for number, run in enumerate(found.runs):
        run.test.per_scene["scene 1"] -= number * 1e-6
    assert not any("one result" in a.title for a in alarms(found))


def test_appended_log_is_two_runs(nyu):
    nyu("twice", 3, [0.9, 0.8])
    folder = nyu("twice", 5, [0.91, 0.82])
    runs = collect([folder], with_published=False).runs
    assert [(run.name, run.epochs_run) for run in runs] == [("twice #1", 3), ("twice #2", 5)]


def test_damaged_logs_are_listed(nyu, tmp_path):
    good = nyu("good", 3, [0.9, 0.8])
    bad = nyu("bad", 3, [0.9, 0.7]) / "mlperf_cloudmask.log"
    bad.write_text(bad.read_text()[:-40])
    (tmp_path / "logs" / "mlperf_empty.log").write_text("")
    found = collect([tmp_path / "logs"], with_published=False)
    assert [run.name for run in found.runs] == [good.name]
    ((path, reason),) = found.damaged
    assert path.endswith("bad")
    assert "line 6" in reason


@pytest.mark.parametrize("value", [None, 3, "x", [], {"training": 1}, {"inference": [1]}])
def test_a_strange_result_event_is_no_fault(nyu, value):
    folder = nyu("odd", 2, [0.9, 0.8])
    log = folder / "mlperf_cloudmask.log"
    lines = log.read_text().splitlines()
    event = json.loads(lines[-1].partition(" ")[2])
    event["value"] = value
    log.write_text("\n".join([*lines[:-1], f":::MLLOG {json.dumps(event)}"]))
    (run,) = collect([folder], with_published=False).runs
    assert run.test_accuracy is None


def test_a_log_of_this_project_is_read_like_any_other(tmp_path):
    from cloudmask.record.events import EventLog

    begin = time.time()
    with EventLog(tmp_path / "result-1.txt") as log:
        log.start("staging", begin)
        log.stop("staging", begin + 12)
        for epoch in (1, 2):
            log.start("epoch", epoch_num=epoch)
            log.stop("epoch", epoch_num=epoch)
        log.result({"training": {"accuracy": 0.9}, "inference": {"accuracy": 0.88}})
    (run,) = collect([tmp_path], with_published=False).runs
    assert run.times["staging"] == pytest.approx(12, abs=0.1)
    assert (run.epochs_run, run.accuracy, run.test_accuracy) == (2, 0.9, 0.88)
