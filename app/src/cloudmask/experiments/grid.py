"""From values, lists and ranges to all combinations of parameters.

A range is text. Its last value counts if a step meets it:
`1..4`: 1, 2, 3, 4; `32:128:32`: start, stop, step: 32, 64, 96, 128;
`1e-4..1e-1 log 4`: four values with equal ratios: 0.0001, 0.001, 0.01, 0.1.
"""

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from cloudmask.errors import InputError

LARGEST = 1_000_000  # rows or values; more is a slip of the pen

_NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
_RANGE = re.compile(rf"\s*{_NUMBER}\s*\.\.\s*{_NUMBER}\s*(?:log\s*(\d+)\s*)?")
_STEPS = re.compile(rf"\s*{_NUMBER}\s*:\s*{_NUMBER}\s*:\s*{_NUMBER}\s*")


def values(given, key: str) -> list:
    """All values that `given` stands for: itself, a list's, or a range's. `key` is for messages.

    Raises InputError on an empty list or a range that holds nothing or too much.
    """
    if isinstance(given, list):
        found = [value for item in given for value in values(item, key)]
        if not found:
            raise InputError(f"{key}: an empty list; expected at least one value")
        return found
    if isinstance(given, dict):
        raise InputError(f"{key}: holds sections; expected values under keys such as {key}.name")
    if isinstance(given, str):
        if match := _STEPS.fullmatch(given):
            first, last, step = match.groups()
            return _steps(first, last, step, f"{key}: {given}")
        if match := _RANGE.fullmatch(given):
            first, last, count = match.groups()
            if count is None:
                return _steps(first, last, "1", f"{key}: {given}")
            return _ratios(float(first), float(last), int(count), f"{key}: {given}")
    return [given]


def combinations(
    parameters: Mapping,
    when: Mapping[str, Mapping],
    include: Sequence[Mapping],
    exclude: Sequence[Mapping],
    settings: Mapping,
) -> list[dict]:
    """All rows in the order of the file, the last parameter changing fastest, without doubles.

    `when` drops a parameter from rows in which its conditions do not hold; a condition on what is
    no parameter looks into `settings`, by dotted key. `include` adds rows, which take what they do
    not name from the parameters with a single value, and all repetitions; `exclude` removes what
    matches all its keys.
    """
    lists = {key: values(given, key) for key, given in parameters.items()}
    _check_size(lists)
    rows = list(_product(lists))
    single = {key: found for key, found in lists.items() if len(found) == 1 or key == "repeat"}
    for entry in include:
        more = single | {key: values(given, key) for key, given in entry.items()}
        _check_size(more)
        rows += _product({key: more[key] for key in [*lists, *more] if key in more})
    conditions = {key: _expanded(entry) for key, entry in when.items()}
    unwanted = [_expanded(entry) for entry in exclude]
    unique: dict[str, dict] = {}
    for row in rows:
        kept = {
            key: value
            for key, value in row.items()
            if key not in conditions or _matches({**settings, **row}, conditions[key])
        }
        if not any(_matches({**settings, **kept}, entry) for entry in unwanted):
            unique.setdefault(identity(kept), kept)
    return list(unique.values())


def identity(parameters: Mapping) -> str:
    """Text that is equal for equal parameters, in whatever order."""
    return json.dumps(parameters, sort_keys=True)


def _product(lists: Mapping[str, list]) -> Iterator[dict]:
    for chosen in itertools.product(*lists.values()):
        yield dict(zip(lists, chosen, strict=True))


def _check_size(lists: Mapping[str, list]) -> None:
    size = math.prod(map(len, lists.values()))
    if size > LARGEST:
        raise InputError(f"{size} combinations; expected at most {LARGEST}")


def _expanded(entry: Mapping) -> dict[str, list]:
    return {key: values(given, key) for key, given in entry.items()}


def _matches(row: Mapping, entry: Mapping[str, list]) -> bool:
    return all(row.get(key) in accepted for key, accepted in entry.items())


def _steps(first: str, last: str, step: str, given: str) -> list:
    # Decimal: ten steps of 0.1 make 1.
    start, stop, width = Decimal(first), Decimal(last), Decimal(step)
    if not width or (stop - start) * width < 0:
        raise InputError(f"{given} holds nothing; expected start, stop and step that lead there")
    count = int((stop - start) / width) + 1
    if count > LARGEST:
        raise InputError(f"{given} holds {count} values; expected at most {LARGEST}")
    whole = all(re.fullmatch(r"[-+]?\d+", text) for text in (first, step))
    return [(int if whole else float)(start + number * width) for number in range(count)]


def _ratios(first: float, last: float, count: int, given: str) -> list[float]:
    if first <= 0 or last <= 0 or not 2 <= count <= LARGEST:
        raise InputError(f"{given}: expected bounds above 0 and at least 2 values")
    ratio = (last / first) ** (1 / (count - 1))
    # Six digits: 0.001, not 0.0010000000000000002.
    return [float(f"{first * ratio**number:.6g}") for number in range(count)]
