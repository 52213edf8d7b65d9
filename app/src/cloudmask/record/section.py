"""What the sections of `result.json` and `provenance.json` have in common."""

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from cloudmask.system.text import one_line


def _finite(value: Any) -> Any:
    """None for NaN and infinity, which JSON does not have; a NumPy scalar as Python's number."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(_finite)]


class Section(BaseModel):
    """Fields beyond those named here are kept, so that a newer program's result stays readable."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())


def explain(error: ValidationError) -> str:
    """The first of what is wrong with a JSON file, in one line."""
    return one_line(_reason(error.errors()[0]))


def _reason(item: ErrorDetails) -> str:
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] == "missing":
        return f"no '{key}'; the file is damaged, or of another program"
    if item["type"] == "json_invalid":
        return f"not valid JSON ({item['ctx']['error']}); the file is damaged"
    if not key:
        return "holds no JSON object; expected that of a run"
    return f"'{key}': {item['msg']}, found {item['input']!r:.80}"
