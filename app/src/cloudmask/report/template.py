"""The report's templates: HTML whose values are escaped, with no script and nothing to load."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment, Template

FOLDER = Path(__file__).with_name("templates")


def template(name: str) -> "Template":
    """The template of that file name."""
    return _environment().get_template(name)


def stylesheet(name: str) -> str:
    """The text of a stylesheet beside the templates."""
    return (FOLDER / name).read_text(encoding="utf-8")


@functools.cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
