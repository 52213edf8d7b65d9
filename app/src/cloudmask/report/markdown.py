"""The report as Markdown, beside its figures and tables."""

from cloudmask.report.document import ReportDocument


def markdown(report: ReportDocument) -> str:
    """Text that any viewer of Markdown shows, with the figures by relative path."""
    lines = [f"# {report.title}", "", report.made, ""]
    lines += [f"- {line}" for line in report.summary]
    lines += ["", "## Alarms", ""]
    lines += [f"- **{a.level}: {a.title}.** {a.text}" for a in report.alarms] or ["None."]
    if report.damaged:
        lines += ["", "## Damaged", ""]
        lines += [f"- `{path}`: {reason}" for path, reason in report.damaged]
    for table in report.tables:
        lines += ["", f"## {table.title}", ""]
        if table.rows:
            lines += [table.to_markdown(), ""]
        lines += [table.remarks]
    lines += ["", "## Figures", ""]
    for drawing in report.drawings:
        if drawing.figure:
            lines += [f"![{drawing.title}](figures/{drawing.name}.png)", "", drawing.caption, ""]
    for picture in report.pictures:
        lines += [f"![{picture.caption}](figures/{picture.file})", "", picture.caption, ""]
    if report.missing:
        lines += ["Figures omitted for lack of data:", ""]
        lines += [f"- {line}" for line in report.missing] + [""]
    if report.citations:
        lines += ["## Sources", "", *(f"- {citation}" for citation in report.citations)]
    return "\n".join(lines) + "\n"
