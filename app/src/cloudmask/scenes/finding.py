"""Where scenes lie: files and product folders, found by name; nothing is opened.

Only Python itself is needed, since overlays are made on nodes where nothing is installed.
"""

from collections.abc import Sequence
from pathlib import Path

from cloudmask.errors import InputError
from cloudmask.scenes.dataset import PARTS
from cloudmask.scenes.formats import FORMATS
from cloudmask.system import names


def find_scenes(paths: Sequence[Path | str], part: str | None = None) -> list[Path]:
    """Scenes among `paths` (files, product folders, or folders searched in depth), by name.

    `part` ("training" or "inference") picks that part of a data set whose top folder is given.
    Raises InputError if a path is missing, holds no scene, two scenes have the same
    name, or a name is none that files of results can have.
    """
    found: dict[str, Path] = {}
    for top in map(Path, paths):
        for path in _scenes_below(top, part):
            names.file_name(path.stem, "a scene")
            if path.stem in found and found[path.stem].resolve() != path.resolve():
                raise InputError(
                    f"{path}: a scene named {path.stem} is also at {found[path.stem]}; "
                    "names must differ"
                )
            found[path.stem] = path
    return [found[name] for name in sorted(found)]


def _scenes_below(top: Path, part: str | None) -> list[Path]:
    if not top.exists():
        raise InputError(f"{top}: no such file or folder; expected scenes (*.hdf, *.SEN3)")
    if any(known.matches(top) for known in FORMATS):
        return [top]
    found = [path for path in top.rglob("*") if any(known.finds(path) for known in FORMATS)]
    # What belongs to the other part of the data set: test scenes must not get into training.
    others = {name for other, names in PARTS.items() if part and other != part for name in names}
    below = [path for path in found if not others & set(path.relative_to(top).parts)]
    if not below:
        aside = f" (but {len(found)} in {', '.join(sorted(others))})" if found else ""
        raise InputError(
            f"{top}: no scene in it{aside}; expected HDF5 files (*.hdf) or Level-1 product "
            "folders (*.SEN3), also in sub-folders"
        )
    return below
