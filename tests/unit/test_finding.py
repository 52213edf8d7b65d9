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
    (tmp_path / training / "p.SEN3" / "S7_BT_in.nc").touch()

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


def test_links_to_folders_are_followed_and_what_is_passed_over_is_named(tmp_path, caplog):
    caplog.set_level("INFO", "cloudmask")
    (tmp_path / "archive" / "june").mkdir(parents=True)
    (tmp_path / "archive" / "june" / "b.hdf").touch()
    top = tmp_path / "training"
    top.mkdir()
    for name in ("a.hdf", "._a.hdf", "C.HDF", "d.sen3", "X.SEN3.ZIP", ".a.1.tmp.hdf", "notes.txt"):
        (top / name).touch()
    (top / "june").symlink_to(tmp_path / "archive" / "june")
    (top / "loop").symlink_to(top)
    (top / "lost.hdf").symlink_to("/nowhere/lost.hdf")
    (top / "empty.SEN3").mkdir()
    (top / "folder.hdf").mkdir()
    other = "S3A_OL_1_EFR____20210827T074336_20210827T074636_20210827T094954_0179_075_320_3060"
    (top / f"{other}_LN2_O_NR_002.SEN3").mkdir()
    (top / f"{other}_LN2_O_NR_002.SEN3" / "xfdumanifest.xml").touch()
    assert [path.name for path in find_scenes([top])] == ["a.hdf", "b.hdf"]
    assert sorted(record.getMessage() for record in caplog.records) == [
        "passed over 1 (OLCI Level-1 product (EFR)): " + f"{other}_LN2_O_NR_002.SEN3",
        "passed over 1 (a companion file of macOS): ._a.hdf",
        "passed over 1 (a folder, expected a file): folder.hdf",
        "passed over 1 (a link that leads nowhere): lost.hdf",
        "passed over 1 (a link to a folder that was searched already): loop",
        "passed over 1 (a product folder without netCDF files): empty.SEN3",
        "passed over 3 (unusual ending, expected .hdf, .h5, .SEN3 or .SEN3.zip): C.HDF, "
        "X.SEN3.ZIP, d.sen3",
    ]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "training").symlink_to(top)
    assert len(find_scenes([tmp_path / "data"], part="training")) == 2
    (top / "a.hdf").unlink()
    (top / "june").unlink()
    with pytest.raises(InputError, match=r"no scene in it; .*a link that leads nowhere"):
        find_scenes([top])


PRODUCT = "S3A_SL_1_RBT____20210827T074336_20210827T074636_{}_0179_075_320_3060_LN2_O_{}"


def test_of_one_granule_the_best_version_is_taken(tmp_path, caplog):
    caplog.set_level("INFO", "cloudmask")
    names = [
        PRODUCT.format("20210827T094954", "NR_004"),
        PRODUCT.format("20210828T120000", "NT_004"),
        PRODUCT.format("20260701T000000", "NR_005"),
        PRODUCT.format("20210827T094954", "NR_004").replace("3060", "3240"),
    ]
    for name in names:
        (tmp_path / f"{name}.hdf").touch()
    assert {path.stem for path in find_scenes([tmp_path])} == {names[2], names[3]}
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith("passed over 2 (another version of the same granule is there): ")
    (tmp_path / f"{names[2]}.hdf").unlink()
    assert {path.stem for path in find_scenes([tmp_path])} == {names[1], names[3]}
