"""The folder of a report: the page, Markdown, tables, figures and notebook as files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloudmask.report.document import ReportDocument
from cloudmask.report.markdown import markdown
from cloudmask.report.page import page
from cloudmask.system import files, output

PAGE = "index.html"
CERTIFICATE = "certificate.md"
KIND = "report"


@contextmanager
def report_folder(path: Path) -> Iterator[output.OutputFolder]:
    """Hold the folder for a report; raises InputError if it holds something else or is in use."""
    with output.claimed(path, KIND, _older) as folder:
        yield folder


def write_report(report: ReportDocument, out: Path, notebook: str) -> list[Path]:
    """The same as `write_into` for the folder `out`, which is held only meanwhile."""
    with report_folder(out) as folder:
        return write_into(folder, report, notebook)


def write_into(folder: output.OutputFolder, report: ReportDocument, notebook: str) -> list[Path]:
    """Write page, Markdown, tables, figures and `notebook` into the folder, each atomically.

    What an earlier report left and this one lacks is removed; files of others stay. Returns what
    was written. Raises InputError where a file of others has the name of one of them.
    """
    contents = _contents(report, notebook, folder.path)
    folder.announce(contents)
    paths = [_write(folder.path / name, content) for name, content in contents.items()]
    folder.keep_only(contents)
    return paths


def _contents(report: ReportDocument, notebook: str, out: Path) -> dict[str, bytes]:
    """The files by path in `out`; the page is last, so that who sees it finds what it names."""
    contents: dict[str, bytes] = {"report.ipynb": _encoded(notebook)}
    for table in report.tables:
        if table.rows:
            contents[f"tables/{table.name}.csv"] = _encoded(table.to_csv())
    for drawing in report.drawings:
        if drawing.figure:
            contents[f"figures/{drawing.name}.png"] = drawing.png()
            contents[f"figures/{drawing.name}.svg"] = drawing.svg()
    for picture in report.pictures:
        contents[f"figures/{picture.file}"] = picture.jpeg
        contents[f"figures/{picture.full_file}"] = picture.full
    if report.certificate:
        contents[CERTIFICATE] = _encoded(report.certificate.markdown())
        contents["certificate.json"] = _encoded(report.certificate.json())
    contents["report.md"] = _encoded(markdown(report, out))
    contents[PAGE] = _encoded(page(report, contents, out))
    return contents


def _encoded(text: str) -> bytes:
    """UTF-8; a name of others that cannot be encoded is shown as escapes."""
    return text.encode("utf-8", errors="backslashreplace")


def _older(path: Path) -> list[str] | None:
    """The files of a report by an older version, which left no marker."""
    if not (path / PAGE).is_file():
        return None
    top = [name for name in (PAGE, "report.md", "report.ipynb") if (path / name).exists()]
    below = [
        f"{folder}/{entry.name}"
        for folder, suffixes in (("tables", {".csv"}), ("figures", {".png", ".svg", ".jpg"}))
        for entry in path.glob(f"{folder}/*")
        if entry.suffix in suffixes
    ]
    return top + below


def _write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    with files.replacing(path) as temporary:
        temporary.write_bytes(content)
    return path
