"""The compliance checker of mlperf-logging with the rules of cloudmask, its findings explained."""

import re
from pathlib import Path

from cloudmask.errors import InputError
from cloudmask.record.events import LARGEST_FILE, TOKEN, parse_event
from cloudmask.record.rules import RULESET, key_rules
from cloudmask.system import reading
from cloudmask.system.distribution import install_command

VERSION = "3.0.0"  # how lines are read; the HPC rules that ours go by

_LINE = re.compile(r"in line (\d+):")
_KEY = re.compile(r"(?:CHECK for|occurrence of) '(\w+)'")
_COUNT = re.compile(r"Required \w+ occurrence of '(\w+)' but found (\d+)")
_CONTEXT = re.compile(r'"key": "(\w+)"')


def findings(path: Path | str) -> list[str]:
    """What keeps the log at `path` from being compliant, a sentence each; [] if it is.

    Raises InputError if it cannot be read, or if the checker is not installed completely.
    """
    try:
        from mlperf_logging.compliance_checker import mlp_compliance
        from mlperf_logging.compliance_checker.mlp_parser import ruleset_300
    except ImportError as error:
        raise InputError(
            f"the compliance checker needs {error.name}, which is not installed; expected "
            f"{install_command('check')}"
        ) from None
    try:
        content = reading.read_bytes(Path(path), LARGEST_FILE)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    marked = [ln for ln in content.decode(errors="replace").splitlines() if TOKEN in ln]
    # The checker's own parser ends in a traceback where an event lacks what each has.
    whole: list[str] = []
    damaged: list[str] = []
    for line in marked:
        (damaged if parse_event(line) is None else whole).append(line)
    lines, _ = ruleset_300.parse_generator(whole)
    if not marked:
        return ["holds no event of an MLPerf log (lines with :::MLLOG)"]
    checker = mlp_compliance.make_checker("hpc", VERSION, quiet=False, werror=True)
    checker.check_loglines(lines, str(RULESET))
    found = [f"a line is damaged: {line.strip()[:80]}" for line in damaged]
    reasons = {rule.key: rule.reason for rule in key_rules()}
    messages = [*checker.overwritable.values(), *checker.not_overwritable]
    return found + [_explain(message, reasons) for message in messages]


def _explain(message: str, reasons: dict[str, str]) -> str:
    if count := _COUNT.search(message):
        key, number = count.groups()
        count_found = "missing" if number == "0" else f"stands {number} times, expected once"
        return f"{key}: {count_found} ({reasons[key]})"
    named = _KEY.search(message) or _CONTEXT.search(message)
    if not named or named[1] not in reasons:
        return " ".join(message.split())
    line = _LINE.search(message)
    # The checker counts events from 0, and lines without one not at all.
    where = f" (event {int(line[1]) + 1})" if line else ""
    value = re.search(r'"value": (.{0,60}?), "metadata"', message)
    shown = f", found {value[1]}" if value and value[1] != "null" else ""
    return f"{named[1]}{where}: {reasons[named[1]]}{shown}"
