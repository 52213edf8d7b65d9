"""What a folder holds, without what two undisturbed runs differ in: times, hosts, versions."""

import csv
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py

from attack.protocol import LEFT, LOST, WRONG, Failure

# Attributes that tell when something was made.
VOLATILE = re.compile(r"date|history|created|time|sources", re.IGNORECASE)
# Which of them are there depends on the clock; what they are good for shows when a run goes on.
CHECKPOINT = re.compile(r"\d{6}-\d{6}\.npz")
FIGURES = ("loss", "accuracy", "val_loss", "val_accuracy", "best_epoch", "epochs_run")


def contents(folder: Path) -> dict[str, str]:
    """Digest of the lasting content by the name of each file and folder below `folder`."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.parent.name == "checkpoints" and CHECKPOINT.fullmatch(path.name):
            continue
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_dir():
            found[name] = "folder"
        elif not path.is_file():
            found[name] = "no file"
        else:
            found[name] = _digest(path)
    return found


def differences(expected: dict[str, str], found: dict[str, str]) -> list[Failure]:
    """What is missing, too much, or different."""
    kinds = {
        LOST: [f"{name} is missing" for name in expected.keys() - found.keys()],
        LEFT: list(found.keys() - expected.keys()),
        WRONG: [
            f"{name}: {found[name]}; expected {expected[name]}"
            for name in expected.keys() & found.keys()
            if expected[name] != found[name]
        ],
    }
    return [Failure(kind, _some(sorted(texts))) for kind, texts in kinds.items() if texts]


def _some(texts: list[str]) -> str:
    rest = f" and {len(texts) - 3} more" if len(texts) > 3 else ""
    return "; ".join(texts[:3]) + rest


def _digest(path: Path) -> str:
    try:
        read = _BY_NAME.get(path.name) or _BY_SUFFIX.get(path.suffix) or _by_content(path)
        return hashlib.sha256(read(path)).hexdigest()[:16]
    except Exception as error:  # A damaged file is a finding, whatever a library makes of it.
        return f"unreadable: {type(error).__name__}: {error}"


def _by_content(path: Path) -> Callable[[Path], bytes]:
    """For a name that says nothing: two kinds of files may be written to it."""
    with path.open("rb") as file:
        begin = file.read(8)
    if begin == b"\x89HDF\r\n\x1a\n":
        return _hdf5
    # An image begins with a kilobyte that is empty.
    return _json if begin[:1] == b"{" else _whole if begin.strip(b"\0") else _present


def _whole(path: Path) -> bytes:
    return path.read_bytes()


def _present(path: Path) -> bytes:
    return b""


def _hdf5(path: Path) -> bytes:
    with h5py.File(path, "r") as file:
        return _hdf5_content(file)


def _hdf5_content(file: h5py.File) -> bytes:
    digest = hashlib.sha256()

    def add(name: str, item: h5py.Dataset | h5py.Group) -> None:
        digest.update(name.encode())
        for key in sorted(item.attrs):
            if not VOLATILE.search(key) and key not in ("REFERENCE_LIST", "DIMENSION_LIST"):
                digest.update(f"{key}={item.attrs[key]!r}".encode())
        if isinstance(item, h5py.Dataset) and not VOLATILE.search(name):
            digest.update(f"{item.shape}{item.dtype}".encode())
            value = item[()]
            digest.update(
                repr(value.tolist() if item.dtype.hasobject else value.tobytes()).encode()
            )

    add("/", file)
    file.visititems(add)
    return digest.digest()


def _keras(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        weights = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(weights, "r") as file:
        return _hdf5_content(file)


def _result(path: Path) -> bytes:
    tree = json.loads(path.read_text())
    training, inference = tree.get("training") or {}, tree.get("inference") or {}
    figures = {name: training.get(name) for name in FIGURES}
    return json.dumps([tree["status"], figures, inference.get("confusion")]).encode()


def _manifest(path: Path) -> bytes:
    """The files of an overlay, and whether the image is the one that was described."""
    tree = json.loads(path.read_text())
    image = path.with_name(path.name.removesuffix(".json"))
    same = hashlib.sha256(image.read_bytes()).hexdigest() == tree["image"]["sha256"]
    return json.dumps([tree["files"], same]).encode()


def _json(path: Path) -> bytes:
    """A JSON file whose content changes with the time: whether it is one."""
    json.loads(path.read_text())
    return b""


def _columns(*names: str) -> Callable[[Path], bytes]:
    def read(path: Path) -> bytes:
        rows = csv.DictReader(io.StringIO(path.read_text()))
        return repr([[row.get(name) for name in names] for row in rows]).encode()

    return read


_BY_NAME: dict[str, Callable[[Path], bytes]] = {
    "result.json": _result,
    "history.csv": _columns("epoch", *FIGURES[:4]),
    "scenes.csv": _columns("scene", "accuracy", "precision", "recall"),
    "telemetry.csv": _present,
    "config.yaml": _whole,
}
_BY_SUFFIX: dict[str, Callable[[Path], bytes]] = {
    ".hdf": _hdf5,
    ".h5": _hdf5,
    ".nc": _hdf5,
    ".keras": _keras,
    ".json": _json,
    **dict.fromkeys(
        (".ext3", ".sha256", ".log", ".txt", ".md", ".html", ".ipynb", ".svg", ".pdf", ".sh",
         ".yaml", ".gz", ".tex", ".png", ".csv"),
        _present,
    ),
}  # fmt: skip
for _image in ("patches.ext3", "p.ext3"):
    _BY_NAME[f"{_image}.json"] = _manifest
