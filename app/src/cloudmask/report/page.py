"""The report as one HTML file: figures, pictures and script inside, nothing from the network.

Only pictures in full size and the folders of runs are elsewhere, and lead there by links.
"""

import base64
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from cloudmask.report.document import NO_ALARM, ReportDocument
from cloudmask.report.table import Table
from cloudmask.report.template import inline, template

TEMPLATE = "page.html.j2"
STYLE = "page.css"
SCRIPT = "page.js"
MEDIA_TYPES = {".svg": "image/svg+xml", ".jpg": "image/jpeg"}
TABLES_FIRST = 2  # groups and comparisons; the figures follow, then the long tables


class Section(NamedTuple):
    """A heading of the page and the anchor that leads to it; `table` where it is a table's."""

    id: str
    title: str
    table: Table | None = None


def page(report: ReportDocument, contents: Mapping[str, bytes], out: Path) -> str:
    """The page; `contents` holds the figures by the paths under which they are written in `out`."""
    from markupsafe import Markup

    return template(TEMPLATE).render(
        report=report,
        sections=_sections(report),
        image_url=lambda path: _data_url(path, contents[path]),
        base=out,
        no_alarm=NO_ALARM,
        style=Markup(inline(STYLE).strip()),
        script=Markup(inline(SCRIPT).strip()),
    )


def _sections(report: ReportDocument) -> list[Section]:
    tables = [Section(table.name, table.title, table) for table in report.tables]
    first, rest = (
        [section for section in part if section.table and section.table.visible]
        for part in (tables[:TABLES_FIRST], tables[TABLES_FIRST:])
    )
    sections = [Section("alarms", "Alarms")]
    if report.damaged:
        sections.append(Section("damaged", "Damaged"))
    sections += first
    if any(drawing.figure for drawing in report.drawings):
        sections.append(Section("figures", "Figures"))
    if report.pictures:
        sections.append(Section("pictures", "Best and worst scenes"))
    sections += rest
    if report.missing:
        sections.append(Section("omitted", "Omitted for lack of data"))
    if report.citations:
        sections.append(Section("sources", "Sources"))
    return sections


def _data_url(path: str, content: bytes) -> str:
    media_type = MEDIA_TYPES.get(PurePosixPath(path).suffix)
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}" if media_type else ""
