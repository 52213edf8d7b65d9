"""What the sections of `result.json` have in common."""

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _finite(value: Any) -> Any:
    """None for NaN and infinity, which JSON does not have; a NumPy scalar as Python's number."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(_finite)]


class Section(BaseModel):
    """Fields beyond those named here are kept, so that a newer program's result stays readable."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())
