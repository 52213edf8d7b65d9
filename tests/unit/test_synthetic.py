"""Synthetic scenes: layout, reproducibility, and that they pose the problem that real ones pose."""

import contextlib
import re
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from cloudmask.commands import synth
from cloudmask.errors import InputError
from cloudmask.patches.geometry import crop_patches
from cloudmask.scenes import simulation, synthetic
from cloudmask.scenes.finding import find_scenes
from cloudmask.scenes.scene import read_scene
from cloudmask.scenes.simulation import make_scene
from cloudmask.scenes.synthetic import make_scenes, scene_name
from cloudmask.system import files

SMALL = (256, 256)


@pytest.fixture(scope="module")
def scenes():
    return [make_scene("training", number, (384, 512)) for number in range(10)]


def content(folder):
    found = {}
    for path in sorted(folder.rglob("*.hdf")):
        with h5py.File(path) as file:
            found[path.name] = {name: file[name][...].tobytes() for name in file}
    return found


def is_day(scene):
    return np.nanmean(scene.refs[..., 0]) > 0.02


def test_layout_is_the_published_one_and_is_read_back(tmp_path):
    assert len(list(make_scenes(tmp_path, {"training": 1, "inference": 1}, SMALL))) == 2
    for part in ("training", "inference"):
        (path,) = find_scenes([tmp_path], part=part)
        with h5py.File(path) as file:
            found = {name: (file[name].shape, file[name].dtype.str) for name in file}
        assert found == {
            "refs": ((256, 256, 6), "<f4"),
            "bts": ((256, 256, 3), "<f4"),
            "bayes": ((256, 256, 1), "|u1"),
            "summary": ((256, 256, 1), "|u1"),
            "truth": ((256, 256, 1), "|u1"),
        }
        scene = read_scene(path)
        assert scene.image.shape == (256, 256, 9)
        assert np.isfinite(scene.image).all()
        assert 0.01 < 1 - scene.valid.mean() < 0.08
        assert scene.cloud_truth is not None
    assert not [path for path in tmp_path.rglob("*") if path.suffix != ".hdf" and path.is_file()]


def test_same_seed_same_data_whatever_the_workers_and_the_number_of_scenes(tmp_path):
    one, many, other = tmp_path / "one", tmp_path / "many", tmp_path / "other"
    list(make_scenes(one, {"training": 1, "inference": 1}, SMALL, seed=5, workers=1))
    list(make_scenes(many, {"training": 3, "inference": 2}, SMALL, seed=5, workers=2))
    list(make_scenes(other, {"training": 1, "inference": 1}, SMALL, seed=6, workers=1))
    few, more, changed = content(one), content(many), content(other)
    assert len(more) == 5
    assert len({tuple(scene.values()) for scene in more.values()}) == 5
    for name, scene in few.items():
        assert more[name] == scene
        assert changed[name] != scene


def test_names_are_those_of_products_and_unique():
    names = {scene_name("training", k) for k in range(synthetic.PRODUCTS)}
    assert len(names) == synthetic.PRODUCTS
    pattern = re.compile(
        r"S3A_SL_1_RBT____201906\d\dT\d{6}_20190[67]\d\dT\d{6}_20190[67]\d\dT\d{6}"
        r"_0179_\d{3}_\d{3}_\d{4}_LN2_O_NT_003"
    )
    assert all(pattern.fullmatch(name) for name in names)
    assert all("____201910" in scene_name("inference", k) for k in range(200))


def test_fill_is_in_edge_columns_and_the_published_crop_removes_it():
    scene = make_scene("inference", 3)
    fill = np.isnan(scene.bts).any(axis=-1)
    np.testing.assert_array_equal(fill, np.isnan(scene.refs).any(axis=-1))
    assert 0.03 < fill.mean() < 0.04
    assert fill[:, 0].all() and fill[:, -1].all()
    assert not fill[:, 110:-110].any()
    assert not np.isnan(crop_patches(scene.bts)).any()
    assert not (
        scene.bayes[fill].any() or scene.cloud_truth[fill].any() or scene.summary[fill].any()
    )


def test_values_are_physical(scenes):
    for scene in scenes:
        inside = np.isfinite(scene.bts[..., 0])
        assert scene.refs[inside].min() >= 0
        assert scene.refs[inside].max() < 1.6
        assert scene.bts[inside].min() > 195 and scene.bts[inside].max() < 350
        assert set(np.unique(scene.bayes)) <= {0, 1, 3}
        assert set(np.unique(scene.cloud_truth)) | set(np.unique(scene.summary)) <= {0, 1}


def test_there_is_day_and_night_and_night_is_dark(scenes):
    nights = [scene for scene in scenes if not is_day(scene)]
    assert 0 < len(nights) < len(scenes)
    assert max(np.nanmax(scene.refs) for scene in nights) < 0.02


def test_clouds_are_bright_and_cold_on_average(scenes):
    for scene in scenes:
        inside = np.isfinite(scene.bts[..., 0])
        cloud = scene.cloud_truth[..., 0].astype(bool)
        assert scene.bts[inside & cloud, 1].mean() < scene.bts[inside & ~cloud, 1].mean()


def test_snow_is_bright_in_the_visible_and_dark_in_the_short_wave_infrared():
    rng = np.random.default_rng(2)
    ground = next(
        ground
        for ground in (simulation._ground(rng, SMALL, True) for _ in range(60))
        if np.mean(ground.snow > 0.9) > 0.1
    )
    snow = ground.snow > 0.9
    s1, s5 = ground.refs[0, snow], ground.refs[4, snow]
    assert np.median((s1 - s5) / (s1 + s5)) > 0.6
    assert ground.temperature[snow].max() < 273


def test_channels_are_correlated_and_fields_are_coherent(scenes):
    for scene in scenes:
        inside = np.isfinite(scene.bts[..., 0])
        assert np.corrcoef(scene.bts[inside].T)[1, 2] > 0.98
        s8 = np.where(inside, scene.bts[..., 1], scene.bts[inside, 1].mean())
        assert np.abs(np.diff(s8, axis=0)).mean() < 0.5 * s8.std()
        if is_day(scene):
            assert np.corrcoef(scene.refs[inside].T)[0, 1] > 0.8


def test_masks_are_imperfect_differently_and_in_patches(scenes):
    agreement, summary, clumped = [], [], []
    for scene in scenes:
        inside = np.isfinite(scene.bts[..., 0])
        truth, mask = scene.cloud_truth[..., 0] > 0, scene.bayes[..., 0] > 0
        agreement.append((truth == mask)[inside].mean())
        summary.append((truth == (scene.summary[..., 0] > 0))[inside].mean())
        assert (scene.summary[..., 0] != mask).any()
        wrong = truth != mask
        # Errors that were drawn pixel by pixel would have wrong neighbours only by chance.
        clumped.append(wrong[:, :-1][wrong[:, 1:]].mean() / wrong.mean())
    assert 0.90 < np.mean(agreement) < 0.95
    assert 0.90 < np.mean(summary) < 0.97
    assert min(clumped) > 3


def test_mask_is_no_function_of_what_is_seen():
    rng = np.random.default_rng(1)
    ground = simulation._ground(rng, SMALL, True)
    layers = [simulation._cumulus(rng, SMALL, ground)]
    first, second = (simulation._bayes(rng, ground, layers) > 0 for _ in range(2))
    assert 0.02 < np.mean(first != second) < 0.3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--train", "1", "--test", "0", "--size", "255x300"], "256"),
        (["--train", "1", "--test", "0", "--size", "300"], "HxW"),
        (["--train", "1", "--test", "0", "--size", "300x9999"], "6000"),
        (["--train", "-1", "--test", "1"], "-1 training"),
        (["--train", "0", "--test", "0"], "nothing to make"),
        (["--train", "14401", "--test", "0"], "14400"),
        (["--train", "1", "--test", "0", "--workers", "0"], "--workers"),
        (["--train", "1", "--test", "0", "--seed", "-3"], "--seed"),
        (["--train", "x", "--test", "0"], "--train"),
    ],
)
def test_bad_arguments_are_one_line_and_exit_code_2(
    arguments, words, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(sys, "argv", ["cloudmask-synth", "--out", str(tmp_path / "d"), *arguments])
    try:
        code = synth.main()
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert words in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "d").exists()


def test_a_request_is_also_checked_without_the_command(tmp_path):
    with pytest.raises(InputError, match="256"):
        list(make_scenes(tmp_path, {"training": 1, "inference": 0}, (100, 300)))


def test_command_says_what_it_made(tmp_path, capsys, monkeypatch):
    argv = ["cloudmask-synth", "--out", str(tmp_path), "--train", "1", "--test", "1"]
    monkeypatch.setattr(sys, "argv", [*argv, "--size", "256x300", "--workers", "1"])
    assert synth.main() == 0
    out, err = capsys.readouterr()
    assert "1 training and 1 inference scenes of 256 x 300 pixels" in out
    assert "2/2" in err
    assert len(list(tmp_path.rglob("S3A*.hdf"))) == 2


def test_an_existing_file_is_replaced_whole(tmp_path):
    path = tmp_path / "training" / f"{scene_name('training', 0)}.hdf"
    path.parent.mkdir()
    path.write_bytes(b"half a file")
    list(make_scenes(tmp_path, {"training": 1, "inference": 0}, SMALL))
    assert read_scene(path).cloud_truth.any()


def test_help_teaches_and_answers_at_once():
    command = (
        "import sys; from cloudmask.commands.synth import parser; parser().format_help();"
        "sys.exit('numpy' in sys.modules or 'h5py' in sys.modules)"
    )
    started = time.monotonic()
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0
    assert time.monotonic() - started < 3  # 0.1 s on a machine that is not shared
    assert "examples:" in synth.parser().format_help()


@pytest.mark.slow
def test_nothing_is_left_of_a_command_that_was_killed(tmp_path):
    """Its workers end, and the next start removes what they were writing."""
    command = [Path(sys.executable).with_name("cloudmask-synth"), "--out", tmp_path]
    command += ["--train", "4", "--test", "0", "--workers", "2"]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    while not list(tmp_path.rglob("*.hdf")) and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    until = time.monotonic() + 120
    while (alive := members(process.pid)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive
    folder = tmp_path / "training"
    # As if a worker had been killed while it wrote a scene that is not made again.
    dead = re.sub(
        r"\.\d+\.\d+\.", f".{process.pid}.1.", files.temporary_path(folder / "S3A.hdf").name
    )
    (folder / dead).write_bytes(b"half")
    assert subprocess.run(command, stdout=subprocess.DEVNULL).returncode == 0
    assert len(list(folder.iterdir())) == 4


def members(session):
    """Numbers of the living processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, number = stat.read_text().rpartition(")")[2].split()[:4]
            if int(number) == session and state not in "ZX":
                found.append(stat.parent.name)
    return found
