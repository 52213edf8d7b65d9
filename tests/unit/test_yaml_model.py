"""Any YAML file as a checked object: wrong keys at every depth get the nearest known one."""

import pytest
from pydantic import Field

from cloudmask.config.yaml_model import Positive, Section, load_model
from cloudmask.errors import InputError


class Wheel(Section):
    size: Positive
    spokes: int = 32


class Vehicle(Section):
    wheels: dict[str, Wheel] = Field({})
    spare: list[Wheel] = Field([])
    trailer: Wheel | None = None


def refused(tmp_path, text):
    path = tmp_path / "v.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_model(path, Vehicle)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def test_a_file_becomes_an_object(tmp_path):
    path = tmp_path / "v.yaml"
    path.write_text("wheels: {front: {size: 28}}\n")
    assert load_model(path, Vehicle) == Vehicle(wheels={"front": Wheel(size=28)})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "wheel: {}",
            "wheel: no such key; did you mean wheels? known here: wheels, spare, trailer",
        ),
        (
            "wheels: {front: {size: 1, spoke: 3}}",
            "wheels.front.spoke: no such key; did you mean spokes? "
            "known here: size (required), spokes (32)",
        ),
        ("spare: [{size: 1, seize: 2}]", "spare.0.seize: no such key; did you mean size?"),
        ("trailer: {size: 1, sizes: 2}", "trailer.sizes: no such key; did you mean size?"),
        ("spare: [{}]", "spare.0.size: is missing"),
        ("spare: [{size: 1e3}]", "spare.0.size: Input should be a valid integer, found 1000.0"),
    ],
)
def test_wrong_keys_and_values_are_named(tmp_path, text, words):
    assert words in refused(tmp_path, text)


def test_all_that_is_wrong_is_listed_at_once(tmp_path):
    lines = refused(tmp_path, "{wheel: 1, spare: [{size: 0}]}").splitlines()
    assert lines[0].endswith("2 settings cannot be used:") and len(lines) == 3
