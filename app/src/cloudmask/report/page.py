"""The report as one HTML file: figures and pictures inside, no script, nothing from the network."""

import base64
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

from cloudmask.report.document import ReportDocument
from cloudmask.report.table import Table
from cloudmask.report.template import stylesheet, template

TEMPLATE = "page.html.j2"
STYLE = "page.css"
MEDIA_TYPES = {".svg": "image/svg+xml", ".jpg": "image/jpeg"}
TABLES_FIRST = 2  # groups and comparisons; the figures follow, then the long tables


class Section(NamedTuple):
    """A heading of the page and the anchor that leads to it; `table` where it is a table's."""

    id: str
    title: str
    table: Table | None = None


def page(report: ReportDocument, contents: Mapping[str, bytes]) -> str:
    """The page; `contents` holds the figures by the paths under which they are written."""
    from markupsafe import Markup

    return template(TEMPLATE).render(
        report=report,
        sections=_sections(report),
        images={path: _data_url(path, content) for path, content in contents.items()},
        style=Markup(stylesheet(STYLE).strip()),
    )


def _sections(report: ReportDocument) -> list[Section]:
    tables = [Section(table.name, table.title, table) for table in report.tables]
    sections = [Section("alarms", "Alarms")]
    if report.damaged:
        sections.append(Section("damaged", "Damaged"))
    sections += [*tables[:TABLES_FIRST], Section("figures", "Figures")]
    if report.pictures:
        sections.append(Section("pictures", "Best and worst scenes"))
    sections += tables[TABLES_FIRST:]
    if report.citations:
        sections.append(Section("sources", "Sources"))
    return sections


def _data_url(path: str, content: bytes) -> str:
    media_type = MEDIA_TYPES.get(PurePosixPath(path).suffix)
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}" if media_type else ""
