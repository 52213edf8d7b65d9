"""Alarms: each raised by what it is for, and by nothing else."""

import json
import shutil

import numpy as np
import pytest
from support.reports import RUNS, edit

from cloudmask.record.run_directory import RunDirectory
from cloudmask.report import collection
from cloudmask.report.alarms import alarms
from cloudmask.report.collection import collect
from cloudmask.report.document import build


def titles(found, level=None):
    return [alarm.title for alarm in alarms(found) if level in (None, alarm.level)]


def test_a_best_of_several_is_to_be_declared(runs):
    (alarm,) = [a for a in alarms(collect([runs], False)) if a.title.startswith("Best of")]
    assert (alarm.level, alarm.title) == ("note", "Best of several: 2 groups")
    known = [RunDirectory(runs / f"full-{n}").read_result().inference.accuracy for n in (1, 2)]
    assert f"of 2 the best has {max(known):.4f}, the mean is {np.mean(known):.4f}" in alarm.text
    # Of single runs there is no best.
    for name in ("full-2", "stop-2"):
        shutil.rmtree(runs / name)
    assert not [a for a in alarms(collect([runs], False)) if a.title.startswith("Best of")]


def test_good_runs_raise_no_alarm(real_runs):
    found = collect([real_runs], with_published=False)
    assert not found.damaged
    # A tree with changes is reported while somebody works on it.
    assert set(titles(found, "alarm") + titles(found, "warning")) <= {
        "Code with uncommitted changes"
    }


def test_one_model_evaluated_twice(runs):
    first = json.loads((runs / "stop-2" / "result.json").read_text())
    edit(
        runs / "full-1" / "result.json",
        lambda tree: tree["inference"].update(first["inference"]),
    )
    shutil.copy(runs / "stop-2" / "model.keras", runs / "full-1" / "model.keras")
    (alarm,) = [a for a in alarms(collect([runs])) if "one result" in a.title]
    assert (alarm.level, "equal byte by byte" in alarm.text) == ("alarm", True)


def test_a_copied_run_is_distinguished_from_a_true_repeat(runs):
    shutil.copytree(runs / "stop-1", runs / "stop-3")
    assert "2 runs, copies of one" in titles(collect([runs]), "alarm")
    history = runs / "stop-3" / "history.csv"
    lines = [line.split(",") for line in history.read_text().splitlines()]
    for cells in lines[1:]:
        cells[5] = str(float(cells[5]) + 0.1)  # the seconds of another day
    history.write_text("\n".join(",".join(cells) for cells in lines) + "\n")
    found = collect([runs])
    assert "2 runs, copies of one" not in titles(found)
    assert "2 equal runs" in titles(found, "note")


def test_a_network_that_learned_nothing_is_reported(runs):
    confusion = {"hits": 9, "false_alarms": 5, "misses": 0, "rejections": 0}
    first = json.loads((runs / "stop-1" / "result.json").read_text())["inference"]
    for name in ("full-1", "full-2"):
        edit(
            runs / name / "result.json",
            lambda tree: tree["inference"].update(first | {"confusion": confusion}),
        )
    raised = titles(collect([runs]))
    assert "2 runs learned nothing" in raised
    assert not any("one result" in title for title in raised)


def test_mixed_code_data_and_scenes(runs):
    edit(
        runs / "stop-2" / "provenance.json",
        lambda tree: tree["git"].update(commit="0123456789abcdef", dirty=False),
    )
    assert "Mixed code versions" in titles(collect([runs]), "warning")
    edit(runs / "full-2" / "provenance.json", lambda t: t["data"].update(checksum="f" * 64))
    edit(runs / "full-1" / "result.json", lambda t: t["inference"]["accuracy_per_scene"].popitem())
    raised = titles(collect([runs]), "warning")
    assert {"Mixed training data", "Different test scenes"} <= set(raised)


def test_failed_compliance(runs):
    log = runs / "full-1" / "mlperf.log"
    lines = [line for line in log.read_text().splitlines() if '"run_stop"' not in line]
    log.write_text("\n".join(lines) + "\n")
    (alarm,) = [a for a in alarms(collect([runs])) if "compliance" in a.title]
    assert (alarm.level, alarm.title) == ("alarm", "Failed compliance: 1 log")
    assert "full-1: 1 required key missing: run_stop" in alarm.text


def test_a_log_in_the_wrong_order_fails_compliance(runs, monkeypatch):
    pytest.importorskip("scipy")  # the checker wants it
    log = runs / "full-1" / "mlperf.log"
    lines = log.read_text().splitlines(keepends=True)
    first = next(n for n, line in enumerate(lines) if '"epoch_start"' in line)
    lines[first], lines[first + 1] = lines[first + 1], lines[first]
    log.write_text("".join(lines))
    (alarm,) = [a for a in alarms(collect([runs])) if "compliance" in a.title]
    assert (alarm.level, alarm.title) == ("alarm", "Failed compliance: 1 log")
    assert "epochs are numbered 1, 2" in alarm.text
    # Of many logs the last are not looked through, and it reports so.
    monkeypatch.setattr(collection, "FULLY_CHECKED", 1)
    assert "3 logs checked for keys only" in titles(collect([runs]), "note")


def test_missing_damaged_unfinished_and_set_aside(runs):
    planned = [{"index": k, "directory": d, "parameters": {}} for k, d in enumerate(RUNS, 1)]
    planned.append({"index": 5, "directory": "full-3", "parameters": {}})
    (runs / "plan.json").write_text(json.dumps({"schema": 1, "rows": planned}))
    (runs / "full-1" / "result.json").write_text("{")
    (runs / "full-2" / "result.json").unlink()
    shutil.copytree(runs / "stop-1", runs / "stop-1.1")
    (runs / "stop-2" / "history.csv").write_text("epoch,loss\n1,x\n")
    found = collect([runs], with_published=False)
    assert [path for path, _ in found.damaged] == [str(runs / "full-1")]
    assert found.unfinished == [runs / "full-2"]
    raised = titles(found)
    assert "3 of 5 planned runs missing" not in raised
    assert "2 of 5 planned runs missing" in raised
    assert {"1 damaged", "1 not finished", "1 finished run set aside"} <= set(raised)
    assert sum(len(group.runs) for group in found.groups) == 2
    assert any("history.csv is damaged" in a.text for a in alarms(found))
    report = build(found)
    assert any(drawing.figure for drawing in report.drawings)


@pytest.mark.parametrize(
    ("others", "shared"),
    [
        ({"jobs": ["13"]}, True),
        ({"busy_processes": 2}, True),
        ({"gpu_processes": 1}, True),
        ({"jobs": [], "busy_processes": 0, "gpu_processes": 0}, False),
        (None, False),
    ],
)
def test_runs_on_shared_nodes_are_told(tmp_path, others, shared):
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    system = {} if others is None else {"other_jobs": others}
    result = {"schema": 1, "status": "success", "experiment": {"name": "x"}, "system": system}
    (run / "result.json").write_text(json.dumps(result))
    (run / "config.yaml").write_text("name: x\n")
    found = collect([tmp_path / "runs"], with_published=False)
    assert [recorded.shared_node for recorded in found.runs] == [shared]
    assert ("1 run on shared nodes" in titles(found, "warning")) == shared
    told = [alarm.text for alarm in alarms(found) if "shared nodes" in alarm.title]
    assert all("were there at the beginning or the end" in text for text in told)
