"""Tables of real runs against the runs' own files; damage, a thousand runs, the command."""

import csv
import json
import shutil
import time

import numpy as np
import pytest
from support.reports import RUNS, edit

from cloudmask.report import tables
from cloudmask.report.collection import collect
from cloudmask.report.document import build
from cloudmask.report.output import write_report


def rows_of(table):
    return {row["run"]: row for row in table.rows}


def test_rows_are_the_runs_own_figures(real_runs):
    found = collect([real_runs], with_published=False)
    rows = rows_of(tables.runs_table(found))
    assert set(rows) == set(RUNS)
    for name, row in rows.items():
        written = json.loads((real_runs / name / "result.json").read_text())
        assert row["test_accuracy"] == written["inference"]["accuracy"]
        assert row["train_accuracy"] == written["training"]["accuracy"]
        assert row["seconds_per_scene"] == written["inference"]["seconds_per_scene"]
        with (real_runs / name / "history.csv").open() as handle:
            history = list(csv.DictReader(handle))
        seconds = [float(epoch["seconds"]) for epoch in history]
        assert row["epochs_run"] == len(history)
        assert row["seconds_first_epoch"] == pytest.approx(seconds[0])
        assert row["seconds_later_epochs"] == pytest.approx(sum(seconds[1:]))
        assert row["seconds_per_epoch"] == pytest.approx(np.mean(seconds))
        assert row["seed"] == int(name[-1])


def test_groups_and_comparison(real_runs):
    found = collect([real_runs], with_published=False)
    groups = {row["group"]: row for row in tables.groups_table(found).rows}
    assert [row["runs"] for row in groups.values()] == [2, 2]
    for group in found.groups:
        known = [run.test_accuracy for run in group.runs]
        assert groups[group.label]["test_accuracy_mean"] == pytest.approx(np.mean(known))
        assert groups[group.label]["test_accuracy_sd"] == pytest.approx(np.std(known, ddof=1))
        assert groups[group.label]["test_accuracy_best"] == max(known)
    compared = tables.comparisons_table(found).rows
    tiling = next(row for row in compared if row["factor"] == "tiling")
    assert (tiling["n"], tiling["p_smallest"]) == ("2 pairs", 0.5)
    # They differ in two things, the limit of epochs as well.
    assert not any(row["factor"] == "early stopping" for row in compared)


def test_early_stopping_is_compared_where_nothing_else_differs(runs):
    for name in ("full-1", "full-2"):
        edit(
            runs / name / "result.json",
            lambda tree: tree["experiment"]["training"].update(epochs=9),
        )
    compared = tables.comparisons_table(collect([runs], with_published=False)).rows
    row = next(row for row in compared if row["factor"] == "early stopping")
    assert row["n"] == "2 + 2"
    assert row["p_smallest"] == pytest.approx(1 / 3)
    assert 1 / 3 <= row["p"] <= 1


def test_equal_repeats_are_one_observation(runs):
    """Three copies beside two runs: of accuracies there are two a side, of times five."""
    for name in ("full-1", "full-2"):
        edit(runs / name / "result.json", lambda t: t["experiment"]["training"].update(epochs=9))
    for number in (3, 4, 5):
        copy = shutil.copytree(runs / "stop-1", runs / f"stop-{number}")
        edit(
            copy / "result.json",
            lambda tree, n=number: tree["training"].update(seconds_per_epoch=float(n)),
        )
    compared = tables.comparisons_table(collect([runs], with_published=False)).rows
    sizes = {row["quantity"]: row["n"] for row in compared if row["factor"] == "early stopping"}
    assert sizes["test accuracy"] == "2 + 2"
    assert sizes["s per epoch"] in ("2 + 5", "5 + 2")


def test_a_gpu_is_compared_with_the_precision_it_brings(runs):
    cards = {"full": ("NVIDIA A100-SXM4-80GB", "bfloat16"), "stop": ("Tesla V100", "float16")}

    def change(tree, card):
        tree["system"].update(gpu=card[0], precision=card[1])
        tree["experiment"]["early_stopping"]["enabled"] = False
        tree["experiment"]["training"]["epochs"] = 9

    for name in RUNS:
        edit(runs / name / "result.json", lambda tree, card=cards[name[:4]]: change(tree, card))
    compared = tables.comparisons_table(collect([runs], with_published=False)).rows
    (row, *_) = [row for row in compared if row["factor"] == "device and precision"]
    assert (row["n"], row["effect"]) == ("2 + 2", None)
    assert not any(row["factor"] in ("device", "precision") for row in compared)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2}', '{"schema": 1, "status": "x"}'])
def test_no_content_of_a_result_is_fatal(runs, text):
    (runs / "full-1" / "result.json").write_text(text)
    build(collect([runs]))


@pytest.mark.parametrize("value", [None, "x", [], -1, {"a": 1}, 1e400])
def test_no_value_in_a_result_is_fatal(runs, value):
    def spoil(tree):
        for section in ("training", "inference", "system", "experiment"):
            for key in tree[section]:
                tree[section][key] = value

    edit(runs / "full-1" / "result.json", spoil)
    build(collect([runs]))


@pytest.mark.parametrize(
    "value", [10**400, "x", [1], {"a": 1}, -1, None], ids=lambda value: str(value)[:9]
)
def test_no_value_of_a_setting_is_fatal(runs, value):
    """Settings are of any type, since those of a newer program are kept."""

    def spoil(tree):
        tree["experiment"]["seed"] = value
        for key in tree["experiment"]["training"]:
            tree["experiment"]["training"][key] = value

    edit(runs / "full-1" / "result.json", spoil)
    found = collect([runs], with_published=False)
    assert (len(found.runs), found.damaged) == (4, [])
    for table in tables.BUILDERS:
        table(found).to_markdown()


def test_scaling_and_energy_appear_with_their_data(runs):
    report = build(collect([runs], with_published=False))
    assert [line for line in report.missing if line.startswith(("Scaling", "Energy"))]
    rates = {}
    for name in ("full-1", "full-2"):
        folder = shutil.copytree(runs / name, runs / f"{name}-two")

        def double(tree):
            tree["system"]["replicas"] = 2
            tree["training"]["patches_per_second"] *= 1.5
            tree["energy"]["joules"] = 5000.0

        edit(folder / "result.json", double)
    found = collect([runs], with_published=False)
    rates = {row["workers"]: row["efficiency"] for row in tables.scaling_table(found).rows}
    assert rates == {1: 1.0, 2: pytest.approx(0.75)}
    drawn = {drawing.name for drawing in build(found).drawings if drawing.figure}
    assert {"scaling", "energy"} <= drawn


def write_many(source, folder, count):
    """`count` runs with logs and histories of 200 epochs, as those of the paper's experiment."""
    kept = {n: (source / n).read_text() for n in ("summary.txt", "provenance.json", "config.yaml")}
    outcome = json.loads((source / "result.json").read_text())
    log = (source / "mlperf.log").read_text().splitlines()
    epoch = [line for line in log if '"epoch_num": 1}' in line]
    first = log.index(epoch[0])
    epochs = range(1, 201)
    long = [
        *log[:first],
        *(ln.replace('"epoch_num": 1}', f'"epoch_num": {k}}}') for k in epochs for ln in epoch),
        *log[-2:],
    ]
    kept["mlperf.log"] = "\n".join(long) + "\n"
    rng = np.random.default_rng(0)
    for number in range(count):
        run = folder / f"run-{number:04d}"
        run.mkdir(parents=True)
        noise = rng.normal(0, 0.003, 201)
        outcome["experiment"]["training"]["batch_size"] = 8 * (1 + number % 4)
        outcome["inference"]["accuracy"] = 0.89 + noise[0]
        (run / "result.json").write_text(json.dumps(outcome))
        rows = [f"{k},{1 / k},{0.9 + noise[k]},{1 / k},{0.89 + noise[k]},10" for k in epochs]
        head = "epoch,loss,accuracy,val_loss,val_accuracy,seconds"
        (run / "history.csv").write_text("\n".join([head, *rows]) + "\n")
        for name, text in kept.items():
            (run / name).write_text(text)


def report_of(folder, out):
    """Collect and write; returns what was collected, and the seconds of the processor it took."""
    began = time.process_time()
    found = collect([folder])
    write_report(build(found), out, "{}")
    return found, time.process_time() - began


def seconds_to_parse(folder):
    """Seconds of the processor to parse every event of the logs, which no reader does without."""
    began = time.process_time()
    for path in folder.glob("*/mlperf.log"):
        for line in path.read_text().splitlines():
            json.loads(line.partition(":::MLLOG ")[2])
    return time.process_time() - began


@pytest.mark.long
def test_the_time_of_a_thousand_runs(real_runs, tmp_path):
    """It grows with the number of runs, and stays a small multiple of what parsing them takes.

    Both bounds are of this machine and this moment: an absolute one would test the machine.
    """
    few, many = tmp_path / "few", tmp_path / "many"
    write_many(real_runs / "full-1", few, 100)
    write_many(real_runs / "full-1", many, 1000)
    (many / "run-0500" / "result.json").write_text("{")
    _, short = report_of(few, tmp_path / "short")
    parsing = 10 * seconds_to_parse(few)
    found, seconds = report_of(many, tmp_path / "report")
    print(f"100 runs {short:.1f} s, 1000 runs {seconds:.1f} s, parsing the logs {parsing:.1f} s")
    assert (len(found.damaged), sum(run.origin == "run" for run in found.runs)) == (1, 999)
    # Ten times the runs take less than ten times as long, since some figures and checks do not
    # grow with them; anything quadratic takes a hundred times as long.
    assert seconds < 10 * short
    assert seconds < 12 * parsing  # measured: 5
    assert (tmp_path / "report" / "index.html").stat().st_size < 8e6


def test_command(command, real_runs, tmp_path):
    done = command("cloudmask-report", real_runs, "--out", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"report: {tmp_path / 'out' / 'index.html'}" in done.stdout
    assert "4 own runs" in done.stdout


def test_command_refuses_in_one_line(command, tmp_path, real_runs):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    for arguments, expected in (
        ((tmp_path / "none",), "no such file or folder"),
        ((tmp_path / "mine",), "no run and no log"),
    ):
        done = command("cloudmask-report", *arguments, "--out", tmp_path / "out")
        assert done.returncode == 2
        assert expected in done.stderr
        assert done.stderr.count("\n") == 1
    done = command("cloudmask-report", real_runs, "--out", tmp_path / "mine")
    assert (done.returncode, "holds files but no report" in done.stderr) == (2, True)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
