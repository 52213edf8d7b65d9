"""The formats of scenes, one object each in one list; adding one is a module and a line here.

What a path is shows in its name alone and on a bare Python, since overlays are made where
nothing is installed; a format's module, which reads the files, is loaded when it is first needed.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    import numpy as np

    from cloudmask.scenes.raw import RawScene


class SceneReader(Protocol):
    """What the module of a format offers. All functions raise SceneError, naming the file."""

    def check(self, path: Path, labels: str) -> tuple[int, int]:
        """Height and width on the 1 km grid, from headers alone."""

    def read(self, path: Path, labels: str, content: "np.ndarray | None" = None) -> "RawScene":
        """Read the scene; `content` is what `load` returned, whose memory it may use."""

    def load(self, path: Path) -> "tuple[np.ndarray | None, str]":
        """Bytes of the scene, if they are one file's, and its SHA-256."""

    def cloud_truth(self, path: Path) -> "np.ndarray | None":
        """The simulated cloud field (H, W, 1) uint8 of a synthetic scene, None in all others."""


@dataclass(frozen=True)
class SceneFormat:
    """How scenes of one format are recognized, and the module that reads them.

    name: in words. suffixes: endings of its files, or of its folders if `folder`. manifest: a file
    that makes a folder one of the format, whatever the folder's name is.
    """

    name: str
    module: str
    suffixes: tuple[str, ...]
    folder: bool = False
    manifest: str = ""

    def matches(self, path: Path) -> bool:
        """Whether `path`, which somebody named, is of this format; never raises."""
        try:
            if not self.folder:
                return path.is_file()
            named = path.suffix in self.suffixes or bool(
                self.manifest and (path / self.manifest).is_file()
            )
            return path.is_dir() and named
        except OSError:  # no permission to look
            return False

    def finds(self, path: Path) -> bool:
        """Whether a search through folders takes `path` for a scene of this format."""
        if path.suffix not in self.suffixes:
            return False
        return path.is_dir() if self.folder else path.is_file() and not path.name.startswith(".")

    @property
    def reader(self) -> SceneReader:
        """The module that reads this format."""
        return cast(SceneReader, importlib.import_module(self.module))


HDF5 = SceneFormat("HDF5 file", "cloudmask.scenes.formats.hdf5", (".hdf", ".h5"))
SAFE = SceneFormat(
    "Level-1 product folder",
    "cloudmask.scenes.formats.safe",
    (".SEN3",),
    folder=True,
    manifest="xfdumanifest.xml",
)
FORMATS = (SAFE, HDF5)


def format_of(path: Path | str) -> SceneFormat:
    """The format of the scene `path`; of a path that is none, HDF5, whose reader raises."""
    return next((known for known in FORMATS if known.matches(Path(path))), HDF5)
