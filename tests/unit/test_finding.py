"""Which files and folders are scenes, and which part of a data set they belong to."""

import pytest

from cloudmask.errors import InputError
from cloudmask.scenes.finding import find_scenes


@pytest.mark.parametrize("training, inference", [("training", "inference"), ("one-day", "ssts")])
def test_find_scenes_of_either_layout(tmp_path, training, inference):
    for folder, name in ((training, "b"), (f"{training}/2019/06", "a"), (inference, "c")):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / f"{name}.hdf").touch()
    (tmp_path / training / "notes.txt").touch()
    (tmp_path / training / ".a.123.tmp.hdf").touch()
    (tmp_path / training / "p.SEN3").mkdir()

    def names(*args):
        return [path.stem for path in find_scenes(*args)]

    assert names([tmp_path], "training") == ["a", "b", "p"]
    assert names([tmp_path], "inference") == ["c"]
    assert names([tmp_path]) == ["a", "b", "c", "p"]
    assert names([tmp_path / inference], "training") == ["c"]
    assert names([tmp_path / training / "b.hdf", tmp_path / training / "p.SEN3"]) == ["b", "p"]
    assert names([tmp_path / inference, tmp_path / inference / "c.hdf"]) == ["c"]


def test_find_scenes_without_any(tmp_path):
    with pytest.raises(InputError, match="no scene in it"):
        find_scenes([tmp_path])
    with pytest.raises(InputError, match="nowhere: no such file or folder"):
        find_scenes([tmp_path / "nowhere"])


def test_find_scenes_of_the_same_name(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "s.hdf").touch()
    with pytest.raises(InputError, match="a scene named s is also at"):
        find_scenes([tmp_path])


def test_the_other_part_of_a_data_set_stays_out(tmp_path):
    """Whatever level the folder is at: test scenes must not get into training."""
    for part in ("training", "inference", "ssts"):
        (tmp_path / "set" / part).mkdir(parents=True)
        (tmp_path / "set" / part / f"S3A_{part}.hdf").touch()
    names = [path.stem for path in find_scenes([tmp_path], part="training")]
    assert names == ["S3A_training"]
    assert len(find_scenes([tmp_path])) == 3
    inside = tmp_path / "set" / "inference"
    assert len(find_scenes([inside], part="training")) == 1
    with pytest.raises(InputError, match=r"no scene in it \(but 3 in"):
        (tmp_path / "set" / "training" / "S3A_training.hdf").rename(inside / "S3A_t.hdf")
        find_scenes([tmp_path], part="training")
