"""What was handed to an executor and when: `submitted.jsonl` in the experiment's folder."""

import contextlib
import json
import time
from collections.abc import Sequence

from pydantic import Field

from cloudmask.config.yaml_model import Section, make_model
from cloudmask.errors import InputError
from cloudmask.experiments.plan import Plan, parse_ranges, ranges
from cloudmask.system import files, lock, reading

NAME = "submitted.jsonl"
LARGEST_FILE = 64 * reading.MIB  # a hand-over takes some 200 bytes


class SubmittedRows(Section):
    """One hand-over: `at` in seconds since 1970, `job` as the scheduler names it.

    lock: name of the lock file that an executor without a scheduler holds while it works.
    """

    at: float
    site: str
    job: str
    rows: str
    lock: str | None = Field(None, pattern=r"^\.executor-[^/]+$")


def record(plan: Plan, site: str, job: str, rows: Sequence[int], held: str | None = None) -> None:
    """Note that the executor has taken these rows."""
    path = plan.folder / NAME
    files.whole_lines(path)
    line = {"at": time.time(), "site": site, "job": job, "rows": ranges(rows), "lock": held}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def last(plan: Plan) -> dict[int, SubmittedRows]:
    """The newest submission of each row."""
    path = plan.folder / NAME
    found: dict[int, SubmittedRows] = {}
    if path.exists():
        for line in reading.read_bytes(path, LARGEST_FILE).decode(errors="replace").splitlines():
            # A line may be half, of an executor that was killed, or damaged.
            with contextlib.suppress(InputError, ValueError):
                tree = reading.parse_json(line)
                if not isinstance(tree, dict):
                    continue
                submission = make_model(tree, SubmittedRows, str(path))
                found |= dict.fromkeys(parse_ranges(submission.rows), submission)
    return found


def alive(plan: Plan, submission: SubmittedRows) -> bool:
    """Whether the rows may still be started: files do not show a scheduler's queue."""
    return submission.lock is None or lock.held(plan.folder / submission.lock)
