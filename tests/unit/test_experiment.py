"""Experiment files: values, ranges, conditions, the frozen plan, files of cloudmesh-ee."""

import json
import subprocess
import sys
import textwrap

import pytest

from cloudmask.errors import InputError
from cloudmask.experiments import plan, row, submissions
from cloudmask.experiments.experiment import load_experiment
from cloudmask.experiments.grid import values


@pytest.fixture
def write(tmp_path):
    def write(text, name="e.yaml"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return path

    return write


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (3, [3]),
        ("auto", ["auto"]),
        ([1, "3..5"], [1, 3, 4, 5]),
        ("1..4", [1, 2, 3, 4]),
        ("32:128:32", [32, 64, 96, 128]),
        ("10:50:15", [10, 25, 40]),
        ("3:1:-1", [3, 2, 1]),
        ("0.1:0.5:0.1", [0.1, 0.2, 0.3, 0.4, 0.5]),
        ("1e-4..1e-1 log 4", [0.0001, 0.001, 0.01, 0.1]),
        ("1..8 log 4", [1.0, 2.0, 4.0, 8.0]),
    ],
)
def test_values(given, expected):
    found = values(given, "key")
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


@pytest.mark.parametrize("given", [[], "4..1", "1:2:0", "0..1 log 3", "1..2 log 1", {"a": 1}])
def test_values_that_hold_nothing_are_refused(given):
    with pytest.raises(InputError, match=r"^key"):
        values(given, "key")


def test_product_conditions_inclusion_and_exclusion(write):
    path = write("""\
        name: study
        parameters:
          training.epochs: 10:50:20
          early_stopping.enabled: [true, false]
          early_stopping.patience: [5, 25]
          gpu: [a100, v100]
        when:
          early_stopping.patience: {early_stopping.enabled: true}
        exclude:
          - {training.epochs: [30, 50], gpu: v100}
        include:
          - {training.epochs: 1, gpu: k80, early_stopping.enabled: false}
        repeats: 2
    """)
    rows = load_experiment(path).rows
    assert len(rows) == (3 * 3 * 2 - 2 * 3) * 2 + 2
    assert rows[0] == {
        "training.epochs": 10,
        "early_stopping.enabled": True,
        "early_stopping.patience": 5,
        "gpu": "a100",
        "repeat": 1,
    }
    assert rows[1] == rows[0] | {"repeat": 2}
    assert rows[2] == rows[0] | {"gpu": "v100"}
    without = [row for row in rows if not row["early_stopping.enabled"]]
    assert without and not any("early_stopping.patience" in row for row in without)
    assert not any(row["gpu"] == "v100" and row["training.epochs"] > 10 for row in rows)
    assert [row["repeat"] for row in rows if row["gpu"] == "k80"] == [1, 2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("parameters: {training.epoch: 3}", "did you mean training.epochs"),
        ("parameters: {epochs: 3}", "did you mean training.epochs"),
        ("parameters: {training.epochs: [1, 0]}", "training.epochs: .*greater than 0, found 0"),
        ("parameter: {}", "parameter: no such key; did you mean parameters"),
        ("when: {gpuu: {seed: 1}}", "when: gpuu: no such parameter"),
        ("repeats: 0", "repeats"),
        ("base: nowhere.yaml", "nowhere.yaml: no such file"),
        ("parameters: {seed: 1}\nexclude: [{seed: 1}]", "no row is left"),
        ("parameters: {seed: 0..9999999}", "expected at most 1000000"),
    ],
)
def test_a_wrong_file_is_reported(write, text, expected):
    with pytest.raises(InputError, match=expected):
        load_experiment(write(text))


def test_a_setting_has_one_row_key_under_both_of_its_names(write):
    path = write(
        "parameters: {training.ema_decay: [0.9, 0.99]}\nexclude: [{training.averaging: 0.9}]"
    )
    assert load_experiment(path).rows == [{"training.averaging": 0.99}]


def test_unknown_name_lists_what_is_shipped():
    with pytest.raises(InputError, match="or one of: hpc, paper"):
        load_experiment("papr")


def test_shipped_experiment_is_the_papers(tmp_path):
    frozen = plan.freeze(load_experiment("paper"), tmp_path)
    configs = [frozen.config(row) for row in frozen.rows]
    assert len(configs) == 5 and len({config.sha256() for config in configs}) == 1
    assert (configs[0].seed, configs[0].training.epochs, configs[0].early_stopping.patience) == (
        1234,
        200,
        25,
    )


def test_added_values_get_new_numbers_and_dropped_rows_stay(write, tmp_path):
    path = write("name: g\nparameters: {training.epochs: [10, 30], seed: [1, 2]}")
    first = plan.freeze(load_experiment(path), tmp_path)
    path = write("name: g\nparameters: {training.epochs: [5, 10], seed: [1, 2]}")
    second = plan.freeze(load_experiment(path), tmp_path)
    assert second.rows[:4] == first.rows
    assert [row.parameters["training.epochs"] for row in second.rows] == [10, 10, 30, 30, 5, 5]
    assert second.dropped == {3, 4}
    assert len({row.directory for row in second.rows}) == 6
    assert plan.load(tmp_path / "g").rows == second.rows


def test_other_base_is_refused(write, tmp_path):
    write("training: {epochs: 3}", "base.yaml")
    path = write("name: g\nbase: base.yaml\nrepeats: 2")
    plan.freeze(load_experiment(path), tmp_path)
    write("training: {epochs: 4}", "base.yaml")
    with pytest.raises(InputError, match="base configuration is another"):
        plan.freeze(load_experiment(path), tmp_path)


def test_frozen_by_many_at_once(write, tmp_path):
    path = write("name: g\nparameters: {seed: 1..200}")
    code = (
        "import sys; from pathlib import Path; from cloudmask.experiments import plan, experiment\n"
        "p = plan.freeze(experiment.load_experiment(sys.argv[1]), Path(sys.argv[2]))\n"
        "print(len(p.rows))"
    )
    command = [sys.executable, "-c", code, path, tmp_path / "runs"]
    tasks = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    assert [task.communicate()[0].strip() for task in tasks] == ["200"] * 6


@pytest.mark.parametrize("worker", [0, 1])
def test_of_several_workers_the_first_writes_what_is_beside_a_run(
    write, tmp_path, monkeypatch, worker
):
    rows = plan.freeze(load_experiment(write("name: g\nparameters: {seed: [1]}")), tmp_path)
    workers = {"cluster": {"worker": ["n1:1", "n2:1"]}, "task": {"type": "worker", "index": worker}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(workers))
    monkeypatch.setattr("cloudmask.train.run.train", lambda *_: {"trained": True})
    assert row.execute(rows, rows.rows[0], tmp_path / "patches.h5", [], []) == {"trained": True}
    run = rows.run(rows.rows[0])
    written = {path.name for path in run.path.glob("*")} - {run.source.name}
    assert written == (set() if worker else {"config.yaml", "row.json"})


def test_damaged_plan_is_named(tmp_path):
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(InputError, match=r"plan\.json: damaged"):
        plan.load(tmp_path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda d: d["rows"][0].update(directory="../../home/me/runs"), r"is a path|hidden"),
        (lambda d: d["rows"][0].update(directory="/etc"), r"cannot name a file: "),
        (lambda d: d["rows"][0].update(directory=""), "cannot name a file"),
        (lambda d: d["rows"][0].update(directory="a\nb"), "control characters"),
        (lambda d: d["rows"][0].update(directory=7), r"rows\.0\.directory"),
        (lambda d: d["rows"][0].update(index="1"), r"rows\.0\.index"),
        (lambda d: d["rows"][1].update(index=7), "row 7: expected the index 2"),
        (lambda d: d["rows"][1].update(directory="1"), "two rows have the same directory"),
        (lambda d: d["rows"][0].update(more=1), "no such key"),
        (lambda d: d.update(name=".."), r"name: '\.\.' cannot name a file"),
        (lambda d: d.update(base=[]), "base"),
        (lambda d: d.update(base=[], rows=[]) or d.pop("name"), r"base.* name|name.* base"),
        (lambda d: d.update(labels=[1]), "labels"),
        (lambda d: d.pop("rows"), "rows: is missing"),
        (lambda d: d.update(schema=2), "schema 2; this version reads 1"),
    ],
)
def test_plans_of_others_are_checked(tmp_path, damage, words):
    rows = [{"index": n, "directory": str(n), "parameters": {"seed": n}} for n in (1, 2)]
    tree = {"schema": 1, "name": "g", "base": {}, "labels": ["x"], "rows": rows}
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(tree))
    assert plan.load(tmp_path).labels == ("x",)
    damage(tree)
    path.write_text(json.dumps(tree))
    with pytest.raises(InputError, match=words) as refused:
        plan.load(tmp_path)
    assert str(refused.value).startswith(f"{path}: ") and "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "3", "\x00"])
def test_what_is_no_plan_is_one_line(tmp_path, text):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(InputError, match=r"plan\.json: damaged"):
        plan.load(tmp_path)


def test_damaged_submissions_are_passed_over(tmp_path):
    good = {"at": 1.5, "site": "s", "job": "7", "rows": "1-2", "lock": ".executor-node-7"}
    damaged = [
        {**good, "lock": "../../x"},
        {**good, "rows": "x"},
        {**good, "at": "now"},
        {**good, "more": 1},
        [],
        "half a l",
    ]
    lines = [json.dumps(entry) for entry in damaged]
    (tmp_path / submissions.NAME).write_text("\n".join([*lines, "[" * 10**5, json.dumps(good)]))
    found = submissions.last(plan.Plan("g", tmp_path, {}, (), ()))
    assert found == dict.fromkeys((1, 2), submissions.SubmittedRows(**good))


@pytest.mark.parametrize("text", ["1-3,7", "5", "1-2,4-6"])
def test_ranges_there_and_back(text):
    assert plan.ranges(plan.parse_ranges(text)) == text


CLOUDMESH = """\
application:
  name: cloudmask
ee:
  mode: hierarchical
system:
  host: rivanna
  user: "{os.USER}"
identifier: "{application.name}-{experiment.card_name}-{experiment.epoch}"
data: "/scratch/{os.USER}/cloudmask"
experiment:
  card_name: "a100,v100"
  gpu_count: "1"
  cpu_num: "6"
  mem: "64GB"
  directive: "{system.host}"
  epoch: "[1-2],10"
  early_stoppage: "False"
  repeat: "1,2"
  learning_rate: 0.001
  run: "run[01-02]"
"""


def test_cloudmesh_file_gives_the_table_that_cloudmesh_makes(write, tmp_path, monkeypatch):
    monkeypatch.setenv("USER", "ada")
    experiment = load_experiment(write(CLOUDMESH))
    planned = plan.preview(experiment, tmp_path)
    assert len(planned.rows) == 2 * 3 * 2 * 2
    first, last = planned.rows[0], planned.rows[-1]
    # The directory names of cloudmesh-ee: all pairs in file order.
    assert first.directory == (
        "card_name_a100_gpu_count_1_cpu_num_6_mem_64GB_directive_rivanna_epoch_1"
        "_early_stoppage_False_repeat_1_learning_rate_0.001_run_run01"
    )
    assert "v100" in last.directory
    assert "epoch_10_early_stoppage_False_repeat_2_learning_rate_0.001_run_run02" in last.directory
    order = [(r.parameters["gpu"], r.parameters["training.epochs"]) for r in planned.rows[::4]]
    assert order == [(gpu, epochs) for gpu in ("a100", "v100") for epochs in (1, 2, 10)]
    config = planned.config(last)
    assert (config.training.epochs, config.early_stopping.enabled) == (10, False)
    assert set(experiment.labels) == {"gpu_count", "cpu_num", "mem", "directive", "run"}


def test_cloudmesh_reference_that_leads_nowhere_is_named(write):
    with pytest.raises(InputError, match=r"experiment\.mem: \{system\.mem\} is not defined"):
        load_experiment(write('experiment: {epoch: "1", mem: "{system.mem}"}'))
