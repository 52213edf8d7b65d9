"""A Jupyter notebook that makes the same tables and figures from the same functions."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from cloudmask.report.document import FIGURES, TITLE
from cloudmask.report.paper_figures import PAPER_FIGURES
from cloudmask.report.paper_tables import PAPER_TABLES
from cloudmask.report.tables import BUILDERS


def notebook(paths: Sequence[Path | str], out: Path, with_published: bool) -> str:
    """Text of the .ipynb; the paths are relative to `out`, so that both can move together."""
    relative = [os.path.relpath(path, out) for path in paths]
    cells = [
        _text(f"# {TITLE}\n\nThe tables and figures of `index.html`, one cell each."),
        _code(
            "from cloudmask.report import document, paper_figures, paper_tables, tables\n"
            "from cloudmask.report.alarms import alarms\n"
            "from cloudmask.report.collection import collect\n\n"
            f"found = collect({relative!r}, with_published={with_published})\n"
            "document.summary(found)"
        ),
        _code("[f'{alarm.level}: {alarm.title}. {alarm.text}' for alarm in alarms(found)]"),
        *(_code(f"tables.{builder.__name__}(found)") for builder in BUILDERS),
        *(_code(f"document.FIGURES[{name!r}](found)") for name in FIGURES),
    ]
    if with_published:
        cells += [_code(f"paper_tables.{builder.__name__}(found)") for builder in PAPER_TABLES]
        cells += [_code(f"paper_figures.PAPER_FIGURES[{name!r}](found)") for name in PAPER_FIGURES]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    tree = {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(tree, indent=1) + "\n"


def _text(source: str) -> dict:
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def _code(source: str) -> dict:
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
        "source": source,
    }
