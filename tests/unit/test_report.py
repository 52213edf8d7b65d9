"""The report of real runs: figures against the runs' own files, alarms, damage, the page itself."""

import csv
import html.parser
import json
import re
import shutil
import subprocess
import time

import numpy as np
import pytest

from cloudmask.config import load_config
from cloudmask.report import tables
from cloudmask.report.alarms import alarms
from cloudmask.report.collection import collect
from cloudmask.report.document import FIGURES, build, write
from cloudmask.report.drawing import Drawing
from cloudmask.report.notebook import notebook

SMALL = (
    *("model.filters=4", "training.batch_size=4", "training.learning_rate=0.004"),
    "training.precision=float32",
)
RUNS = {
    "stop-1": ("seed=1", "training.epochs=9", "early_stopping.patience=1"),
    "stop-2": ("seed=2", "training.epochs=9", "early_stopping.patience=1"),
    "full-1": ("seed=1", "training.epochs=6", "early_stopping.enabled=false"),
    "full-2": ("seed=2", "training.epochs=6", "early_stopping.enabled=false"),
}


@pytest.fixture(scope="session")
def real_runs(store_path, scenes, tmp_path_factory):
    """Four finished runs, two of them evaluated once more, with pictures and the other tiling."""
    from cloudmask.evaluate.job import Job, evaluate_job
    from cloudmask.scene_files import find_scenes
    from cloudmask.train.run import train

    folder = tmp_path_factory.mktemp("report") / "runs"
    places = find_scenes([scenes], role="inference")
    for name, settings in RUNS.items():
        config = load_config(None, (*SMALL, *settings))
        train(config, store_path, folder / name, places, ["test"])
    for name in ("stop-1", "stop-2"):
        job = Job(
            **{"run": folder / name, "model": None, "scenes": [scenes], "out": None},
            **{"tiling": "published", "baselines": False, "data": None, "threshold": None},
            **{"truth": "bayes", "nan": "ignore", "precision": "float32", "memory_limit": 0.0},
            **{"skip_bad": False, "force": False, "masks": False, "pictures": True},
        )
        evaluate_job(job, ["test"])
    return folder


@pytest.fixture
def runs(real_runs, tmp_path):
    """A copy of the runs, to be changed."""
    return shutil.copytree(real_runs, tmp_path / "runs")


def edit(path, change):
    """Apply `change` to the JSON in `path`."""
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))


def titles(found, level=None):
    return [alarm.title for alarm in alarms(found) if level in (None, alarm.level)]


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


def test_good_runs_raise_no_alarm(real_runs):
    found = collect([real_runs], with_published=False)
    assert not found.damaged
    # A tree with changes is told while somebody works on it.
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


def test_a_copied_run_is_told_from_a_true_repeat(runs):
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


def test_a_network_that_learnt_nothing_is_told(runs):
    confusion = {"hits": 9, "false_alarms": 5, "misses": 0, "rejections": 0}
    first = json.loads((runs / "stop-1" / "result.json").read_text())["inference"]
    for name in ("full-1", "full-2"):
        edit(
            runs / name / "result.json",
            lambda tree: tree["inference"].update(first | {"confusion": confusion}),
        )
    raised = titles(collect([runs]))
    assert "2 runs learnt nothing" in raised
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
    assert "full-1: of the rules' keys, 1 are missing: run_stop" in alarm.text


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
    assert {"1 damaged", "1 not finished", "1 finished runs set aside"} <= set(raised)
    assert sum(len(group.runs) for group in found.groups) == 2
    assert any("history.csv is damaged" in a.text for a in alarms(found))
    report = build(found)
    assert any(drawing.figure for drawing in report.drawings)


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


class _Page(html.parser.HTMLParser):
    """Tags that are open, and what the page would load."""

    def __init__(self):
        super().__init__()
        self.open, self.sources, self.wrong = [], [], []

    def handle_starttag(self, tag, attributes):
        self.sources += [v for k, v in attributes if k in ("src", "href") and v[0] != "#"]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


@pytest.fixture(scope="session")
def written(real_runs, tmp_path_factory):
    """The report's folder, and the report."""
    out = tmp_path_factory.mktemp("written") / "report"
    report = build(collect([real_runs]))
    write(report, out, notebook([real_runs], out, True))
    return out, report


def test_page_is_complete_in_itself(written):
    out, report = written
    page = _Page()
    page.feed((out / "index.html").read_text())
    assert (page.open, page.wrong) == ([], [])
    assert all(source.startswith("data:image/") for source in page.sources)
    drawn = [drawing for drawing in report.drawings if drawing.figure]
    assert len(page.sources) == len(drawn) + len(report.pictures)
    # Two scenes were judged: one is the worst, the other the best.
    assert [picture.file for picture in report.pictures] == ["worst-1.jpg", "best-1.jpg"]


def test_every_file_is_named_and_every_name_is_a_file(written):
    out, report = written
    text = (out / "report.md").read_text()
    named = re.findall(r"\]\((\S+)\)", text)
    assert named
    assert all((out / name).stat().st_size > 1000 for name in named)
    for drawing in report.drawings:
        for kind in ("png", "svg"):
            assert (out / "figures" / f"{drawing.name}.{kind}").exists() == bool(drawing.figure)
        if drawing.missing:
            assert drawing.missing in text
    with (out / "tables" / "runs.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == len(RUNS) + 5
    assert {float(row["test_accuracy"]) for row in rows} >= {0.896051}


def test_the_same_runs_make_the_same_figures(written, real_runs, tmp_path):
    out, _ = written
    write(build(collect([real_runs])), tmp_path / "again", "{}")
    for path in sorted((out / "figures").glob("*.svg")):
        assert (tmp_path / "again" / "figures" / path.name).read_bytes() == path.read_bytes()


def test_what_an_earlier_report_left_is_removed(written, real_runs, tmp_path):
    out = shutil.copytree(written[0], tmp_path / "out")
    (out / "figures" / "of-yesterday.svg").write_text("")
    write(build(collect([real_runs])), out, "{}")
    assert not (out / "figures" / "of-yesterday.svg").exists()
    assert {path.name for path in out.iterdir()} == {
        *("index.html", "report.md", "report.ipynb", "tables", "figures"),
    }


def test_notebook_makes_the_same(written, monkeypatch):
    """Each code cell runs where the notebook lies, and ends in what the page shows."""
    out, report = written
    monkeypatch.chdir(out)
    tree = json.loads((out / "report.ipynb").read_text())
    names, shown = {}, []
    for cell in tree["cells"]:
        if cell["cell_type"] == "code":
            *before, last = cell["source"].split("\n")
            exec("\n".join(before), names)
            shown.append(eval(last, names))
    made = [table for table in shown if isinstance(table, tables.Table)]
    for table, expected in zip(made, report.tables, strict=True):
        if table.name == "runs":  # read from another place, which they tell
            for row in (*table.rows, *expected.rows):
                del row["path"]
        assert table.to_csv() == expected.to_csv()
    drawings = [drawing for drawing in shown if isinstance(drawing, Drawing)]
    assert [drawing.name for drawing in drawings] == list(FIGURES)
    losses = next(drawing for drawing in drawings if drawing.name == "repeats_loss")
    losses.png()  # the layout settles with each drawing; the page's PNG comes first
    assert losses.svg() == (out / "figures" / "repeats_loss.svg").read_bytes()


def test_fits_on_a_phone_and_on_paper(written, tmp_path):
    """In a real browser: no sideways scrolling, every figure decoded, a PDF of some pages."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no chromium: the page was not opened in a browser")
    page = tmp_path / "page.html"
    script = (
        "<script>window.onload=()=>{document.title=[document.documentElement.scrollWidth,"
        "innerWidth,[...document.images].filter(i=>i.naturalWidth>0).length].join(' ')}</script>"
    )
    page.write_text((written[0] / "index.html").read_text() + script)
    options = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=500,900"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", "--no-pdf-header-footer"]
    done = subprocess.run(
        [*options, "--virtual-time-budget=5000", "--dump-dom", page.as_uri()],
        **{"capture_output": True, "text": True, "timeout": 60},
    )
    width, inner, decoded = map(int, re.search(r"<title>(\d+) (\d+) (\d+)<", done.stdout).groups())
    assert width <= inner <= 520
    assert decoded == page.read_text().count("<img ")
    paper = tmp_path / "page.pdf"
    subprocess.run(
        [*options, f"--print-to-pdf={paper}", page.as_uri()], capture_output=True, timeout=60
    )
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes())) <= 15


def test_a_thousand_runs_in_twenty_seconds(real_runs, tmp_path):
    """With logs and histories of 200 epochs, as those of the paper's experiment."""
    source = real_runs / "full-1"
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
    for number in range(1000):
        folder = tmp_path / "many" / f"run-{number:04d}"
        folder.mkdir(parents=True)
        noise = rng.normal(0, 0.003, 201)
        outcome["experiment"]["training"]["batch_size"] = 8 * (1 + number % 4)
        outcome["inference"]["accuracy"] = 0.89 + noise[0]
        (folder / "result.json").write_text(json.dumps(outcome))
        rows = [f"{k},{1 / k},{0.9 + noise[k]},{1 / k},{0.89 + noise[k]},10" for k in epochs]
        head = "epoch,loss,accuracy,val_loss,val_accuracy,seconds"
        (folder / "history.csv").write_text("\n".join([head, *rows]) + "\n")
        for name, text in kept.items():
            (folder / name).write_text(text)
    (tmp_path / "many" / "run-0500" / "result.json").write_text("{")
    began = time.process_time()  # of the processor, whoever else uses it
    found = collect([tmp_path / "many"])
    write(build(found), tmp_path / "report", "{}")
    seconds = time.process_time() - began
    assert (len(found.damaged), sum(run.origin == "run" for run in found.runs)) == (1, 999)
    assert seconds < 20
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
