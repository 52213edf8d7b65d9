"""cloudmask-config: what can be set, and what files set."""

import sys

import pytest
import yaml
from support.documents import REPOSITORY

from cloudmask.commands import config
from cloudmask.config.settings import Config, load_config
from cloudmask.experiments.executors import EXECUTORS
from cloudmask.experiments.experiment import ExperimentFile, load_experiment, settings

CONFIGS = sorted((REPOSITORY / "app" / "configs").glob("*.yaml"))
EXPERIMENTS = sorted((REPOSITORY / "app" / "configs" / "experiments").glob("*.yaml"))
SITES = sorted((REPOSITORY / "slurm" / "sites").glob("*.yaml"))


@pytest.fixture
def show(monkeypatch, capsys):
    """Run the command in the repository; its exit code, output and errors."""
    monkeypatch.chdir(REPOSITORY)

    def run(*arguments, columns="100"):
        monkeypatch.setenv("COLUMNS", columns)
        monkeypatch.setattr(sys, "argv", ["cloudmask-config", *map(str, arguments)])
        code = config.main()
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def test_all_settings_with_type_limits_default_and_meaning(show):
    code, text, _ = show()
    lines = text.splitlines()
    assert code == 0
    for key in settings():
        assert sum(line.startswith(f"  {key} ") for line in lines) == 1, key
    at = next(n for n, line in enumerate(lines) if line.startswith("  training.batch_size "))
    assert lines[at].split(None, 1)[1] == "integer, > 0, <= 1000000; default: 32"
    assert lines[at + 1].strip() == "patches per step, over all workers together"
    assert "training: The optimization; the defaults are the paper's." in lines
    assert "required" not in text
    assert "`" not in lines[at] and text.isascii()


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_lines_fit_the_terminal(show, columns):
    _, text, _ = show(columns=str(columns))
    too_long = [line for line in text.splitlines() if len(line) > columns]
    # What has no space in it, such as a pattern, is not cut.
    assert [line for line in too_long if " " in line.strip()] == []


@pytest.mark.parametrize("kind", ["experiment", "slurm", "lsf", "ssh"])
def test_keys_of_other_files(show, kind):
    code, text, _ = show("--keys", kind)
    model = ExperimentFile if kind == "experiment" else EXECUTORS[kind].site_model
    assert code == 0
    for key in model.model_fields:
        assert f"  {key} " in text or f"\n{key}" in text, key


def test_keys_of_every_executor_can_be_shown():
    action = next(a for a in config.parser()._actions if a.dest == "keys")
    assert set(action.choices) == {
        "run",
        "experiment",
        *(name for name, executor in EXECUTORS.items() if executor.site_model),
    }


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_configuration_is_shown_in_full(show, path):
    code, text, _ = show(path)
    assert code == 0
    assert text.startswith(f"# Configuration: {path}\n")
    assert Config.model_validate(yaml.safe_load(text)) == load_config(path)
    assert len(yaml.safe_load(text)) == len(Config.model_fields)


def test_overrides(show):
    _, text, _ = show(CONFIGS[0], "--set", "training.epochs=7", "--set", "seed=3")
    found = yaml.safe_load(text)
    assert (found["training"]["epochs"], found["seed"]) == (7, 3)
    _, text, _ = show("--set", "training.epochs=7")
    assert yaml.safe_load(text)["training"]["epochs"] == 7


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("named", [False, True])
def test_an_experiment_is_shown_in_full(show, path, named):
    code, text, _ = show(*(["--experiment", path.stem] if named else [path]))
    assert code == 0
    keys, base = yaml.safe_load_all(text)
    assert set(keys) == set(ExperimentFile.model_fields)
    assert keys["name"] == path.stem
    assert Config.model_validate(base)
    assert f"# Rows: {len(load_experiment(path).rows)}," in text


def test_an_experiment_of_cloudmesh(show, tmp_path):
    path = tmp_path / "foreign.yaml"
    path.write_text("application:\n  name: cm\nexperiment:\n  epoch: 1,2\n  card_name: v100\n")
    code, text, _ = show(path)
    keys, _ = yaml.safe_load_all(text)
    assert code == 0
    assert text.startswith(f"# Experiment of cloudmesh-ee, as rows: {path}\n")
    assert [row["training.epochs"] for row in keys["include"]] == [1, 2]


@pytest.mark.parametrize("path", SITES, ids=lambda path: path.stem)
@pytest.mark.parametrize("named", [False, True])
def test_a_site_is_shown_in_full(show, path, named):
    code, text, _ = show(*(["--site", path.stem] if named else [path]))
    found = yaml.safe_load(text)
    assert code == 0
    assert text.startswith("# Site: ")
    assert set(found) == set(EXECUTORS[found["executor"]].site_model.model_fields)
    assert set(yaml.safe_load(path.read_text())["gpus"]) == set(found["gpus"])


def test_a_site_of_hosts(show, tmp_path):
    path = tmp_path / "hosts.yaml"
    path.write_text("executor: ssh\nhosts: [{host: here, folder: /x, data: /x.h5}]\n")
    assert show(path)[1].startswith(f"# Site: {path}\nexecutor: ssh\n")


@pytest.mark.parametrize(
    ("content", "arguments", "expected"),
    [
        (None, ["FILE"], "no such file"),
        ("a: [", ["FILE"], "not valid YAML"),
        ("trainin: {}", ["FILE"], "did you mean training?"),
        ("parameters: {training.epoch: 1}", ["FILE"], "did you mean training.epochs?"),
        ("executor: pbs", ["FILE"], "executor: 'pbs'; expected one of slurm, lsf, ssh"),
        ("gpus: {a: {gre: x}}", ["FILE"], "did you mean gres?"),
        (None, ["--site", "nowhere"], "--site nowhere: no such file"),
        (None, ["--experiment", "nothing"], "nothing: no such file"),
        (None, ["--set", "training.epochs=x"], "training.epochs"),
        (None, ["--set", "seed=1", "--keys", "slurm"], "--set: expected with a configuration"),
        ("repeats: 2", ["FILE", "--set", "seed=1"], "--set: expected with a configuration"),
    ],
)
def test_errors_are_one_line(show, tmp_path, content, arguments, expected):
    path = tmp_path / "file.yaml"
    if content is not None:
        path.write_text(content)
    code, shown, error = show(*(path if word == "FILE" else word for word in arguments))
    assert (code, shown) == (2, "")
    assert error.startswith("error: ") and error.count("\n") == 1
    assert expected in error
