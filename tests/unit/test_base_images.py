"""The table of base images and what is asked of it."""

import pytest

from cloudmask.errors import InputError
from cloudmask.hardware.base_images import TABLE, compiled_for, read_base_images

BASE_IMAGES = read_base_images()


@pytest.mark.parametrize("gpu", ["v100", "rtx8000", "a100", "h100", "p100", "k80"])
def test_every_gpu_has_a_base_that_runs_on_it(gpu):
    card = BASE_IMAGES.gpus[gpu]
    assert BASE_IMAGES.bases[card.base].runs_on(card.capability)
    assert BASE_IMAGES.choose(gpu=gpu).name == card.base


def test_what_the_tables_facts_rule_out():
    newest, default = BASE_IMAGES.bases["ngc-25.02"], BASE_IMAGES.bases["ngc-24.03"]
    assert not newest.runs_on("7.0") and not newest.runs_on("6.0")  # V100, P100
    assert not default.runs_on("3.7") and not newest.runs_on("3.7")  # K80
    assert BASE_IMAGES.bases["tensorflow-2.14"].runs_on("3.7")


@pytest.mark.parametrize(
    ("compiled", "capability", "runs"),
    [
        (["sm_70"], "7.0", True),
        (["sm_70"], "7.5", True),
        (["sm_75"], "7.0", False),
        (["sm_35"], "3.7", True),
        (["sm_70", "sm_80"], "9.0", False),
        (["sm_70", "compute_80"], "9.0", True),
        (["compute_90"], "8.0", False),
        (["sm_90a"], "9.0", True),
        (["sm_100", "compute_120"], "12.0", True),
        (["sm_100"], "1.0", False),
        ([], "7.0", False),
    ],
)
def test_compiled_for(compiled, capability, runs):
    assert compiled_for(compiled, capability) is runs


@pytest.mark.parametrize(
    ("driver", "data_center", "fits"),
    [
        ("550.54.15", False, True),
        ("535.104.05", True, True),
        ("535.86", True, True),
        ("535.54", True, False),
        ("535.104.05", False, False),
        ("470.82", True, True),
        ("510.47", True, False),
        ("450.51", True, False),
    ],
)
def test_drivers_of_the_default(driver, data_center, fits):
    assert BASE_IMAGES.bases["ngc-24.03"].driver_fits(driver, data_center) is fits


def test_wrong_names_list_the_right_ones():
    with pytest.raises(InputError, match=r"GPU=k20: not known; expected one of v100, .*k80"):
        BASE_IMAGES.choose(gpu="k20")
    with pytest.raises(InputError, match=r"BASE=ngc: not known; expected one of ngc-24\.03"):
        BASE_IMAGES.choose(base="ngc")
    with pytest.raises(InputError, match="expected one of the two"):
        BASE_IMAGES.choose(base="cpu", gpu="k80")


def test_advice():
    assert "make image GPU=k80" in BASE_IMAGES.advice("Tesla K80", "3.7", "470.82.01")
    assert "make image GPU=v100" in BASE_IMAGES.advice("Tesla V100-SXM2-32GB", "7.0", "535.104")
    assert "no known base runs" in BASE_IMAGES.advice("Tesla K20m", "3.0", "470.82")
    # A V100 whose driver is too old for the default's CUDA.
    assert "BASE=tensorflow-2.14" in BASE_IMAGES.advice("Tesla V100-PCIE-16GB", "7.0", "460.32")
    assert "ask for a newer" in BASE_IMAGES.advice("Tesla V100-PCIE-16GB", "7.0", "418.87")


def test_a_wrong_table_is_named(tmp_path):
    path = tmp_path / "table.yaml"
    path.write_text(TABLE.read_text().replace("space_gb: 5\n", "space_gbs: 5\n"))
    with pytest.raises(InputError) as caught:
        read_base_images(path)
    assert "bases.cpu.space_gb: is missing" in str(caught.value)
    assert "bases.cpu.space_gbs: no such key; did you mean space_gb?" in str(caught.value)
    path.write_text(TABLE.read_text().replace("default: ngc-24.03", "default: ngc"))
    with pytest.raises(InputError, match=r"ngc: no such base; expected one of ngc-24\.03"):
        read_base_images(path)
