"""Masks of scenes with and without labels: `cloudmask-predict` and `cloudmask.predict`."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

import cloudmask
from cloudmask.errors import InputError, SceneError
from cloudmask.evaluate import example, saved_network
from cloudmask.evaluate.evaluation import EvaluationOptions, EvaluationOutput, evaluate
from cloudmask.evaluate.map_formats import Grid, grid_of
from cloudmask.evaluate.mask_job import MaskRequest, write_masks
from cloudmask.evaluate.masking import CloudMasker, MaskOptions
from cloudmask.evaluate.saved_network import NetworkFacts
from cloudmask.evaluate.scaling import scaled
from cloudmask.evaluate.sources import ExampleNetwork, FileNetwork
from cloudmask.record.run_directory import RunDirectory
from cloudmask.scenes.synthetic import make_scene, scene_name, write_scene

FACTS = NetworkFacts(
    temperature=1.5,
    threshold_favor_clear=0.8,
    threshold_favor_cloud=0.2,
    labels="bayes",
    calibration="003",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three scenes: labeled, without labels, and labeled for a half."""
    folder = tmp_path_factory.mktemp("scenes")
    for number in range(3):
        path = folder / f"{scene_name('inference', number)}.hdf"
        write_scene(path, make_scene("inference", number, (256, 320), seed=1))
        with h5py.File(path, "r+") as file:
            if number == 1:
                del file["bayes"], file["summary"]
            if number == 2:
                file["bayes"][:, :160] = 255
    return folder


@pytest.fixture(scope="module")
def paths(folder):
    return [folder / f"{scene_name('inference', number)}.hdf" for number in range(3)]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "model.keras"
    saved_network.save(example.network(), path, FACTS)
    return FileNetwork(path)


@pytest.fixture(scope="module")
def masker(network):
    return CloudMasker(network, MaskOptions())


def test_a_prediction_does_not_depend_on_labels(masker, paths, tmp_path):
    found = masker(paths[2])
    bare = tmp_path / paths[2].name
    shutil.copy(paths[2], bare)
    with h5py.File(bare, "r+") as file:
        del file["bayes"]
    assert np.array_equal(masker(bare).probability, found.probability)
    assert np.array_equal(masker(bare).scene.measured, found.scene.measured)
    assert found.scene.mask is None and found.model == masker.identity


def test_probabilities_are_scaled_and_thresholds_are_by_use(network, masker, paths):
    raw = CloudMasker(ExampleNetwork(), MaskOptions())(paths[0])
    found = masker(paths[0])
    assert found.probability == pytest.approx(scaled(raw.probability, 1.5), abs=1e-6)
    assert found.calibration == "003"
    assert np.array_equal(found.cloud, raw.cloud)
    fractions = {}
    for favor, threshold in (("cloud", 0.2), ("clear", 0.8)):
        prediction = CloudMasker(network, MaskOptions(favor=favor))(paths[0])
        assert prediction.threshold == threshold
        fractions[favor] = prediction.cloud.mean()
    assert fractions["clear"] < found.cloud.mean() < fractions["cloud"]
    grown = CloudMasker(network, MaskOptions(dilate=3))(paths[0])
    assert grown.cloud.mean() > found.cloud.mean() and grown.cloud[found.cloud].all()


@pytest.mark.parametrize(
    "options, words",
    [
        (MaskOptions(favor="cloud"), "--favor cloud: .* has no such threshold"),
        (MaskOptions(favor="cloud", threshold=0.5), "expected only one of them"),
        (MaskOptions(threshold=1.5), "expected a probability between 0 and 1"),
        (MaskOptions(dilate=-1), "--dilate -1: expected 0 to 6000"),
        (MaskOptions(dilate=3_000_000_000), "--dilate 3000000000: expected 0 to 6000"),
        (MaskOptions(memory_limit=float("nan")), "--memory-limit"),
        (MaskOptions(favor="clouds"), "--favor 'clouds': expected one of clear, cloud"),
        (MaskOptions(nan="fil"), "--nan 'fil': expected one of ignore, fill"),
        (MaskOptions(calibration="004"), "--calibration '004'"),
    ],
)
def test_options_that_cannot_be(options, words):
    with pytest.raises(InputError, match=words):
        CloudMasker(ExampleNetwork(), options)


def test_a_scene_is_adapted_to_the_calibration_of_the_network(masker, paths, tmp_path):
    """By a name that tells collection 005."""
    new = tmp_path / f"{paths[0].stem[:-3]}005.hdf"
    shutil.copy(paths[0], new)
    adapted, stored = masker(new).scene, masker(paths[0]).scene
    lit = adapted.measured[..., 0]
    ratio = (adapted.image[lit][:, 4] + 0.5).mean() / (stored.image[lit][:, 4] + 0.5).mean()
    assert ratio == pytest.approx(1 / 1.11, rel=1e-3)
    assert "reflectances of collection 005 adapted to those of 003" in adapted.notes


def test_masks_are_written_once_and_a_cut_off_call_is_taken_up(network, folder, tmp_path):
    request = MaskRequest(network, [folder], tmp_path / "out", pictures=True)
    first = write_masks(request)
    assert (first.written, first.earlier) == (3, 0)
    masks = sorted(first.folder.masks.iterdir())
    contents = [mask.read_bytes() for mask in masks]
    assert len(list(first.folder.pictures.iterdir())) == 3
    masks[1].unlink()
    again = write_masks(request)
    assert (again.written, again.earlier) == (1, 2)
    assert [mask.read_bytes() for mask in masks] == contents
    assert len(first.folder.scenes_table.read_text().splitlines()) == 4
    shutil.rmtree(first.folder.pictures)
    assert write_masks(replace(request, pictures=False)).earlier == 3
    assert write_masks(request).written == 3  # for their pictures
    for options, key in (
        (MaskOptions(tiling="published"), "tiling"),
        (MaskOptions(nan="fill"), "nan"),
    ):
        with pytest.raises(InputError, match=f"holds masks with {key}"):
            write_masks(replace(request, options=options))
    other = replace(request, options=MaskOptions(threshold=0.7))
    with pytest.raises(InputError, match=r"holds masks with threshold 0\.5, not 0\.7"):
        write_masks(other)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(InputError, match="holds files but no set of cloud masks"):
        write_masks(replace(request, out=tmp_path / "full"))


def test_another_scene_of_the_same_name_is_not_taken_for_done(network, paths, tmp_path):
    for folder, path in (("a", paths[0]), ("b", paths[1])):
        (tmp_path / folder).mkdir()
        shutil.copy(path, tmp_path / folder / "x.hdf")
    request = MaskRequest(network, [tmp_path / "a"], tmp_path / "out")
    write_masks(request)
    with pytest.raises(InputError, match=r"x\.nc: is of another scene named x"):
        write_masks(replace(request, scenes=[tmp_path / "b"]))


def test_a_grid_that_cannot_be_is_refused_before_anything_is_made(network, paths, tmp_path):
    pytest.importorskip("pyresample")
    request = MaskRequest(network, paths[:1], tmp_path / "out", format="cog")
    for changed, words in (
        ({"grid": Grid("EPSG:nowhere")}, "--crs EPSG:nowhere: unknown"),
        ({"grid": Grid(resolution=1e300)}, "resolution 1e\\+300"),
        ({"layers": ["valid"]}, "--layer: expected with"),
    ):
        with pytest.raises(InputError, match=words):
            write_masks(replace(request, **changed))
        assert not (tmp_path / "out").exists()
    # A scene without positions is one that cannot be used.
    with pytest.raises(SceneError, match="no position of its pixels is known"):
        write_masks(request)
    assert grid_of("EPSG:3995", None).resolution == 1000


def test_bad_scenes_can_be_left_out(network, paths, tmp_path):
    (tmp_path / "bad.hdf").write_bytes(b"no scene")
    request = MaskRequest(network, [paths[0], tmp_path / "bad.hdf"], tmp_path / "out")
    with pytest.raises(SceneError, match=r"bad\.hdf"):
        write_masks(request)
    done = write_masks(replace(request, skip_bad=True))
    # The first call had written the mask of the good one.
    assert (done.written, done.earlier) == (0, 1) and "bad.hdf" in done.left_out[0]
    with pytest.raises(InputError, match=r"no scene can be used; the first: .*bad\.hdf"):
        alone = replace(request, scenes=[tmp_path / "bad.hdf"], skip_bad=True)
        write_masks(replace(alone, out=tmp_path / "other"))


def test_predict_in_python(network, paths):
    pytest.importorskip("xarray")
    found = cloudmask.predict(paths[1], model=network.path, layers=["valid"])
    assert {"cloud_mask", "cloud_probability", "valid"} <= set(found)
    assert found["cloud_mask"].shape == (256, 320)
    measured = found["valid"].values > 0
    assert np.isin(found["cloud_mask"].values[measured], (0, 1)).all()
    assert np.isnan(found["cloud_mask"].values[~measured]).all()
    with pytest.raises(InputError, match="only one of them"):
        cloudmask.predict(paths[1], run="a", model="b")


def test_the_notebook_runs(network, paths, tmp_path, monkeypatch):
    pytest.importorskip("xarray")
    import matplotlib

    matplotlib.use("Agg")
    shutil.copy(paths[1], tmp_path / "scene.hdf")
    shutil.copy(network.path, tmp_path / "model.keras")
    notebook = Path(__file__).resolve().parents[2] / "docs" / "predict.ipynb"
    monkeypatch.chdir(tmp_path)
    names = {}
    for cell in json.loads(notebook.read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec(cell["source"], names)
    assert names["mask"]["cloud_mask"].shape == (256, 320)


def test_scenes_with_and_without_labels_are_evaluated_together(paths, tmp_path):
    folder = RunDirectory(tmp_path)
    judged = evaluate(
        lambda image: np.where(image[..., 7:8] < 0, 0.9, 0.1).astype(np.float32),
        paths,
        EvaluationOptions(),
        EvaluationOutput(folder),
    )
    assert (judged.scenes, judged.unlabeled_scenes) == (2, 1)
    assert len(list(folder.masks.iterdir())) == len(list(folder.pictures.iterdir())) == 3
    assert any("predicted, not judged" in note for note in judged.notes)
    assert len(judged.accuracy_per_scene) == 2
    # In the published fashion a pixel without a label is one of clear sky.
    everywhere = []
    for path in (paths[0], paths[2]):
        with h5py.File(path) as file:
            bts, bayes = file["bts"][..., 1], file["bayes"][..., 0]
        cloud = np.nan_to_num(bts, nan=270.0) < 270
        everywhere.append((cloud == ((bayes > 0) & (bayes < 255))).mean())
    assert judged.accuracy_all_pixels == pytest.approx(np.mean(everywhere))
    with pytest.raises(InputError, match=r"no scene has labels .*cloudmask-predict"):
        evaluate(lambda image: image[..., :1], paths[1:2], EvaluationOptions())
