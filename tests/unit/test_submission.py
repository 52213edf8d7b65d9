"""A submission against the text of the MLCommons Science policy and its submission rules.

Policy: https://github.com/mlcommons/science/blob/main/policy.adoc, version 0.5; rules: submit.adoc
beside it. Each test is about one of their points, which it names.
"""

import json
import re
import subprocess

import pytest
import yaml
from support.finished_runs import SUBMISSION, make_run

from cloudmask.config.settings import load_config
from cloudmask.errors import InputError
from cloudmask.publication import contribution, reference, submission, submission_text
from cloudmask.publication.eligibility import DataClaim, choose_runs
from cloudmask.record.compliance import findings
from cloudmask.record.events import read_events
from cloudmask.record.system_description import KEYS

pytestmark = pytest.mark.slow

SCRIPT = "#!/usr/bin/env bash\n#SBATCH --job-name=cloudmask\n"
IDENTIFICATION = {
    "name": SUBMISSION["name"],
    "user": SUBMISSION["user"],
    "e-mail": SUBMISSION["email"],
    "organisation": SUBMISSION["organization"],
    "division": "open",
    "status": "onprem",
    "platform": SUBMISSION["platform"],
}
MADE_UP = "two | made-up scenes"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs over the public data set, one with the files of a job."""
    folder = tmp_path_factory.mktemp("runs")
    found = [make_run(folder / str(k), 0.88 + k / 100, public=True) for k in (1, 2)]
    for name, text in (
        ("train.sbatch", SCRIPT),
        ("lib/job.sh", "# steps\n"),
        ("sites/here.yaml", "executor: slurm\n"),
        ("cloudmask.def", "Bootstrap: docker\n"),
        ("requirements.txt", "numpy==2.0.0\n"),
    ):
        path = found[0].job / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return [run.path for run in found]


@pytest.fixture(scope="module")
def tree(runs, tmp_path_factory):
    return submission.write(runs, tmp_path_factory.mktemp("out"), "experiment-1", best=False)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A submission of a run over synthetic scenes, declared as such."""
    folder = tmp_path_factory.mktemp("other")
    run = make_run(folder / "run")
    return submission.write([run.path], folder, "other", False, DataClaim(MADE_UP))


@pytest.fixture(scope="module")
def config(tree):
    return yaml.safe_load((tree / "config.yaml").read_text())


def lines(path):
    return path.read_text(encoding="utf-8").splitlines()


def test_rules_directory_structure(tree):
    """{organization}/{application}/{system}/{descriptor}/"""
    assert tree.parts[-4:] == ("A_University", "cloudmask", "Two_Cores", "experiment-1")


def test_rules_1_scripts_that_ran(tree):
    """1. "A number of scripts that are used to run the particular benchmark"."""
    assert (tree / "job/train.sbatch").read_text() == SCRIPT
    kept = {str(path.relative_to(tree / "job")) for path in (tree / "job").rglob("*.*")}
    assert {"lib/job.sh", "sites/here.yaml", "cloudmask.def", "requirements.txt"} <= kept
    assert re.search(r"^numpy==\d", (tree / "packages.txt").read_text(), re.M)
    subprocess.run(["bash", "-n", tree / "run.sh"], check=True)


def test_rules_2_result_logs(tree):
    """2. "`result-n.txt`: the result logs for the `n`-th run"."""
    assert len(list(tree.glob("result-*.txt"))) == 2
    assert findings(tree / "result-1.txt") == findings(tree / "result-2.txt") == []


def test_rules_3_configuration(tree, config):
    """3. All hyper-parameters, the program's and the data's location, commands to retrieve it."""
    assert config["github"] == {
        "description": "cloudmask, the MLCommons Science cloud-masking benchmark",
        "repo": SUBMISSION["repository"],
        "branch": "main",
        "version": config["code"]["version"],
        "tag": "v0.1.0",
        "commit": "0123abc",
    }
    assert config["data"]["endpoint"].startswith("https://")
    assert len(config["data"]["commands"]) == 2
    assert config["data"]["inference"]["origins"] == {"cloud_slstr_ds1": 100}
    assert load_config(tree / "hyperparameters.yaml").model_dump(mode="json") == json.loads(
        json.dumps(config["hyperparameters"])
    )


def test_rules_4_contribution(tree, runs):
    """4. "A detailed description of the scientific contribution", algorithms, hyper-parameters."""
    content = (tree / "sientific_contribution.pdf").read_bytes()
    for key, text in (
        (b"Title", b"Clouds over Ada"),
        (b"Author", b"Ada Lovelace, A University"),
        (b"Subject", b"MLCommons Science"),
        (b"Keywords", b"cloud masking"),
    ):
        assert re.search(rb"/%s \([^)]*%s" % (key, text), content)
    chosen = choose_runs(runs, "x")
    text = " ".join(
        contribution.paragraphs(submission_text.Submission(tuple(chosen), "Two Cores", "all"))
    )
    assert text.startswith("name: Clouds over Ada; user: Ada Lovelace; e-mail: ada@example.org")
    assert "reached 0.884 to 0.896" in text and "within that range" in text
    assert "binary cross-entropy with weight 1 of cloud" in text
    assert any("arXiv:2401.08636" in entry for entry in contribution.REFERENCES)


def paragraphs(*runs, other_data=None):
    claim = DataClaim(other_data)
    chosen = choose_runs([run.path for run in runs], "x", claim)
    made = submission_text.Submission(tuple(chosen), "Two Cores", "all", other_data)
    return " ".join(contribution.paragraphs(made))


def test_the_target_counts_all_pixels(tmp_path):
    text = paragraphs(make_run(tmp_path / "run", 0.905, public=True))
    assert "accuracy 0.9050 over the measured pixels of 100 inference scenes" in text
    assert "Over all pixels, as the target of 0.9 counts, it is 0.8950: the target is not" in text


def test_other_data_have_no_target_and_are_told_as_recorded(other, tmp_path):
    text = paragraphs(make_run(tmp_path / "run"), other_data=MADE_UP)
    assert f"{MADE_UP}. Recorded of the evaluated scenes: 2 synthetic scenes." in text
    readme = (other / "README.md").read_text()
    assert "Recorded of the evaluated scenes: 2 synthetic scenes." in readme
    assert "target" not in text + readme


def test_the_contribution_names_the_labels_that_were_judged_by(tmp_path):
    run = make_run(tmp_path / "run")
    found = run.read_result()
    for source, words in (("bayes", "Bayesian mask"), ("summary", "summary cloud flag")):
        inference = found.inference.model_copy(update={"truth": source})
        run.result.unlink()
        found.model_copy(update={"inference": inference}).write(run.result)
        assert f"The labels are the {words}" in paragraphs(run, other_data=MADE_UP)


def test_every_setting_is_in_the_contribution(runs):
    (run, _) = choose_runs(runs, "x")
    text = "\n".join(t.get_text() for page in contribution._settings(run) for t in page.texts)
    assert all(line.split(":")[0] in text for line in run.config.to_yaml().splitlines())


def test_rules_5_readme(tree):
    """5. "Sufficient information to create such runs"."""
    text = (tree / "README.md").read_text()
    for words in ("cloudmask-data --out data", "bash run.sh RUN", "0123abc", "job/train.sbatch"):
        assert words in text
    for name in re.findall(r"^- `([^`]+)`:", text, re.M):
        assert name == "result-N.txt" or (tree / name).exists()


def test_rules_6_log_file(tree, config):
    """6. Submission keys, division open, the version, one `result` that is a dictionary."""
    events = {event["key"]: event["value"] for event in read_events(tree / "result-1.txt")}
    for key in ("benchmark", "org", "status", "platform", "github_commit_version"):
        assert events[f"submission_{key}"]
    assert events["submission_division"] == "open"
    assert events["submission_version"] == (tree / "VERSION").read_text().strip()
    assert isinstance(events["result"], dict)


def test_policy_identifying_information(tree, config):
    """ "At the beginning of the submission": name to platform, in this order."""
    assert list(config)[:7] == list(IDENTIFICATION)
    assert {key: config[key] for key in IDENTIFICATION} == IDENTIFICATION
    shown = [line for line in lines(tree / "README.md") if line.startswith("- ")][:7]
    assert [line[2:].split(": ")[0] for line in shown] == list(IDENTIFICATION)
    assert lines(tree / "README.md")[2] == "- name: Clouds over Ada"


def test_policy_table_of_measurements(tree):
    """A markdown document that begins with the table, and the average difference."""
    found = lines(tree / "result.md")
    assert found[0] == (
        "| Measurement | Reference model value | Submitted model value | Difference |"
    )
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in found[2:8]]
    assert rows[0][1:] == ["0.8891", "0.8850", "-0.0041"]
    assert rows[1][1:] == ["-", "0.8950", "-"]
    assert rows[2][1:] == ["0.8991", "0.8600", "-0.0391"]
    assert rows[5][0] == "average difference of the accuracies"
    assert float(rows[5][3]) == pytest.approx((-0.00408 - 0.03911) / 2, abs=6e-5)


def test_policy_hyperparameters_of_cloudmask(config):
    """The names that the policy lists for this benchmark, with its constraints."""
    policy = config["policy"]
    assert set(policy) == {
        "epochs", "learning_rate", "batch_size", "MIN_SST", "PATCH_SIZE", "seed",
    }  # fmt: skip
    assert (policy["PATCH_SIZE"], policy["seed"]) == (256, 1234)
    assert policy["MIN_SST"].startswith("not used")


def test_policy_best_of_n_is_documented(runs, tmp_path):
    """ "If the result is the best of N runs, this must be clearly documented"."""
    tree = submission.write(runs, tmp_path, "best", best=True)
    assert [path.name for path in tree.glob("result-*.txt")] == ["result-1.txt"]
    assert "the best of 2 by accuracy" in (tree / "README.md").read_text()
    assert "the best of 2" in yaml.safe_load((tree / "config.yaml").read_text())["selection"]


def test_mlperf_system_description(tree):
    described = json.loads((tree / "systems/Two_Cores.json").read_text())
    assert list(described) == list(KEYS) and described["system_name"] == "Two Cores"


def test_other_data_is_declared_in_every_document(other):
    config = yaml.safe_load((other / "config.yaml").read_text())
    assert config["data"]["name"] == MADE_UP and config["data"]["benchmark_data"] is False
    assert "commands" not in config["data"] and "endpoint" not in config["data"]
    for name in ("README.md", "result.md"):
        text = (other / name).read_text()
        assert "two \\| made-up scenes" in text and "cannot be compared" in text
        rows = [line for line in text.splitlines() if line.startswith("| accuracy on")]
        assert rows and all("not comparable: other data" in row for row in rows)
        assert "cloudmask-data" not in text and "0.0041" not in text
    assert f"# Data: {MADE_UP}" in (other / "run.sh").read_text()
    assert "job/" not in (other / "README.md").read_text()
    assert "without a batch script" in (other / "README.md").read_text()


def test_synthetic_scenes_are_refused_as_the_benchmarks(tmp_path):
    run = make_run(tmp_path / "run")
    with pytest.raises(InputError, match="evaluated 2 synthetic scenes, not the data set"):
        submission.write([run.path], tmp_path / "out", "x", best=False)


def test_a_name_with_a_line_break_ends_no_comment(tmp_path):
    run = make_run(tmp_path / "run")
    claim = DataClaim("scenes\nrm -rf data")
    tree = submission.write([run.path], tmp_path / "out", "x", False, claim)
    assert not any(line.startswith("rm") for line in lines(tree / "run.sh"))


def test_the_comparison_says_where_a_result_lies():
    paper = reference.reference()
    assert (min(paper.accuracies), max(paper.accuracies)) == (0.884168, 0.896051)
    assert len(paper.accuracies) == len(paper.epochs) == 5
