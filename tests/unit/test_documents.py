"""What the documents promise exists: links, files, commands and options, settings, examples."""

import argparse
import re
from pathlib import Path

import pytest
from support import documents
from support.documents import Document

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
    assert documents.wrong_commands(document) == []


def test_settings_exist(document):
    assert documents.wrong_settings(document) == []


def test_examples_in_yaml_can_be_read(document, tmp_path):
    assert documents.wrong_yaml(document, tmp_path) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_of_the_help_are_understood(command):
    parser = documents.parser_of(command)
    assert isinstance(parser, argparse.ArgumentParser)
    lines = re.findall("^  (\\S.*)", parser.epilog or "", flags=re.MULTILINE)
    # What an example does stands behind it, after several spaces.
    block = "\n".join(f"    {re.split(' {2,}', line)[0]}" for line in lines)
    assert documents.wrong_commands(Document(Path(f"{command} --help"), block)) == []


def test_documents_with_commands_were_found():
    read = [documents.read(Path(name)) for name in NAMES]
    lines = [
        line
        for document in read
        for block in document.blocks
        if block.is_shell
        for line in documents.command_lines(block)
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
        ("```sh\nmake nothing\n```", documents.wrong_commands, "no target nothing"),
        ("```\nmake test NOTHING=1\n```", documents.wrong_commands, "no variable NOTHING"),
        ("    cloudmask-nothing --x", documents.wrong_commands, "no such command"),
        ("    cloudmask-train --nothing", documents.wrong_commands, "no option --nothing"),
        ("    cloudmask-train --data x.h5", documents.wrong_commands, "required: --run"),
        ("    cloudmask-grid nothing x", documents.wrong_commands, "no verb nothing"),
        ("    cloudmask-grid plan --gpus 2", documents.wrong_commands, "no option --gpus"),
        ("    cloudmask-synth --out x --train many", documents.wrong_commands, "invalid"),
        (
            "    apptainer exec x.sif cloudmask-eval --nothing | tail",
            documents.wrong_commands,
            "no option --nothing",
        ),
        (
            "    sbatch --array=$(cloudmask-grid lost x) slurm/train.sbatch",
            documents.wrong_commands,
            "no verb lost",
        ),
        ("    sbatch slurm/nothing.sbatch", documents.wrong_commands, "no file"),
        ("    overlays/make-overlay --nothing", documents.wrong_commands, "no option --nothing"),
        ("`make nothing` does", documents.wrong_commands, "no target nothing"),
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
    assert documents.wrong_commands(document) == []
    assert documents.wrong_settings(document) == []
    assert documents.wrong_yaml(document, tmp_path) == []
