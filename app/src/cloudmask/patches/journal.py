"""The journal of an unfinished patch store: which of its scenes are done, one line of JSON each.

Before each line stands a checksum of the line and of the plan that it belongs to. So a line that a
loss of power or a bad disk has damaged costs its scene only, whichever line it is.
"""

import hashlib
import json
import logging
import os
import time
from pathlib import Path
from typing import IO, Any

from cloudmask.system.files import named, whole_lines

# A crash of the machine loses the scenes of so many seconds: a sync takes longer than a line.
SYNC_SECONDS = 5.0

logger = logging.getLogger(__name__)


class Journal:
    """Records by scene, kept in a file.

    records: what each finished scene left, by its path; empty at first unless the file at `path` is
    of the same `plan`.
    """

    def __init__(self, path: Path, plan: dict[str, Any]):
        self.path = path
        self.records: dict[str, dict[str, Any]] = {}
        self._plan = json.dumps(plan).encode()
        self._file: IO[str] = path.open("a+", encoding="utf-8")
        self._synced = time.monotonic()

    def resume(self) -> bool:
        """Take over the records of an earlier attempt; whether there are any of this plan."""
        damaged = 0
        for line in whole_lines(self.path):
            checksum, _, text = line.partition(" ")
            if checksum == self._checksum(text):
                record = json.loads(text)
                self.records[record.pop("scene")] = record
            else:
                damaged += 1
        if self.records and damaged:
            logger.warning(
                f"{self.path}: {damaged} damaged lines; their scenes are converted again"
            )
        return bool(self.records)

    def begin(self) -> None:
        """Forget what the file holds."""
        self.records = {}
        self._file.truncate(0)

    def add(self, scene: str, record: dict[str, Any]) -> None:
        """Note that a scene is done."""
        self.records[scene] = record
        text = json.dumps({"scene": scene, **record})
        with named(self.path):
            self._file.write(f"{self._checksum(text)} {text}\n")
            self._file.flush()
            if time.monotonic() - self._synced > SYNC_SECONDS:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()

    def close(self) -> None:
        """Close the file; it stays for the next attempt."""
        self._file.close()

    def remove(self) -> None:
        """Remove the file: the store is finished, or nothing of it is worth keeping."""
        self.path.unlink()

    def _checksum(self, text: str) -> str:
        return hashlib.sha256(self._plan + text.encode(errors="replace")).hexdigest()[:16]
