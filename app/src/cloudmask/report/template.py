"""The report's templates: HTML whose values are escaped, with nothing to load from elsewhere."""

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from jinja2 import Environment, Template

FOLDER = Path(__file__).with_name("templates")


def template(name: str) -> "Template":
    """The template of that file name."""
    return _environment().get_template(name)


def inline(name: str) -> str:
    """The text of a stylesheet or script beside the templates."""
    return (FOLDER / name).read_text(encoding="utf-8")


def relative_link(path: str, base: Path | str) -> str:
    """Address of `path` seen from the folder `base`, so that both can move together."""
    return quote(os.path.relpath(path, base), errors="surrogateescape")


@functools.cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["link"] = relative_link
    return environment
