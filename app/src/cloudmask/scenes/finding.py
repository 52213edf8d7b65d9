"""Where scenes lie: files and product folders, found by name; nothing is opened.

Only Python itself is needed, since overlays are made on nodes where nothing is installed.
"""

from collections.abc import Sequence
from pathlib import Path

from cloudmask.errors import InputError

# Folder names of the public data set: today's and those in older texts.
ROLES = {"training": ("training", "one-day"), "inference": ("inference", "ssts")}


def find_scenes(places: Sequence[Path | str], role: str | None = None) -> list[Path]:
    """Scenes among `places` (files, product folders, or folders searched in depth), by name.

    `role` ("training" or "inference") picks that part of a data set whose top folder is given.
    Raises InputError if a place is missing, holds no scene, or two scenes have the same name.
    """
    found: dict[str, Path] = {}
    for place in map(Path, places):
        for path in _scenes_below(place, role):
            if path.stem in found and found[path.stem].resolve() != path.resolve():
                raise InputError(
                    f"{path}: a scene named {path.stem} is also at {found[path.stem]}; "
                    "names must differ"
                )
            found[path.stem] = path
    return [found[name] for name in sorted(found)]


def _scenes_below(place: Path, role: str | None) -> list[Path]:
    if not place.exists():
        raise InputError(f"{place}: no such file or folder; expected scenes (*.hdf, *.SEN3)")
    if place.is_file() or is_product(place):
        return [place]
    found = [
        path
        for path in place.rglob("*")
        if (path.suffix in (".hdf", ".h5") and path.is_file() and not path.name.startswith("."))
        or (path.suffix == ".SEN3" and path.is_dir())
    ]
    # What belongs to the other part of the data set: test scenes must not get into training.
    others = {name for other, names in ROLES.items() if role and other != role for name in names}
    below = [path for path in found if not others & set(path.relative_to(place).parts)]
    if not below:
        aside = f" (but {len(found)} in {', '.join(sorted(others))})" if found else ""
        raise InputError(
            f"{place}: no scene in it{aside}; expected HDF5 files (*.hdf) or Level-1 product "
            "folders (*.SEN3), also in sub-folders"
        )
    for path in below:
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{str(path)!a}: the name is not UTF-8; expected a plain one"
            ) from None
    return below


def is_product(path: Path | str) -> bool:
    """Whether `path` is a product folder: named *.SEN3, or with a manifest; never raises."""
    path = Path(path)
    try:
        return path.is_dir() and (path.suffix == ".SEN3" or (path / "xfdumanifest.xml").is_file())
    except OSError:  # no permission to look
        return False
