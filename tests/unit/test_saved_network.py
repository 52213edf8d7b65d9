"""Networks from files: only weights are read, whatever else a file holds."""

import io
import json
import os
import time
import zipfile

import h5py
import numpy as np
import pytest

from cloudmask.errors import InputError
from cloudmask.evaluate.saved_network import (
    FACTS,
    WEIGHTS,
    NetworkFacts,
    fact_text,
    facts,
    load,
    save,
    weights_identity,
)
from cloudmask.model import unet


@pytest.fixture(scope="module")
def network():
    import keras

    keras.utils.set_random_seed(3)
    unet(filters=2)  # The layers of the next one have other numbers in their names.
    return unet(filters=2)


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    network.save(path)
    return path


def repacked(saved, tmp_path, change=None, compression=zipfile.ZIP_STORED, **replaced):
    """A copy of the file, whose weights `change` changes, with other members instead."""
    with zipfile.ZipFile(saved) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    if change:
        content = io.BytesIO(members[WEIGHTS])
        with h5py.File(content, "r+") as file:
            change(file)
        members[WEIGHTS] = content.getvalue()
    members |= {f"{name}.json": content for name, content in replaced.items()}
    path = tmp_path / "other.keras"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def refused(path, words, read=load):
    began = time.monotonic()
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ") and words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_saved_weights_read_back(tmp_path, deterministic, precision):
    network = unet((64, 64, 9), 2, precision, deterministic)
    network.save(tmp_path / "model.keras")
    for read, weight in zip(load(tmp_path / "model.keras").weights, network.weights, strict=True):
        np.testing.assert_array_equal(read.numpy(), weight.numpy())


def test_files_of_keras_2_are_read(saved, network, tmp_path):
    """It writes one level of groups, with backslashes in their names."""

    def change(file):
        for name in list(file["layers"]):
            file.move(f"layers/{name}/vars", f"_layer_checkpoint_dependencies\\{name}/vars")
        del file["layers"]

    for read, weight in zip(
        load(repacked(saved, tmp_path, change)).weights, network.weights, strict=True
    ):
        np.testing.assert_array_equal(read.numpy(), weight.numpy())


def test_what_a_file_describes_is_not_built(saved, tmp_path):
    """Neither code nor absurd sizes in the description do anything."""
    with zipfile.ZipFile(saved) as archive:
        config = json.loads(archive.read("config.json"))
    marker = tmp_path / "executed"
    config["module"], config["class_name"] = "os", "system"
    config["config"] = {"command": f"touch {marker}", "filters": 10**7}
    assert load(repacked(saved, tmp_path, config=json.dumps(config))).count_params()
    assert load(repacked(saved, tmp_path, config="[" * 100_000)).count_params()
    assert not marker.exists()


def other_file(file):
    del file["layers/conv2d_1/vars/0"]
    file["layers/conv2d_1/vars/0"] = h5py.ExternalLink("/etc/passwd", "x")


def other_storage(file):
    del file["layers/conv2d_1/vars/0"]
    file["layers/conv2d_1/vars"].create_dataset(
        "0", (3, 3, 2, 2), "f4", external=[("/etc/passwd", 0, 144)]
    )


def virtual(file):
    del file["layers/conv2d_1/vars/0"]
    layout = h5py.VirtualLayout((3, 3, 2, 2), "f4")
    layout[...] = h5py.VirtualSource("/etc/passwd", "x", layout.shape)
    file["layers/conv2d_1/vars"].create_virtual_dataset("0", layout)


def not_a_number(file):
    file["layers/conv2d_3/vars/1"][0] = np.nan


def infinite(file):
    file["layers/conv2d_3/vars/0"][0, 0, 0, 0] = np.inf


def without_a_layer(file):
    del file["layers/conv2d_7"]


def another_layer(file):
    del file["layers/conv2d_7/vars/1"]
    file["layers/conv2d_7/vars/1"] = np.zeros(5, np.float32)


def text_for_numbers(file):
    del file["layers/conv2d_7/vars/1"]
    file["layers/conv2d_7/vars/1"] = np.full(16, b"1.0000")


def ten_million_filters(file):
    del file["layers/conv2d/vars/0"]
    file["layers/conv2d/vars"].create_dataset("0", (3, 3, 9, 10**7), "f4", chunks=(3, 3, 9, 10))


def many_groups(file):
    for number in range(3000):
        file.create_group(f"group{number}")


def circle(file):
    file["layers/conv2d/again"] = file["layers"]
    del file["layers/conv2d/vars"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_file, "'layers/conv2d_1/vars/0' is an external link"),
        (other_storage, "'layers/conv2d_1/vars/0' has external storage"),
        (virtual, "'layers/conv2d_1/vars/0' is a virtual data set"),
        (not_a_number, "1 of 7849 weights are not finite; expected numbers"),
        (infinite, "1 of 7849 weights are not finite"),
        (without_a_layer, "another network; expected the U-Net of cloudmask-train"),
        (another_layer, "another network"),
        (text_for_numbers, "weights that are no numbers"),
        (ten_million_filters, "'layers/conv2d/vars/0' would take "),
        (many_groups, "more than 2000 data sets"),
        (circle, "another network"),
    ],
)
def test_weights_of_others_are_checked(saved, tmp_path, change, words):
    refused(repacked(saved, tmp_path, change), words)


def test_a_zip_bomb_is_not_unpacked(saved, tmp_path):
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(WEIGHTS, bytes(1 << 28))
    refused(path, f"'{WEIGHTS}' would be 268,435,456 bytes of")


def test_damaged_weights_are_one_line(saved, tmp_path):
    with zipfile.ZipFile(saved) as archive:
        content = bytearray(archive.read(WEIGHTS))
    rng = np.random.default_rng(0)
    seen = 0
    for _ in range(60):
        damaged = content.copy()
        for place in rng.integers(len(content) // 8, size=20):
            damaged[place] = rng.integers(256)
        path = tmp_path / "damaged.keras"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(WEIGHTS, bytes(damaged))
        try:
            load(path)
        except InputError as error:
            seen += 1
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
    assert seen > 20


@pytest.mark.parametrize(
    "content", [b"", b"not a network", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", None]
)
def test_what_is_no_network_is_named(tmp_path, content):
    path = tmp_path / "model.keras"
    if content is not None:
        path.write_bytes(content)
    refused(
        path, "expected a network saved" if content is None else "not a network saved as .keras"
    )


def test_a_named_pipe_is_no_network(tmp_path):
    os.mkfifo(tmp_path / "model.keras")
    refused(tmp_path / "model.keras", "is a named pipe; expected a file")


KNOWN = NetworkFacts(
    temperature=1.75,
    threshold_favor_clear=0.75,
    threshold_favor_cloud=0.25,
    labels="bayes",
    calibration="005",
    patches="0" * 64,
    name="paper",
)


def test_a_network_tells_about_itself_and_keras_still_loads_it(network, tmp_path):
    import keras

    path = tmp_path / "model.keras"
    save(network, path, KNOWN)
    assert facts(path) == KNOWN
    for other in (load(path), keras.models.load_model(path)):
        for read, weight in zip(other.get_weights(), network.get_weights(), strict=True):
            np.testing.assert_array_equal(read, weight)
    assert list(tmp_path.iterdir()) == [path]
    with zipfile.ZipFile(path) as archive:
        told = json.loads(archive.read(FACTS))
        assert archive.testzip() is None
    assert told == {
        "format": 1,
        "temperature": 1.75,
        "threshold_favor_clear": 0.75,
        "threshold_favor_cloud": 0.25,
        "labels": "bayes",
        "calibration": "005",
        "patches": "0" * 64,
        "name": "paper",
    }


def test_a_network_that_tells_nothing_has_the_defaults(saved):
    found = facts(saved)
    assert found == NetworkFacts()
    assert (found.temperature, found.labels, found.calibration) == (1, "", "unknown")
    assert found.threshold_favor_clear is None and found.threshold_favor_cloud is None


def test_what_a_newer_program_tells_is_passed_over(saved, tmp_path):
    assert facts(
        repacked(saved, tmp_path, cloudmask='{"format": 1, "x": [], "labels": "summary"}')
    ) == (NetworkFacts(labels="summary"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "'cloudmask.json' in it: Invalid JSON"),
        ("not JSON", "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        ("[" * 60_000, "Invalid JSON"),
        ("[1]", "Input should be an object"),
        ("{}", "no 'format'; expected 1"),
        ('{"format": 2}', "'format': Input should be 1"),
        ('{"format": 1, "temperature": NaN}', "'temperature': "),
        ('{"format": 1, "temperature": Infinity}', "'temperature': "),
        ('{"format": 1, "temperature": 0}', "'temperature': Input should be greater than or"),
        ('{"format": 1, "temperature": -1}', "'temperature': "),
        ('{"format": 1, "temperature": 1e-300}', "'temperature': "),
        ('{"format": 1, "temperature": "1"}', "'temperature': Input should be a valid number"),
        ('{"format": 1, "temperature": null}', "'temperature': "),
        ('{"format": 1, "threshold_favor_clear": 1}', "'threshold_favor_clear': "),
        ('{"format": 1, "threshold_favor_cloud": NaN}', "'threshold_favor_cloud': "),
        ('{"format": 1, "name": 3}', "'name': Input should be a valid string"),
        ('{"format": 1, "labels": "truth"}', "'labels': Input should be '', 'bayes' or 'summary'"),
        ('{"format": 1, "calibration": "004"}', "'calibration': Input should be '003', '005'"),
        ('{"format": 1, "labels": "a\\nb"}', "'labels': "),
        (json.dumps({"format": 1, "name": "x" * 201}), "'name': String should have at most 200"),
        (json.dumps({"format": 1, "x": "x" * 100_000}), "'cloudmask.json' would be 100,0"),
    ],
)
def test_what_others_tell_is_checked(saved, tmp_path, content, words):
    refused(repacked(saved, tmp_path, cloudmask=content), words, facts)


def test_a_bomb_of_facts_is_not_unpacked(saved, tmp_path):
    path = repacked(
        saved, tmp_path, compression=zipfile.ZIP_DEFLATED, cloudmask='{"format": 1}' + " " * 60_000
    )
    refused(path, "'cloudmask.json' would be 60,013 bytes of", facts)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", None])
def test_facts_of_what_is_no_network(tmp_path, content):
    path = tmp_path / "model.keras"
    if content is not None:
        path.write_bytes(content)
    expected = "no such file" if content is None else "not a network saved as .keras"
    refused(path, expected, facts)
    refused(path, expected, load)


def test_any_text_becomes_a_fact():
    for text in ("bayes", "a\nb\x1b[31m", "x" * 10_000, "\udcff\u202e", ""):
        assert NetworkFacts(name=fact_text(text)).name == fact_text(text)
    assert fact_text("bayes") == "bayes"


def test_the_identity_is_that_of_the_weights(network, saved, tmp_path):
    """Neither what a file tells nor the date in it changes it; one bit of a weight does."""
    save(network, tmp_path / "again.keras", KNOWN)

    def identity(path):
        return weights_identity(load(path).get_weights())

    assert len(identity(saved)) == 64
    assert identity(saved) == identity(tmp_path / "again.keras")
    assert identity(saved) == weights_identity(network.get_weights())

    def change(file):
        bias = file["layers/conv2d_3/vars/1"]
        bias[0] = np.nextafter(bias[0], np.float32(1))

    assert identity(repacked(saved, tmp_path, change)) != identity(saved)


def test_a_network_appears_with_its_facts_or_not_at_all(network, tmp_path, monkeypatch):
    path = tmp_path / "model.keras"
    path.write_bytes(b"before")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(OSError, match="No space left"):
        save(network, path, KNOWN)
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]
