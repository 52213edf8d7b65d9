"""The journal of an unfinished patch store: which of its scenes are done, one line of JSON each."""

import json
from pathlib import Path
from typing import IO, Any

from cloudmask.system.files import whole_lines


class Journal:
    """Records by scene, kept in a file whose first line is the plan that they belong to.

    records: what each finished scene left, by its path; empty at first unless the file at `path` is
    of the same `plan`.
    """

    def __init__(self, path: Path, plan: dict[str, Any]):
        self.path = path
        self.records: dict[str, dict[str, Any]] = {}
        self._plan = json.dumps(plan)
        self._file: IO[str] = path.open("a+", encoding="utf-8")

    def resume(self) -> bool:
        """Take over the records of an earlier attempt; whether there are any of this plan."""
        lines = whole_lines(self.path)
        if lines and lines[0] == self._plan:
            found = [json.loads(line) for line in lines[1:]]
            self.records = {record.pop("scene"): record for record in found}
        return bool(self.records)

    def begin(self) -> None:
        """Forget what the file holds and write the plan."""
        self.records = {}
        self._file.truncate(0)
        self._write(self._plan)

    def add(self, scene: str, record: dict[str, Any]) -> None:
        """Note that a scene is done."""
        self.records[scene] = record
        self._write(json.dumps({"scene": scene, **record}))

    def close(self) -> None:
        """Close the file; it stays for the next attempt."""
        self._file.close()

    def remove(self) -> None:
        """Remove the file: the store is finished, or nothing of it is worth keeping."""
        self.path.unlink()

    def _write(self, line: str) -> None:
        self._file.write(line + "\n")
        self._file.flush()
