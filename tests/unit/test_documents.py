"""What the documents promise exists: links, files, commands and options, settings, examples."""

import argparse
import importlib.util
import re
from dataclasses import fields
from pathlib import Path

import pytest
from support import document_commands, documents, golden
from support.documents import Document

from cloudmask.experiments.experiment import settings
from cloudmask.overlay.manifest import Content, ImageFacts, Manifest, Origin
from cloudmask.patches import store
from cloudmask.record import history, telemetry

NAMES = sorted(
    name
    for name in documents.tracked()
    if name.endswith(".md") or name.startswith("app/configs/") or name.startswith("slurm/sites/")
)
COMMANDS = sorted(
    line.split(" = ")[0]
    for line in (documents.REPOSITORY / "app" / "pyproject.toml").read_text().splitlines()
    if line.startswith("cloudmask-")
)


@pytest.fixture(params=NAMES)
def document(request):
    """Each document of the repository."""
    return documents.read(Path(request.param))


def test_links_and_anchors_exist(document):
    assert documents.wrong_links(document) == []


def test_files_and_modules_exist(document):
    assert documents.wrong_paths(document) + documents.wrong_modules(document) == []


def test_commands_are_understood(document):
    assert document_commands.wrong_commands(document) == []


def test_settings_exist(document):
    assert documents.wrong_settings(document) == []


def test_examples_in_yaml_can_be_read(document, tmp_path):
    assert documents.wrong_yaml(document, tmp_path) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_of_the_help_are_understood(command):
    parser = document_commands.parser_of(command)
    assert isinstance(parser, argparse.ArgumentParser)
    lines = re.findall("^  (\\S.*)", parser.epilog or "", flags=re.MULTILINE)
    # What an example does stands behind it, after several spaces.
    block = "\n".join(f"    {re.split(' {2,}', line)[0]}" for line in lines)
    assert document_commands.wrong_commands(Document(Path(f"{command} --help"), block)) == []


def test_documents_with_commands_were_found():
    read = [documents.read(Path(name)) for name in NAMES]
    lines = [
        line
        for document in read
        for block in document.blocks
        if block.is_shell
        for line in document_commands.command_lines(block)
    ]
    assert sum(line.startswith("cloudmask-") for line in lines) > 20
    assert sum(line.startswith("make ") for line in lines) > 5


@pytest.mark.parametrize(
    ("text", "check", "expected"),
    [
        ("[a](missing.md)", documents.wrong_links, "no such file"),
        ("[a](../../etc/passwd)", documents.wrong_links, "no such file"),
        ("# One\n[a](#two)", documents.wrong_links, "no such heading"),
        ("[a](docs/benchmark.md#nothing)", documents.wrong_links, "no such heading"),
        ("see `slurm/missing.sbatch`", documents.wrong_paths, "no such file"),
        ("see `train/missing.py`", documents.wrong_paths, "no such file"),
        ("see `slurm/sites/x*.yaml`", documents.wrong_paths, "no such file"),
        ("`cloudmask.scenes.missing`", documents.wrong_modules, "no such module"),
        ("```sh\nmake nothing\n```", document_commands.wrong_commands, "no target nothing"),
        ("```\nmake test NOTHING=1\n```", document_commands.wrong_commands, "no variable NOTHING"),
        ("    cloudmask-nothing --x", document_commands.wrong_commands, "no such command"),
        ("    cloudmask nothing --x", document_commands.wrong_commands, "no such command"),
        ("    cloudmask train --nothing", document_commands.wrong_commands, "no option --nothing"),
        ("    cloudmask-train --nothing", document_commands.wrong_commands, "no option --nothing"),
        ("    cloudmask-train --data x.h5", document_commands.wrong_commands, "required: --run"),
        ("    cloudmask-grid nothing x", document_commands.wrong_commands, "no verb nothing"),
        ("    cloudmask-grid plan --gpus 2", document_commands.wrong_commands, "no option --gpus"),
        ("    cloudmask-synth --out x --train many", document_commands.wrong_commands, "invalid"),
        (
            "    apptainer exec x.sif cloudmask-eval --nothing | tail",
            document_commands.wrong_commands,
            "no option --nothing",
        ),
        (
            "    sbatch --array=$(cloudmask-grid lost x) slurm/train.sbatch",
            document_commands.wrong_commands,
            "no verb lost",
        ),
        ("    sbatch slurm/nothing.sbatch", document_commands.wrong_commands, "no file"),
        (
            "    overlays/make-overlay --nothing",
            document_commands.wrong_commands,
            "no option --nothing",
        ),
        ("`make nothing` does", document_commands.wrong_commands, "no target nothing"),
        ("`training.epoch` is", documents.wrong_settings, "no such setting"),
        ("`--set training.epoch=3`", documents.wrong_settings, "did you mean epochs"),
        ("`--set training.epochs=many`", documents.wrong_settings, "training.epochs"),
    ],
)
def test_what_is_wrong_is_found(text, check, expected):
    found = check(Document(Path("README.md"), text))
    assert len(found) == 1
    assert expected in found[0]


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("training:\n  epoch: 3", "did you mean epochs"),
        ("parameters:\n  training.epoch: 3", "did you mean"),
        ("executor: lsf\nqueu: batch", "queu"),
        ("gpus: {v100: {gre: gpu:v100}}", "gre"),
        ("name: [", "name: ["),
    ],
)
def test_wrong_examples_are_found(block, expected, tmp_path):
    found = documents.wrong_yaml(Document(Path("x.md"), f"```yaml\n{block}\n```"), tmp_path)
    assert len(found) == 1
    assert expected in found[0] or "not valid" in found[0] or "expected" in found[0]


def test_what_is_right_is_passed(tmp_path):
    text = """\
# One, two `three`
[there](#one-two-three) [file](docs/benchmark.md#3-data) [elsewhere](https://example.org/x)

```sh
. .venv/bin/activate
make demo PYTHON=python3.12  # a comment
cloudmask-train --config c.yaml --data x.h5 \\
  --run runs/1 --set training.epochs=3 && cloudmask-eval --run runs/1 | tail
apptainer exec --nv cloudmask.sif cloudmask-train …
```

    executor: ssh
    hosts: [{host: here, folder: /x, data: /x.h5}]

`slurm/logs/NAME-JOB.log`, `runs/x/y`, `training.seconds`, `model.keras`, `cloudmask.scenes`,
`slurm/sites/*.yaml`, `train/step.py`, `cloudmask-grid plan|status EXPERIMENT.yaml`
"""
    document = Document(Path("README.md"), text)
    assert documents.wrong_links(document) == []
    assert documents.wrong_paths(document) == []
    assert documents.wrong_modules(document) == []
    assert document_commands.wrong_commands(document) == []
    assert documents.wrong_settings(document) == []
    assert documents.wrong_yaml(document, tmp_path) == []


def generator():
    """The module docs/generate.py."""
    path = documents.REPOSITORY / "docs" / "generate.py"
    spec = importlib.util.spec_from_file_location("generate_documents", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generated():
    return generator().documents()


@pytest.mark.parametrize("name", ["configuration.md", "formats.md", "result.schema.json"])
def test_generated_documents_are_fresh(generated, name):
    path = documents.REPOSITORY / "docs" / name
    kept = path.read_text(encoding="utf-8")
    if kept != generated[path]:
        lines = golden.difference(kept.splitlines(), generated[path].splitlines())
        pytest.fail(f"docs/{name} is stale; run `make docs`\n" + "\n".join(lines), pytrace=False)


def test_all_generated_documents_are_tested(generated):
    assert {path.name for path in generated} == {
        "configuration.md",
        "formats.md",
        "result.schema.json",
    }


def test_a_part_without_marks_is_refused():
    with pytest.raises(ValueError, match="no marks of 'x'; expected <!-- x: written"):
        generator().with_parts("text", {"x": "new"})


def test_every_setting_is_in_the_document_once(generated):
    text = generated[documents.REPOSITORY / "docs" / "configuration.md"]
    run = text[text.index("## Configuration of a run") : text.index("## Experiment file")]
    for key in settings():
        assert run.count(f"| `{key}` |") == 1, key


def test_all_columns_and_keys_of_files_are_described():
    text = (documents.REPOSITORY / "docs" / "formats.md").read_text(encoding="utf-8")
    manifest_keys = [
        field.name for kind in (Manifest, Content, ImageFacts, Origin) for field in fields(kind)
    ]
    store_keys = [*store.SCENE_TABLE.names, store.FORMAT, *store.STATISTICS]
    for name in (*history.COLUMNS, *telemetry.COLUMNS, *manifest_keys, *store_keys):
        assert re.search(rf"[`\" ]{name}[`\", ]", text), name


def architecture():
    """The text of docs/architecture.md."""
    return documents.read(Path("docs/architecture.md")).text


def test_the_architecture_lists_the_packages_in_the_order_of_imports():
    project = (documents.REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    layers = re.search(r"^layers = \[(.*?)\]", project, re.MULTILINE | re.DOTALL)
    assert layers is not None
    table = re.findall(r"^\| `(\w+)` \|", architecture(), flags=re.MULTILINE)
    assert table == re.findall(r'"(\w+)"', layers.group(1))


@pytest.mark.parametrize(
    "what", ["a scene format", "an executor", "a GPU", "a cluster", "an alarm of the report"]
)
def test_the_architecture_says_how_to_add(what):
    section = architecture().split(f"## How to add {what}\n")[1].split("\n## ")[0]
    steps = re.findall(r"^(\d)\. (.*?)(?=^\d\. |\Z)", section, flags=re.MULTILINE | re.DOTALL)
    assert [number for number, _ in steps] == [str(n + 1) for n in range(len(steps))]
    assert len(steps) >= 2
    # That these files exist is checked as for all documents.
    assert len(re.findall(r"`[\w/]+/[\w/.*-]*`", section)) >= 2


def test_the_table_of_the_demo_stands_in_one_document():
    text = {name: documents.read(Path(name)).text for name in NAMES}
    rows = [name for name in NAMES for _ in re.findall(r"^\| U-Net \| [\d.]+ %", text[name], re.M)]
    assert rows == ["docs/benchmark.md"]
    assert "docs/benchmark.md#6-results" in text["README.md"]
    assert "docs/benchmark.md" in text["app/configs/demo.yaml"]


def test_the_readme_names_at_most_six_files_to_start_with():
    section = documents.read(Path("README.md")).text.split("## Where to start reading\n")[1]
    assert 3 <= len(re.findall(r"^\d\. \[", section, re.MULTILINE)) <= 6
