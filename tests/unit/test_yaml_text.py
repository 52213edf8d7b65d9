"""YAML of others: what it stands for is bounded, and what cannot be used is one line."""

import time

import pytest

from cloudmask.config import yaml_text
from cloudmask.config.settings import load_config
from cloudmask.errors import InputError
from cloudmask.experiments.experiment import load_experiment

BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
REFUSED = {
    "bomb of aliases": BOMB,
    "bomb of merges": BOMB.replace(": &", ": {<<: &").replace("]\n", "]}\n"),
    "alias of itself": "a: &a [*a]",
    "alias of a section in itself": "a: &a {b: *a}",
    "aliases nested deeply": "- &a0 x\n" + "".join(f"- &a{n + 1} [*a{n}]\n" for n in range(60)),
    "nested lists": "a: " + "[" * 5000 + "]" * 5000,
    "nested sections": "{a: " * 5000,
    "unfinished nesting": "[" * 100_000,
    "nested items": "- " * 3000,
    "too many values": "[" + "1," * 150_000 + "]",
    "timestamp that is none": "a: !!timestamp x",
    "truth value that is none": "a: !!bool x",
    "number that is none": "a: !!int x",
    "number without digits": "a: !!int ''",
    "float that is none": "a: !!float x",
    "binary that is none": "a: !!binary x",
    "pairs that are none": "a: !!omap x",
    "set": "a: !!set {b, c}",
    "code": "a: !!python/object/apply:os.system ['true']",
    "unknown tag": "a: !own x",
    "key that is a list": "? [1, 2]\n: 3",
    "key that is there twice": "a: 1\nb: 2\na: 3",
    "NUL": "a: \0",
    "number of very many digits": "a: " + "1" * 5000,
    "unfinished text": 'a: "b',
    "two documents": "a: 1\n---\nb: 1",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_one_line_at_once(name, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(REFUSED[name])
    began = time.process_time()
    for read in (load_config, load_experiment):
        with pytest.raises(InputError) as caught:
            read(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: not valid YAML: "), message
        assert "\n" not in message and len(message) < 500
    assert time.process_time() - began < 60


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"name: \xe9", b"# " + b"x" * (1 << 21)])
def test_neither_other_encodings_nor_huge_files_are_read(tmp_path, content):
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"c\.yaml: ") as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


def test_aliases_and_merges_within_bounds_are_read():
    text = "base: &b {x: 1, y: 2}\nd: {<<: *b, x: 3}\nlist: &l [1, 2]\nagain: [*l, *l]"
    assert yaml_text.parse(text) == {
        "base": {"x": 1, "y": 2},
        "d": {"x": 3, "y": 2},
        "list": [1, 2],
        "again": [[1, 2], [1, 2]],
    }


def test_values_are_those_that_people_mean():
    text = "[1e-3, -1.5, .5, 10:50:10, 2020-01-01, 010, 0x1f, yes, ~, 1_000, .inf]"
    assert yaml_text.parse(text) == [
        *(0.001, -1.5, 0.5, "10:50:10", "2020-01-01", "010", "0x1f", True, None, "1_000"),
        float("inf"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "training: {learning_rate: " + "9" * 400 + "}",
        "training: {epochs: " + "9" * 4000 + "}",
        "training: {batch_size: 10000000000000000000}",
        "training: {threads: 1000000000}",
        "data: {split_seed: 4294967296}",
        "model: {filters: 10000000}",
        "early_stopping: {patience: 99999999999999999999999}",
        "name: " + "n" * 300,
        '"a\\nb": 1',
        "seed: " + "x" * 5000,
        "checkpoint: {minutes: .inf}",
    ],
)
def test_absurd_settings_are_one_short_line(tmp_path, line):
    path = tmp_path / "c.yaml"
    path.write_text(line)
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_a_thousand_wrong_keys_are_not_a_thousand_lines(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("".join(f"k{n}: 1\n" for n in range(1000)))
    with pytest.raises(InputError, match="1000 settings cannot be used") as caught:
        load_config(path)
    assert len(str(caught.value).splitlines()) == 22
