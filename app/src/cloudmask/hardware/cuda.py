"""CUDA and cuDNN: what TensorFlow was built for, and what is loaded into this process."""

import contextlib
import ctypes
import re
import sys
from pathlib import Path
from typing import Any

MAPS = Path("/proc/self/maps")


def versions() -> dict[str, str | None]:
    """`version` and `cudnn` of the build; `runtime` and `cudnn_runtime`, those that are loaded.

    None where there is none, or where TensorFlow is not loaded, which takes seconds; the libraries
    are as soon as TensorFlow has looked for GPUs. They answer for themselves: a file's name need
    not tell its version.
    """
    build = _build()
    return {
        "version": build.get("cuda_version"),
        "cudnn": build.get("cudnn_version"),
        "runtime": _cuda_runtime(),
        "cudnn_runtime": _cudnn_runtime(),
    }


def _build() -> dict[str, Any]:
    tensorflow = sys.modules.get("tensorflow")
    # A module that only looks like it, or an old version, has no such function.
    with contextlib.suppress(Exception):
        return dict(tensorflow.sysconfig.get_build_info())  # type: ignore[union-attr]
    return {}


def _cuda_runtime() -> str | None:
    """Such as "12.3"; cudaRuntimeGetVersion gives 1000 times the major and 10 times the minor."""
    library, number = _loaded("libcudart"), ctypes.c_int()
    if library is None or library.cudaRuntimeGetVersion(ctypes.byref(number)):
        return None
    return f"{number.value // 1000}.{number.value % 1000 // 10}"


def _cudnn_runtime() -> str | None:
    """Such as "8.9.7": 1000 times the major up to version 8, 10,000 times since version 9."""
    library = _loaded("libcudnn")
    if library is None:
        return None
    library.cudnnGetVersion.restype = ctypes.c_size_t
    number = library.cudnnGetVersion()
    major, rest = divmod(number, 10_000 if number >= 90_000 else 1000)
    return f"{major}.{rest // 100}.{rest % 100}"


def _loaded(name: str) -> ctypes.CDLL | None:
    """The shared library of that name if this process has it loaded."""
    with contextlib.suppress(OSError):
        pattern = re.compile(rf"\s(/\S*/{name}\.so\S*)$", re.MULTILINE)
        if found := pattern.search(MAPS.read_text(encoding="utf-8", errors="replace")):
            return ctypes.CDLL(found[1])
    return None
