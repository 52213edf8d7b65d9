"""The folder of a report: the page, Markdown, tables, figures and notebook as files."""

from pathlib import Path

from cloudmask.errors import InputError
from cloudmask.report.document import ReportDocument
from cloudmask.report.markdown import markdown
from cloudmask.report.page import page
from cloudmask.system import files

PAGE = "index.html"


def write_report(report: ReportDocument, out: Path, notebook: str) -> list[Path]:
    """Write page, Markdown, tables, figures and `notebook` into `out`, each atomically.

    What an earlier report left and this one lacks is removed. Returns what was written. Raises
    InputError if `out` holds something else.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; expected a folder for the report")
    others = {path.name for path in out.glob("*") if path.name[0] != "."} if out.exists() else set()
    if others and PAGE not in others:
        raise InputError(f"{out}: holds files but no report; expected a new or empty folder")
    contents: dict[str, bytes] = {"report.ipynb": notebook.encode()}
    for table in report.tables:
        if table.rows:
            contents[f"tables/{table.name}.csv"] = table.to_csv().encode()
    for drawing in report.drawings:
        if drawing.figure:
            contents[f"figures/{drawing.name}.png"] = drawing.png()
            contents[f"figures/{drawing.name}.svg"] = drawing.svg()
    for picture in report.pictures:
        contents[f"figures/{picture.file}"] = picture.jpeg()
    contents["report.md"] = markdown(report).encode()
    # Last: whoever sees the page finds what it names.
    contents[PAGE] = page(report, contents).encode()
    for folder in ("tables", "figures"):
        (out / folder).mkdir(parents=True, exist_ok=True)
        for path in (out / folder).iterdir():
            if f"{folder}/{path.name}" not in contents and path.is_file():
                path.unlink()
    return [_write(out / name, content) for name, content in contents.items()]


def _write(path: Path, content: bytes) -> Path:
    with files.replacing(path) as temporary:
        temporary.write_bytes(content)
    return path
