"""Where scenes lie: files and products, found by name; nothing is opened.

Only Python itself is needed, since overlays are made on nodes where nothing is installed.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cloudmask.errors import InputError
from cloudmask.scenes import product_name
from cloudmask.scenes.dataset import PARTS
from cloudmask.scenes.formats import (
    FOLDER_SUFFIX,
    FORMATS,
    MANIFEST,
    holds_product,
    is_scene,
    product_folder,
    scene_name,
)
from cloudmask.system import names

SHOWN = 3  # names in a message
_SUFFIXES = (".hdf", ".h5", ".hdf5", ".he5", FOLDER_SUFFIX.lower())

logger = logging.getLogger(__name__)


def find_scenes(paths: Sequence[Path | str], part: str | None = None) -> list[Path]:
    """Scenes among `paths` (files, products, or folders searched in depth), by name.

    Links to folders are followed. Of products of the same granule the best is taken: the newest
    collection, then the latest timeliness. What looks like a scene and is none is logged with its
    reason. `part` ("training" or "inference") picks that part of a data set whose top folder is
    given. Raises InputError if a path is missing, holds no scene, two scenes have the same
    name, or a name is none that files of results can have.
    """
    search = _Search(part)
    found: dict[str, Path] = {}
    for top in map(Path, paths):
        for path in search.scenes_below(top):
            name = names.file_name(scene_name(path), "a scene")
            if name in found and found[name].resolve() != path.resolve():
                if product_name.parse(name) is None:
                    raise InputError(
                        f"{path}: a scene named {name} is also at {found[name]}; names must differ"
                    )
                # An archive beside what was unpacked from it, or a copy: one product.
                path, other = sorted((found[name], path), key=_preference)
                search.pass_over("another copy of the same product is there", other.name)
            found[name] = path
    best = search.best_of_each_granule(found)
    for line in search.passed_over():
        logger.info(line)
    return [best[name] for name in sorted(best)]


@dataclass
class _Search:
    """A search through folders; `others`: what looks like a scene and is none, by reason."""

    part: str | None
    others: dict[str, list[str]] = field(default_factory=dict)

    def scenes_below(self, top: Path) -> list[Path]:
        """The scene `top`, or those in that folder."""
        if not top.exists():
            raise InputError(
                f"{top}: no such file or folder; expected scenes (*.hdf, *.SEN3, *.SEN3.zip)"
            )
        if is_scene(top) and not self._is_plain_folder(top):
            return [product_folder(top)]
        found = list(self._walk(top))
        # What belongs to the other part of the set: test scenes must not get into training.
        elsewhere = {
            name
            for other, folders in PARTS.items()
            if self.part and other != self.part
            for name in folders
        }
        below = [path for path in found if not elsewhere & set(path.relative_to(top).parts)]
        if not below:
            aside = f" (but {len(found)} in {', '.join(sorted(elsewhere))})" if found else ""
            aside += "".join(f"; {line}" for line in self.passed_over())
            raise InputError(
                f"{top}: no scene in it{aside}; expected HDF5 files (*.hdf) or Level-1 products "
                "(*.SEN3, *.SEN3.zip), also in sub-folders"
            )
        return below

    def best_of_each_granule(self, found: dict[str, Path]) -> dict[str, Path]:
        """Without the scenes of which a better version is there."""
        best: dict[object, str] = {}
        for name in sorted(found):
            parts = product_name.parse(name)
            key = parts.granule if parts else name
            chosen = best.get(key)
            if chosen is None or parts is None:
                best[key] = name
                continue
            other = product_name.parse(chosen)
            assert other is not None  # Only such names have the key of a granule.
            better, worse = (name, chosen) if parts.rank > other.rank else (chosen, name)
            best[key] = better
            self.pass_over("another version of the same granule is there", worse)
        return {name: found[name] for name in best.values()}

    def passed_over(self) -> Iterator[str]:
        """A line for each reason."""
        for reason, found in sorted(self.others.items()):
            more = ", ..." if len(found) > SHOWN else ""
            yield f"passed over {len(found)} ({reason}): {', '.join(found[:SHOWN])}{more}"

    def pass_over(self, reason: str, name: str) -> None:
        shown = name if name.isprintable() else ascii(name)
        self.others.setdefault(reason, []).append(shown)

    def _walk(self, top: Path) -> Iterator[Path]:
        """Scenes below the folder `top`, links to folders followed; a loop of links is noticed."""
        seen: set[tuple[int, int]] = set()
        for folder, folders, files in os.walk(top, followlinks=True, onerror=self._unreadable):
            here = Path(folder)
            if not self._is_new(here, seen):
                folders.clear()
                continue
            for name in sorted(folders + files):
                path = here / name
                if any(known.finds(path) for known in FORMATS):
                    if name in folders:
                        folders.remove(name)  # A product's own files are no scenes.
                    if not self._refused(path):
                        yield path
                else:
                    self._judge(path)

    def _is_new(self, folder: Path, seen: set[tuple[int, int]]) -> bool:
        """Whether a folder was not looked at before, under any name."""
        try:
            status = folder.stat()
        except OSError as error:
            self._unreadable(error)
            return False
        identity = status.st_dev, status.st_ino
        known = identity in seen
        seen.add(identity)
        if known:
            self.pass_over("a link to a folder that was searched already", folder.name)
        return not known

    def _unreadable(self, error: OSError) -> None:
        self.pass_over(f"cannot be read: {error.strerror}", str(error.filename))

    def _refused(self, path: Path) -> bool:
        """Whether a product is one of another instrument or level."""
        other = product_name.other_product(scene_name(path))
        if other:
            self.pass_over(other, path.name)
        return bool(other)

    def _judge(self, path: Path) -> None:
        """Note why something that looks like a scene is none."""
        if not _looks_like_a_scene(path):
            return
        try:
            reason = self._reason(path)
        except OSError as error:
            reason = f"cannot be read: {error.strerror}"
        if reason:
            self.pass_over(reason, path.name)

    def _reason(self, path: Path) -> str:
        """Why it is none; "" for what is looked into, and for unfinished files of this program."""
        suffix = path.suffix.lower()
        if path.name.startswith("._"):
            return "a companion file of macOS"
        if path.name.startswith("."):
            return ""
        if path.is_symlink() and not path.exists():
            return "a link that leads nowhere"
        if path.is_dir():
            if suffix != FOLDER_SUFFIX.lower():
                return "a folder, expected a file"
            inside = any(child.is_dir() for child in path.iterdir())
            return "" if inside else "a product folder without netCDF files"
        if path.suffix == FOLDER_SUFFIX:
            return "a file, expected a product folder"
        if path.suffix in (".hdf", ".h5", ".zip"):
            return "not a regular file"
        return "unusual ending, expected .hdf, .h5, .SEN3 or .SEN3.zip"

    @staticmethod
    def _is_plain_folder(path: Path) -> bool:
        """Whether a folder that is named like a product holds none itself."""
        if not path.is_dir():
            return False
        return not holds_product(product_folder(path)) and not (path / MANIFEST).exists()


def _looks_like_a_scene(path: Path) -> bool:
    """By its name, whatever it is."""
    suffix = path.suffix.lower()
    if suffix == ".zip":
        return Path(path.stem).suffix.lower() == FOLDER_SUFFIX.lower()
    return suffix in _SUFFIXES


def _preference(path: Path) -> tuple[bool, str]:
    """A folder comes before an archive of it."""
    return not path.is_dir(), str(path)
