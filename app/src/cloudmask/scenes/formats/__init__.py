"""The formats of scenes, one object each in one list; adding one is a module and a line here.

What a path is shows in names alone and on a bare Python, since overlays are made where
nothing is installed; a format's module, which reads the files, is loaded when it is first needed.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    import numpy as np

    from cloudmask.scenes.geolocation import Geolocation
    from cloudmask.scenes.origin import Origin
    from cloudmask.scenes.raw import RawScene, ReadOptions

MANIFEST = "xfdumanifest.xml"
FOLDER_SUFFIX = ".SEN3"
_ARCHIVE_NAME = "_SL_1_RBT"


class SceneReader(Protocol):
    """What the module of a format offers. All functions raise SceneError, naming the file."""

    def check(self, path: Path, options: "ReadOptions") -> tuple[int, int]:
        """Height and width on the 1 km grid, from headers alone.

        Raises SceneError also if labels are wanted and cannot be there.
        """

    def read(
        self, path: Path, options: "ReadOptions", content: "np.ndarray | None" = None
    ) -> "RawScene":
        """Read the scene; `content` is what `load` returned, whose memory it may use."""

    def load(self, path: Path) -> "tuple[np.ndarray | None, str]":
        """Bytes of the scene, if they are one file's, and its SHA-256."""

    def origin(self, path: Path) -> "Origin":
        """Where the scene comes from, from headers alone."""

    def geolocation(self, path: Path, shape: tuple[int, int]) -> "Geolocation | None":
        """Latitude and longitude of the pixels, None if the scene does not tell."""

    def cloud_truth(self, path: Path) -> "np.ndarray | None":
        """The simulated cloud field (H, W, 1) uint8 of a synthetic scene, None in all others."""


@dataclass(frozen=True)
class SceneFormat:
    """How scenes of one format are recognized, and the module that reads them.

    name: in words. matches: whether a path that somebody named is of this format. finds: whether a
    search through folders takes a path for a scene of it.
    """

    name: str
    module: str
    matches: Callable[[Path], bool]
    finds: Callable[[Path], bool]

    @property
    def reader(self) -> SceneReader:
        """The module that reads this format."""
        return cast(SceneReader, importlib.import_module(self.module))


def product_folder(path: Path) -> Path:
    """The folder of the product `path`: the manifest's, or that in a folder of the same name."""
    if path.name == MANIFEST:
        path = path.parent
    inner = path / path.name
    return inner if not holds_product(path) and holds_product(inner) else path


def holds_product(path: Path) -> bool:
    """Whether a folder holds files of a product: the manifest, or netCDF files."""
    try:
        return path.is_dir() and any(
            child.name == MANIFEST or child.suffix == ".nc" for child in path.iterdir()
        )
    except OSError:  # no permission to look
        return False


def scene_name(path: Path | str) -> str:
    """The name of a scene: that of its file or product without the endings."""
    path = Path(path)
    if path.name == MANIFEST:
        path = path.parent
    name = path.name
    for suffix in (".zip", FOLDER_SUFFIX, ".hdf", ".h5"):
        name = name.removesuffix(suffix)
    return name


def _is_product(path: Path) -> bool:
    if path.name == MANIFEST:
        return path.is_file()
    named = path.suffix == FOLDER_SUFFIX or (path / MANIFEST).is_file()
    return path.is_dir() and named


def _is_archive(path: Path) -> bool:
    return path.suffix == ".zip" and path.is_file()


def _finds_archive(path: Path) -> bool:
    named = path.stem.endswith(FOLDER_SUFFIX) or _ARCHIVE_NAME in path.name
    return named and _is_archive(path) and not path.name.startswith(".")


def _finds_hdf5(path: Path) -> bool:
    return path.suffix in (".hdf", ".h5") and path.is_file() and not path.name.startswith(".")


_SAFE_MODULE = "cloudmask.scenes.formats.safe"
SAFE = SceneFormat(
    "Level-1 product folder",
    _SAFE_MODULE,
    _is_product,
    lambda path: path.suffix == FOLDER_SUFFIX and holds_product(path),
)
SAFE_ZIP = SceneFormat(
    "Level-1 product in a zip archive", _SAFE_MODULE, _is_archive, _finds_archive
)
HDF5 = SceneFormat("HDF5 file", "cloudmask.scenes.formats.hdf5", Path.is_file, _finds_hdf5)
FORMATS = (SAFE, SAFE_ZIP, HDF5)


def format_of(path: Path | str) -> SceneFormat:
    """The format of the scene `path`; of a path that is none, HDF5, whose reader raises."""
    return next((known for known in FORMATS if _matches(known, Path(path))), HDF5)


def is_scene(path: Path) -> bool:
    """Whether `path`, which somebody named, is of one of the formats."""
    return any(_matches(known, path) for known in FORMATS)


def _matches(known: SceneFormat, path: Path) -> bool:
    try:
        return known.matches(path)
    except OSError:  # no permission to look
        return False
