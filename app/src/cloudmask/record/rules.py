"""What two rule books require of a log: the list of required keys, and what a log lacks of it.

The keys stand in `ruleset/cloudmask.yaml`, with who requires each (BY) and how often (REQ); the
compliance checker goes by the same file (`compliance`). The Science working group (`science`)
requires the submission's keys and one `result`; the rest is required by the HPC compliance checker
(`hpc`: `python -m mlperf_logging.compliance_checker --usage hpc --ruleset 3.0.0`) or by this
project. The HPC rules, as mlperf-logging 4.1.68 installs them (`hpc_3.0.0/common.yaml`,
`open_common.yaml`):

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
- if there: `gradient_accumulation_steps` above 0 (closed division only, which also needs
  `number_of_nodes` and `accelerators_per_node`). Other keys are ignored, but each line that holds
  the token of an event has to be complete JSON.
"""

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from cloudmask.record.events import read_events

RULESET = Path(__file__).parent / "ruleset" / "cloudmask.yaml"
TARGET = 0.9  # test accuracy that the Science working group asks for


@dataclass(frozen=True)
class KeyRule:
    """Rule of one key of a log."""

    key: str
    reason: str  # what the rule requires, as text
    by: str | None  # who requires the key: science, hpc or project; None if it may be missing
    once: bool  # whether it may stand only once


@functools.cache
def key_rules() -> tuple[KeyRule, ...]:
    """The rules of all keys, in the ruleset's order."""
    entries = yaml.safe_load(RULESET.read_text(encoding="utf-8"))
    rules = (entry["KEY"] for entry in entries if "KEY" in entry)
    return tuple(
        KeyRule(rule["NAME"], rule["WHY"], rule.get("BY"), rule.get("REQ") == "EXACTLY_ONE")
        for rule in rules
    )


def required_keys() -> tuple[str, ...]:
    """The keys that every log of a finished run has."""
    return tuple(rule.key for rule in key_rules() if rule.by)


def problems(path: Path | str) -> list[str]:
    """What the log at `path` lacks of the required keys or has too often, a line each."""
    return lacking(read_events(path))


def repeated_seeds(paths: Sequence[Path | str]) -> list[str]:
    """Seeds that several logs share, a line each, as the rules of HPC want them distinct.

    A log without a seed is a line as well. Raises InputError if one cannot be read.
    """
    logs: dict[object, list[str]] = {}
    found = []
    for path in paths:
        seeds = {str(event["value"]) for event in read_events(path) if event["key"] == "seed"}
        if not seeds:
            found.append(f"{path}: no seed is logged")
        for seed in seeds:
            logs.setdefault(seed, []).append(str(path))
    return found + [
        f"seed {seed}: {len(same)} times, in {', '.join(same)}"
        for seed, same in logs.items()
        if len(same) > 1
    ]


def lacking(events: list[dict]) -> list[str]:
    """What the events of one run lack of the required keys or have too often, a line each."""
    counts = Counter(event["key"] for event in events)
    found = []
    for rule in key_rules():
        if rule.by and not counts[rule.key]:
            found.append(f"{rule.key}: missing")
        elif rule.once and counts[rule.key] > 1:
            found.append(f"{rule.key}: {counts[rule.key]} times, expected once")
    if any(event["key"] == "result" and not isinstance(event["value"], dict) for event in events):
        found.append("result: its value is no dictionary")
    return found
