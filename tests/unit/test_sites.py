"""Site files: those of the bundle are sound, a wrong one says what is wrong."""

from pathlib import Path

import pytest
import yaml

from cloudmask.errors import InputError
from cloudmask.experiments import sites

FOLDER = Path(__file__).resolve().parents[2] / "slurm" / "sites"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


@pytest.fixture(autouse=True)
def checkout(monkeypatch):
    monkeypatch.chdir(FOLDER.parents[1])
    monkeypatch.delenv("SBATCH_ACCOUNT", raising=False)


@pytest.mark.parametrize("name", NAMES)
def test_every_site_of_the_bundle_is_sound(name, monkeypatch):
    monkeypatch.setenv("SBATCH_ACCOUNT", "group")
    site = sites.load(name)
    for gpu in site.gpus:
        options = site.sbatch(gpu)
        assert all(option.startswith("--") for option in options)
        assert options[-1].startswith("--export=ALL,CLOUDMASK_IMAGE=")


def test_greene_asks_as_greene_spells_it():
    site = sites.load("greene")
    assert "--gres=gpu:v100:1" in site.sbatch("v100")
    assert "--gres=gpu:rtx8000:1" in site.sbatch("rtx8000")
    eighty = site.sbatch("a100")
    assert {"--gres=gpu:a100:1", "--constraint=a100_80gb"} <= set(eighty)
    assert "--signal=B:USR1@300" in eighty
    four = site.sbatch("v100", gpus=4, nodes=2)
    assert {"--nodes=2", "--ntasks-per-node=1", "--gres=gpu:v100:4"} <= set(four)
    assert "CLOUDMASK_LOCAL=/state/partition1/$USER $SLURM_TMPDIR" in eighty[-1]


def test_rivanna_wants_an_account_and_another_image_for_a_k80(monkeypatch):
    site = sites.load("rivanna")
    with pytest.raises(InputError, match="export SBATCH_ACCOUNT"):
        site.sbatch("a100")
    monkeypatch.setenv("SBATCH_ACCOUNT", "group")
    assert "--partition=gpu" in site.sbatch("a100")
    assert "CLOUDMASK_IMAGE=cloudmask-k80.sif," in site.sbatch("k80")[-1]


def test_gpus_that_are_not_there():
    with pytest.raises(InputError, match=r"--gpu h200: not at this site; .* v100, rtx8000, a100"):
        sites.load("greene").sbatch("h200")
    with pytest.raises(InputError, match="--gpu: expected one of v100"):
        sites.load("greene").sbatch(None)


def test_adding_a_cluster_is_adding_a_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("gpus: {h100: {gres: 'gpu:h100', partition: fast}}\nlocal: [$TMPDIR]\n")
    options = sites.load(path).sbatch(None)
    assert {"--partition=fast", "--gres=gpu:h100:1"} <= set(options)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"gpus": {}}, "gpus"),
        ({"gpu": {}}, "gpu"),
        ({"time": "a day"}, "time"),
        ({"local": ["a,b"]}, "local"),
        ({"gpus": {"v100": {"gres": "gpu v100"}}}, "gpus.v100.gres"),
        ({"unverified": ["colour"]}, "unverified"),
    ],
)
def test_a_wrong_file_names_the_key(tmp_path, change, told):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"gpus": {"any": {"gres": "gpu"}}} | change))
    with pytest.raises(InputError, match=rf"mine\.yaml: {told}"):
        sites.load(path)


def test_an_unknown_site_is_told():
    with pytest.raises(InputError, match="--site nowhere: no such file"):
        sites.load("nowhere")
