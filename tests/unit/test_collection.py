"""Whatever is in the files of a run: it is listed, and the report of the others is made."""

import json
import os
import shutil

import pytest

from cloudmask.record import provenance
from cloudmask.record.events import EventLog
from cloudmask.record.history import Epoch, write_history
from cloudmask.record.run_directory import RunDirectory
from cloudmask.report import tables
from cloudmask.report.collection import collect
from cloudmask.report.document import build
from cloudmask.report.notebook import notebook
from cloudmask.report.output import write_report

SCORES = {
    "accuracy": 0.9,
    "iou": 0.8,
    "precision": 0.8,
    "recall": 0.8,
    "f1": 0.8,
    "skill": 0.7,
    "brier": 0.1,
    "calibration_error": 0.1,
}
RESULT = {
    "schema": 1,
    "status": "success",
    "experiment": {
        "name": "paper",
        "seed": 1,
        "training": {"epochs": 2, "batch_size": 4, "learning_rate": 0.001},
        "early_stopping": {"enabled": True, "patience": 5},
    },
    "training": {
        "epochs_run": 2,
        "best_epoch": 2,
        "stopped_early": False,
        "accuracy": 0.9,
        "loss": 0.3,
        "val_accuracy": 0.8,
        "val_loss": 0.4,
        "seconds": 20.0,
        "seconds_per_epoch": 10.0,
        "first_epoch_seconds": 11.0,
        "tracing_seconds": 1.0,
        "patches_per_second": 12.0,
        "data_wait_fraction": 0.1,
        "staging_seconds": 3.0,
        "attempts": 1,
    },
    "inference": {
        **SCORES,
        "tiling": "whole",
        "computed_in": "float32",
        "scenes": 2,
        "accuracy_per_scene": {"S3A_a": 0.85, "S3A_b": 0.95},
        "pooled": SCORES,
        "confusion": {"hits": 9, "false_alarms": 1, "misses": 1, "rejections": 9},
        "calibration": [{"probability": 0.5, "cloud": 0.4, "pixels": 20}],
        "threshold": 0.5,
        "truth": "bayes",
        "nan": "ignore",
        "seconds_per_scene": 0.5,
        "seconds_per_scene_all": 0.7,
        "baselines": {"threshold test": SCORES},
    },
    "system": {"host": "node1", "cpu": "EPYC", "gpu": "V100", "gpus": 1, "nodes": 1, "replicas": 1},
    "energy": {"joules": 1000.0},
}
VALUES = {
    "null": "null",
    "text": '"x"',
    "formula": r'"=1+1|<b>\n\ud800 $\\frac$"',
    "list": "[1]",
    "dict": '{"a": 1}',
    "inf": "1e400",
    "nan": "NaN",
    "negative": "-1",
    "zero": "0",
    "huge": "1e300",
    "long": "9" * 400,
    "true": "true",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run directory with every file that a report reads."""
    run = RunDirectory(tmp_path_factory.mktemp("whole") / "run")
    run.path.mkdir()
    run.config.write_text("name: paper\n")
    run.result.write_text(json.dumps(RESULT))
    write_history(run.history, [Epoch(n, 0.5, 0.8, 0.5, 0.8, 10.0, 9.0, 12.0, 0.1) for n in (1, 2)])
    provenance.write(run.provenance, provenance.collect(["test"], {"checksum": "ab" * 32}))
    run.telemetry.write_text("time\n")
    run.scenes_table.write_text("name\n")
    run.summary.write_text(
        "# csv,timer,status,time,sum,start,tag,msg,uname.node,user\n"
        "# csv,init,ok,1,1,x,t,None,n,u\n"
    )
    with EventLog(run.log) as log:
        log.start("init")
        log.stop("init")
        log.start("run")
        log.start("epoch", epoch_num=1)
        log.stop("epoch", epoch_num=1)
        log.stop("run", status="success")
        log.result({"training": {"history": {"loss": [1.0]}}, "inference": {"accuracy": 0.9}})
    return run


def test_a_history_that_ends_before_the_result_becomes_a_note(tmp_path, whole):
    folder, (run,) = _runs(tmp_path, whole, 1)
    lines = run.history.read_text().splitlines()
    run.history.write_text("\n".join(lines[:2]) + "\n")
    found = {r.path: r.notes for r in collect([folder], with_published=False).runs}
    (note,) = [note for note in found[str(run.path)] if "history" in note]
    assert note == "history.csv is damaged (has 1 epoch, result.json has 2)"


def _runs(tmp_path, whole, count):
    """An intact run, and as many copies to be spoiled."""
    runs = [RunDirectory(tmp_path / "runs" / f"{number}") for number in range(count + 1)]
    for run in runs:
        shutil.copytree(whole.path, run.path, symlinks=True)
    return tmp_path / "runs", runs[1:]


def _leaves(tree, where=()):
    """Where each key is, those of dictionaries and of lists included."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        yield (*where, key)
        if isinstance(value, (dict, list)):
            yield from _leaves(value, (*where, key))


def _spoiled(tree, where, text):
    """The JSON of a tree with the text of another value at one place."""
    tree = json.loads(json.dumps(tree))
    *parents, key = where
    inner = tree
    for parent in parents:
        inner = inner[parent]
    inner[key] = "HERE"
    return json.dumps(tree).replace('"HERE"', text)


def _report(folder, tmp_path):
    """The report of a folder, as the command makes it, without its figures."""
    found = collect([folder], with_published=False)
    for table in tables.BUILDERS:
        made = table(found)
        made.to_markdown()
        made.to_csv().encode()
    return found


@pytest.mark.parametrize("value", VALUES)
def test_no_value_in_a_result_is_fatal(tmp_path, whole, value):
    places = list(_leaves(RESULT))
    folder, runs = _runs(tmp_path, whole, len(places))
    for run, where in zip(runs, places, strict=True):
        run.result.write_text(_spoiled(RESULT, where, VALUES[value]))
    found = _report(folder, tmp_path)
    # Those that are not shown are listed.
    assert len(found.runs) + len(found.damaged) == len(runs) + 1
    assert "0" in {run.name for run in found.runs}
    assert all("\n" not in reason for _, reason in found.damaged)


# The others take other places for the same reasons; each report takes its time.
FIRST = ("null", "formula", "negative", "huge")


@pytest.mark.slow
@pytest.mark.parametrize(
    "value",
    [value if value in FIRST else pytest.param(value, marks=pytest.mark.long) for value in VALUES],
)
def test_the_whole_report_of_them_is_made(tmp_path, whole, value):
    # A sixth of them: figures take time.
    places = list(_leaves(RESULT))[list(VALUES).index(value) % 6 :: 6]
    folder, runs = _runs(tmp_path, whole, len(places))
    for run, where in zip(runs, places, strict=True):
        run.result.write_text(_spoiled(RESULT, where, VALUES[value]))
    out = tmp_path / "report"
    write_report(build(collect([folder])), out, notebook([folder], out, True))
    assert "<b>" not in (out / "tables" / "runs.csv").read_text().replace("'=1+1|<b>", "")


@pytest.mark.parametrize("value", VALUES)
def test_no_value_of_the_provenance_is_fatal(tmp_path, whole, value):
    tree = json.loads(whole.provenance.read_text())
    places = list(_leaves(tree))
    folder, runs = _runs(tmp_path, whole, len(places))
    for run, where in zip(runs, places, strict=True):
        run.provenance.write_text(_spoiled(tree, where, VALUES[value]))
    found = _report(folder, tmp_path)
    assert len(found.runs) + len(found.damaged) == len(runs) + 1


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("own", [True, False], ids=["own", "other"])
def test_no_value_of_an_event_is_fatal(tmp_path, whole, value, own):
    """In a run's log, and in one that stands alone."""
    lines = whole.log.read_text().splitlines()
    spoiled = []
    for number, line in enumerate(lines):
        tree = json.loads(line.partition(" ")[2])
        for where in _leaves(tree):
            event = ":::MLLOG " + _spoiled(tree, where, VALUES[value])
            spoiled.append([*lines[:number], event, *lines[number + 1 :]])
    folder, runs = _runs(tmp_path, whole, len(spoiled))
    for run, content in zip(runs, spoiled, strict=True):
        run.log.write_text("\n".join(content) + "\n")
        if not own:
            run.result.unlink()
            run.config.unlink()
    found = _report(folder, tmp_path)
    listed = len(found.runs) + len(found.damaged)
    # Alone, the stop-watch of each counts as a run of its own.
    assert listed == len(runs) + 1 if own else listed > len(runs)


FILES = ("result", "history", "provenance", "log", "summary", "telemetry", "scenes_table", "config")
CONTENTS = {
    "nothing": b"",
    "zeros": bytes(1000),
    "noise": bytes(range(256)) * 20,
    "deep": b"[" * 200_000,
    "deep_event": b':::MLLOG {"key": ' + b"[" * 200_000,
    "cell": b"epoch,loss,accuracy,val_loss,val_accuracy,seconds\n1,1e400,nan,-1,1e300,x\n",
    "epochs": b"epoch,loss,accuracy,val_loss,val_accuracy,seconds\n1,1,1,1,1,1e300\n",
    "infinite": b"epoch,loss,accuracy,val_loss,val_accuracy,seconds\n1,1,1,1,1,inf\n",
    "wide": b"epoch," + b"x" * 200_000 + b"\n1,2\n",
    "timer": b"# csv,timer,sum,tag,uname.node,user\n# csv,init,1e400,t,n,u\n# csv,training\n",
    "year": b':::MLLOG {"key": "init_start", "value": 1, "metadata": {}, "time_ms": 1e25}\n',
}


@pytest.mark.parametrize("content", CONTENTS)
def test_no_content_of_a_file_is_fatal(tmp_path, whole, content):
    folder, runs = _runs(tmp_path, whole, len(FILES))
    for run, name in zip(runs, FILES, strict=True):
        getattr(run, name).write_bytes(CONTENTS[content])
    found = _report(folder, tmp_path)
    assert len(found.runs) + len(found.damaged) == len(runs) + 1
    assert len(found.damaged) >= 1


def _link(path):
    path.symlink_to(path.name)


def _dangling(path):
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, _link, _dangling])
def test_nothing_in_the_place_of_a_file_is_fatal(tmp_path, whole, make):
    folder, runs = _runs(tmp_path, whole, len(FILES))
    for run, name in zip(runs, FILES, strict=True):
        getattr(run, name).unlink()
        make(getattr(run, name))
    (folder / "loop").symlink_to(folder)
    found = _report(folder, tmp_path)
    listed = len(found.runs) + len(found.damaged) + len(found.unfinished)
    # One without a configuration counts as another evaluation of the intact run.
    assert listed >= len(runs)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_listed(tmp_path, whole):
    folder, (run, closed) = _runs(tmp_path, whole, 2)
    run.result.chmod(0)
    closed.path.chmod(0)
    try:
        found = _report(folder, tmp_path)
    finally:
        closed.path.chmod(0o755)
    assert len(found.damaged) == 2


NAMES = [
    "a\nb",
    "=1+1",
    "a|b`c",
    "<script>x</script>",
    "$\\frac$",
    os.fsdecode(b"\xff\xfe"),
    "\x1b[2J",
]


@pytest.mark.slow
def test_names_of_folders_are_shown_and_nothing_else(tmp_path, whole):
    folder, runs = _runs(tmp_path, whole, 2 * len(NAMES))
    for run, name in zip(runs, NAMES * 2, strict=True):
        second = run in runs[len(NAMES) :]
        path = run.path.rename(folder / f"{name}{' damaged' if second else ''}".replace("/", ":"))
        if second:
            (path / "result.json").write_text("x")
    found = collect([folder], with_published=False)
    assert (len(found.runs), len(found.damaged)) == (len(NAMES) + 1, len(NAMES))
    assert all("\n" not in path + reason for path, reason in found.damaged)
    out = tmp_path / "report"
    write_report(build(found), out, notebook([folder], out, True))
    # One script is the page's own; a folder is called so, too.
    assert (out / "index.html").read_text().count("<script>") == 1
    text = (out / "report.md").read_text()
    assert "\\<script" in text
    assert "\n=1" not in (out / "tables" / "runs.csv").read_text()
