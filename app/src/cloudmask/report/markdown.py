"""The report as Markdown, beside its figures and tables."""

from pathlib import Path

from cloudmask.report.document import NO_ALARM, ReportDocument
from cloudmask.system.text import markdown as escaped
from cloudmask.system.text import markdown_code


def markdown(report: ReportDocument, out: Path) -> str:
    """Text that any viewer of Markdown shows; figures and runs by their paths from `out`."""
    lines = [f"# {report.title}", "", escaped(report.made), ""]
    lines += [f"- {escaped(line)}" for line in report.summary]
    lines += ["", "## Alarms", ""]
    lines += [f"- **{a.level}: {escaped(a.title)}.** {escaped(a.text)}" for a in report.alarms] or [
        NO_ALARM
    ]
    if report.damaged:
        lines += ["", "## Damaged", ""]
        lines += [f"- {markdown_code(path)}: {escaped(reason)}" for path, reason in report.damaged]
    for table in report.tables:
        if table.visible:
            lines += ["", f"## {table.title}", "", table.to_markdown(out), ""]
            lines += [escaped(table.remarks)]
    lines += [*_figures(report), *_pictures(report)]
    if report.missing:
        lines += ["", "## Omitted for lack of data", ""]
        lines += [f"- {escaped(line)}" for line in report.missing] + [""]
    if report.citations:
        lines += ["## Sources", "", *(f"- {escaped(citation)}" for citation in report.citations)]
    return "\n".join(lines) + "\n"


def _figures(report: ReportDocument) -> list[str]:
    lines = ["", "## Figures", ""]
    drawn = [drawing for drawing in report.drawings if drawing.figure]
    for drawing in drawn:
        lines += [f"![{escaped(drawing.title)}](figures/{drawing.name}.png)", ""]
        lines += [escaped(drawing.caption), ""]
    return lines if drawn else []


def _pictures(report: ReportDocument) -> list[str]:
    lines = ["", "## Best and worst scenes", ""]
    for picture in report.pictures:
        caption = escaped(picture.caption)
        image = f"![{caption}](figures/{picture.file})"
        lines += [f"[{image}](figures/{picture.full_file})", "", caption, ""]
    return lines if report.pictures else []
