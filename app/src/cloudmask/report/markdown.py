"""The report as Markdown, beside its figures and tables."""

from cloudmask.report.document import ReportDocument
from cloudmask.system.text import markdown as escaped
from cloudmask.system.text import markdown_code


def markdown(report: ReportDocument) -> str:
    """Text that any viewer of Markdown shows, with the figures by relative path."""
    lines = [f"# {report.title}", "", escaped(report.made), ""]
    lines += [f"- {escaped(line)}" for line in report.summary]
    lines += ["", "## Alarms", ""]
    lines += [f"- **{a.level}: {escaped(a.title)}.** {escaped(a.text)}" for a in report.alarms] or [
        "None."
    ]
    if report.damaged:
        lines += ["", "## Damaged", ""]
        lines += [f"- {markdown_code(path)}: {escaped(reason)}" for path, reason in report.damaged]
    for table in report.tables:
        lines += ["", f"## {table.title}", ""]
        if table.rows:
            lines += [table.to_markdown(), ""]
        lines += [escaped(table.remarks)]
    lines += ["", "## Figures", ""]
    for drawing in report.drawings:
        if drawing.figure:
            lines += [f"![{escaped(drawing.title)}](figures/{drawing.name}.png)", ""]
            lines += [escaped(drawing.caption), ""]
    for picture in report.pictures:
        caption = escaped(picture.caption)
        lines += [f"![{caption}](figures/{picture.file})", "", caption, ""]
    if report.missing:
        lines += ["Figures omitted for lack of data:", ""]
        lines += [f"- {escaped(line)}" for line in report.missing] + [""]
    if report.citations:
        lines += ["## Sources", "", *(f"- {escaped(citation)}" for citation in report.citations)]
    return "\n".join(lines) + "\n"
