"""The list of scene formats: recognized by name alone, read by one module each."""

import subprocess
import sys
from pathlib import Path

import cloudmask
from cloudmask.patches.geometry import PATCH
from cloudmask.scenes.formats import FORMATS, HDF5, SAFE, format_of
from cloudmask.scenes.synthetic import MIN_SIDE


def test_every_format_has_a_module_with_all_functions():
    for known in FORMATS:
        for name in ("check", "read", "load", "origin", "geolocation", "cloud_truth"):
            assert callable(getattr(known.reader, name)), (known.name, name)


def test_a_path_is_of_one_format(tmp_path):
    file = tmp_path / "S3A.hdf"
    file.touch()
    product = tmp_path / "S3A.SEN3"
    product.mkdir()
    assert format_of(file) is HDF5 and format_of(product) is SAFE
    assert format_of(tmp_path) is HDF5  # whose reader says that it is no scene
    assert [known.matches(tmp_path) for known in FORMATS] == [False, False, False]


def test_a_search_passes_over_hidden_files_and_other_endings(tmp_path):
    for name in ("a.hdf", ".a.1.tmp.hdf", "notes.txt", "file.SEN3"):
        (tmp_path / name).touch()
    for name in ("b.SEN3", "folder.hdf", "empty.SEN3"):
        (tmp_path / name).mkdir()
    (tmp_path / "b.SEN3" / "S7_BT_in.nc").touch()
    (tmp_path / "c.SEN3.zip").touch()
    (tmp_path / "other.zip").touch()
    found = {
        path.name for path in tmp_path.iterdir() if any(known.finds(path) for known in FORMATS)
    }
    assert found == {"a.hdf", "b.SEN3", "c.SEN3.zip"}


def test_formats_are_told_apart_on_a_bare_python(tmp_path):
    source = Path(cloudmask.__file__).parents[1]
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from cloudmask.scenes.finding import find_scenes\n"
        "print(*find_scenes([sys.argv[2]]))\n"
        "assert not {'numpy', 'h5py'} & set(sys.modules)"
    )
    (tmp_path / "a.hdf").touch()
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, source, tmp_path], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "a.hdf")), done.stderr


def test_the_smallest_synthetic_scene_gives_one_patch():
    assert MIN_SIDE == PATCH
