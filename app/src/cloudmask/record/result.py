"""`result.json`: written last and atomically, so that it exists if and only if the run finished."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from cloudmask.errors import InputError
from cloudmask.system import files

NAME = "result.json"
SCHEMA = 1
SECTIONS = ("experiment", "training", "inference", "system", "energy")


def plain(value):
    """`value` as strict JSON can hold it: NumPy's as Python's values, NaN and infinity as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def write_result(run_dir: Path | str, result: Mapping) -> None:
    """Write `result` (sections as in SECTIONS, and "status") with the schema's number.

    Raises ValueError if it has no status or an unknown section: that is a fault of the program.
    """
    unknown = set(result) - {"status", *SECTIONS}
    if unknown or "status" not in result:
        raise ValueError(f"result needs 'status' and no more than {SECTIONS}; found {set(result)}")
    text = json.dumps({"schema": SCHEMA, **plain(result)}, indent=2, allow_nan=False)
    files.write_text(Path(run_dir) / NAME, text + "\n")


def read_result(path: Path | str) -> dict:
    """Read a `result.json`, given itself or the run directory it lies in.

    Raises InputError that names the file if it is missing, damaged or of another schema.
    """
    path = Path(path)
    if path.is_dir():
        path = path / NAME
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; only a finished run has a {NAME}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); the file is damaged") from None
    if not isinstance(result, dict):
        raise InputError(f"{path}: holds a {type(result).__name__}; expected a JSON object")
    if result.get("schema") != SCHEMA:
        raise InputError(f"{path}: schema {result.get('schema')!r}; this version reads {SCHEMA}")
    if not isinstance(result.get("status"), str):
        raise InputError(f"{path}: 'status' is {result.get('status')!r}; expected a text")
    for section in SECTIONS:
        if not isinstance(result.get(section, {}), dict):
            found = type(result[section]).__name__
            raise InputError(f"{path}: '{section}' is a {found}; expected a JSON object")
    return result


def finished(run_dir: Path | str) -> bool:
    """Whether the run in `run_dir` came to its end."""
    return (Path(run_dir) / NAME).is_file()
