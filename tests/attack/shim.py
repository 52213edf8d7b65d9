"""The preloaded library that makes calls fail: built here, told through a file what to do."""

import errno
import os
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
SHORT = -1  # instead of an error: a write takes half of its bytes
VARIABLE = "ATTACK_SHIM"
_LAYOUT = struct.Struct("5q1024s1024s")  # struct state of shim.c


def compiler() -> str | None:
    """The C compiler, None without one."""
    return shutil.which("cc") or shutil.which("gcc")


def build(folder: Path) -> Path:
    """The library, compiled into `folder`."""
    library = folder / "shim.so"
    command = [compiler() or "cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror"]
    subprocess.run([*command, "-o", library, SOURCE, "-ldl"], check=True)
    return library


@dataclass(frozen=True)
class Fault:
    """Calls `at` to `last` (from 1) below a folder fail with `error`; at 0 they are counted."""

    at: int = 0
    last: int = 0
    error: int = 0

    def __str__(self) -> str:
        name = "short write" if self.error == SHORT else errno.errorcode.get(self.error, "none")
        return f"{name} at call {self.at}" + ("" if self.last == self.at else f" to {self.last}")


class State:
    """The file that the library and its driver share."""

    def __init__(self, path: Path, prefix: Path, fault: Fault):
        self.path = path
        content = (0, fault.at, fault.last, 0, fault.error, os.fsencode(prefix), b"")
        path.write_bytes(_LAYOUT.pack(*content))

    def _read(self) -> tuple:
        return _LAYOUT.unpack(self.path.read_bytes())

    @property
    def count(self) -> int:
        """Calls so far."""
        return self._read()[0]

    @property
    def fired(self) -> int:
        """Calls that have failed."""
        return self._read()[3]

    @property
    def what(self) -> str:
        """The first call that failed."""
        return self._read()[6].rstrip(b"\0").decode(errors="replace")
