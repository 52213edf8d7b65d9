"""Site files: those of the bundle are sound, errors name what is wrong."""

from pathlib import Path

import pytest
import yaml

from cloudmask.errors import InputError
from cloudmask.experiments.executors import EXECUTORS
from cloudmask.experiments.executors.executor import Allocation
from cloudmask.experiments.executors.slurm import SlurmGpu, load_site
from cloudmask.experiments.executors.ssh import SshHost
from cloudmask.experiments.experiment import ExperimentFile

FOLDER = Path(__file__).resolve().parents[2] / "slurm" / "sites"
SITE_MODELS = [kind.site_model for kind in EXECUTORS.values() if kind.site_model]
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


@pytest.fixture(autouse=True)
def checkout(monkeypatch):
    monkeypatch.chdir(FOLDER.parents[1])
    monkeypatch.delenv("SBATCH_ACCOUNT", raising=False)


@pytest.mark.parametrize("name", NAMES)
def test_every_site_of_the_bundle_is_sound(name, monkeypatch):
    monkeypatch.setenv("SBATCH_ACCOUNT", "group")
    site = load_site(name)
    for gpu in site.gpus:
        options = site.options_for(gpu)
        assert all(option.startswith("--") for option in options)
        assert options[-1].startswith("--export=ALL,CLOUDMASK_IMAGE=")


def test_greene_asks_as_greene_spells_it():
    site = load_site("greene")
    assert "--gres=gpu:v100:1" in site.options_for("v100")
    assert "--gres=gpu:rtx8000:1" in site.options_for("rtx8000")
    eighty = site.options_for("a100")
    assert {"--gres=gpu:a100:1", "--constraint=a100_80gb"} <= set(eighty)
    assert "--signal=B:USR1@300" in eighty
    four = site.options_for("v100", Allocation(gpus=4, nodes=2))
    assert {"--nodes=2", "--ntasks-per-node=1", "--gres=gpu:v100:4"} <= set(four)
    assert "CLOUDMASK_LOCAL=/state/partition1/$USER $SLURM_TMPDIR" in eighty[-1]


def test_rivanna_requires_an_account_and_another_image_for_a_k80(monkeypatch):
    site = load_site("rivanna")
    with pytest.raises(InputError, match="export SBATCH_ACCOUNT"):
        site.options_for("a100")
    monkeypatch.setenv("SBATCH_ACCOUNT", "group")
    assert "--partition=gpu" in site.options_for("a100")
    assert "CLOUDMASK_IMAGE=cloudmask-k80.sif," in site.options_for("k80")[-1]


def test_gpus_that_are_not_there():
    with pytest.raises(InputError, match=r"--gpu h200: not at this site; .* v100, rtx8000, a100"):
        load_site("greene").options_for("h200")
    with pytest.raises(InputError, match="--gpu: expected one of v100"):
        load_site("greene").options_for(None)


def test_adding_a_cluster_is_adding_a_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("gpus: {h100: {gres: 'gpu:h100', partition: fast}}\nlocal: [$TMPDIR]\n")
    options = load_site(path).options_for(None)
    assert {"--partition=fast", "--gres=gpu:h100:1"} <= set(options)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"gpus": {}}, "gpus"),
        ({"gpu": {}}, "gpu: no such key; did you mean gpus"),
        ({"gpus": {"v100": {"gress": ""}}}, "gpus.v100.gress: no such key; did you mean gres"),
        ({"time": "a day"}, "time"),
        ({"local": ["a,b"]}, "local"),
        ({"gpus": {"v100": {"gres": "gpu v100"}}}, "gpus.v100.gres"),
        ({"unverified": ["colour"]}, "unverified"),
    ],
)
def test_a_wrong_file_names_the_key(tmp_path, change, expected):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"gpus": {"any": {"gres": "gpu"}}} | change))
    with pytest.raises(InputError, match=rf"mine\.yaml: {expected}"):
        load_site(path)


@pytest.mark.parametrize("model", [*SITE_MODELS, SlurmGpu, SshHost, ExperimentFile])
def test_every_key_is_described_at_its_field(model):
    assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_an_unknown_site_is_reported():
    with pytest.raises(InputError, match="--site nowhere: no such file"):
        load_site("nowhere")
