"""What two rule books require of a log, as data, and how to read a log.

The Science working group wants the submission's keys and one `result`; the HPC compliance checker
(`python -m mlperf_logging.compliance_checker --usage hpc --ruleset 3.0.0`) wants, read from the
rules that mlperf-logging 4.1.68 installs (`hpc_3.0.0/common.yaml`, `open_common.yaml`):

- exactly once: `submission_benchmark` (one of its own four benchmarks: with `cloudmask` the checker
  itself fails on a missing rules file), `submission_org` and `submission_platform` (not empty),
  `submission_division`, `submission_status` (cloud, onprem, preview, research), `init_stop`,
  `run_start`, `run_stop` (metadata `status`), `train_samples`, `eval_samples`. A repetition with an
  equal value is a warning, which `--werror` turns into a failure; another value is a failure;
- at least once: `cache_clear`, `init_start`, and with metadata `epoch_num` `epoch_start`,
  `epoch_stop`, `eval_start`, `eval_stop`, `eval_accuracy`, one of the last above a threshold that
  belongs to the benchmark;
- in this order: `init_start`, `init_stop` at most 30 minutes later, `run_start`, `run_stop`; no
  `init_start` after `init_stop`; `staging_start` before `staging_stop`. Nesting of epochs, and the
  order of time stamps, are not checked;
- if there: `gradient_accumulation_steps` above 0 (closed division only, which also wants
  `number_of_nodes` and `accelerators_per_node`). Other keys are ignored, but each line that holds
  the token of an event has to be complete JSON.
"""

import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from cloudmask.errors import InputError

TOKEN = ":::MLLOG "
STATUSES = ("success", "aborted")  # of run_stop
TARGET = 0.9  # test accuracy that the Science working group asks for


class Required(NamedTuple):
    """Who requires a key: the Science rules, the HPC checker or this project; may it come again?"""

    by: str
    once: bool = True


REQUIRED_KEYS = {
    "cache_clear": Required("hpc", once=False),
    "init_start": Required("hpc"),
    "submission_benchmark": Required("science"),
    "submission_org": Required("science"),
    "submission_division": Required("science"),
    "submission_version": Required("science"),
    "submission_github_commit_version": Required("science"),
    "submission_status": Required("science"),
    "submission_platform": Required("science"),
    "submission_poc_name": Required("science"),
    "submission_poc_email": Required("science"),
    "submission_user": Required("science"),
    "train_samples": Required("hpc"),
    "eval_samples": Required("hpc"),
    "global_batch_size": Required("project"),
    "seed": Required("project"),
    "opt_name": Required("project"),
    "opt_base_learning_rate": Required("project"),
    "number_of_ranks": Required("project"),
    "number_of_nodes": Required("project"),
    "accelerators_per_node": Required("project"),
    "gradient_accumulation_steps": Required("project"),
    "init_stop": Required("hpc"),
    "staging_start": Required("project", once=False),
    "staging_stop": Required("project", once=False),
    "run_start": Required("hpc"),
    "epoch_start": Required("hpc", once=False),
    "epoch_stop": Required("hpc", once=False),
    "eval_start": Required("hpc", once=False),
    "eval_accuracy": Required("hpc", once=False),
    "eval_stop": Required("hpc", once=False),
    "run_stop": Required("hpc"),
    "result": Required("science"),
}


def read_events(path: Path | str) -> list[dict]:
    """Events of a log, each with `key`, `value`, `metadata`, `time_ms`, `event_type`.

    Raises InputError that names file and line if the log is missing or damaged.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_events(path, lines)


def problems(path: Path | str) -> list[str]:
    """What the log at `path` lacks of REQUIRED_KEYS or has too often, a line each."""
    return lacking(read_events(path))


def lacking(events: list[dict]) -> list[str]:
    """What the events of one run lack of REQUIRED_KEYS or have too often, a line each."""
    counts = Counter(event["key"] for event in events)
    found = []
    for key, required in REQUIRED_KEYS.items():
        if not counts[key]:
            found.append(f"{key}: missing")
        elif required.once and counts[key] > 1:
            found.append(f"{key}: {counts[key]} times, expected once")
    if any(event["key"] == "result" and not isinstance(event["value"], dict) for event in events):
        found.append("result: its value is no dictionary")
    return found


def parse_events(path: Path | str, lines: list[str]) -> list[dict]:
    """Events in the lines of the log at `path`; lines without the token are left out."""
    events = []
    for number, line in enumerate(lines, 1):
        _, token, text = line.rpartition(TOKEN)
        if not token:
            continue
        try:
            event = json.loads(text)
        except ValueError:
            event = None
        if not isinstance(event, dict) or not {"key", "value", "metadata", "time_ms"} <= set(event):
            raise InputError(f"{path}: line {number} is no complete MLPerf event; it is damaged")
        events.append(event)
    return events
