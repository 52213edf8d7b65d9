"""The report as it is written: page, files, notebook, in a real browser."""

import csv
import html.parser
import json
import re
import shutil
import subprocess

import pytest
from support.reports import RUNS

from cloudmask.report import tables
from cloudmask.report.collection import collect
from cloudmask.report.document import FIGURES, build
from cloudmask.report.drawing import Drawing
from cloudmask.report.output import write_report
from cloudmask.report.paper_figures import PAPER_FIGURES
from cloudmask.system.output import MARKER


class _Page(html.parser.HTMLParser):
    """Tags that are open, and what the page would load."""

    def __init__(self):
        super().__init__()
        self.open, self.sources, self.wrong = [], [], []

    def handle_starttag(self, tag, attributes):
        self.sources += [v for k, v in attributes if k in ("src", "href") and v[0] != "#"]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def test_page_is_complete_in_itself(written):
    out, report = written
    page = _Page()
    page.feed((out / "index.html").read_text())
    assert (page.open, page.wrong) == ([], [])
    assert all(source.startswith("data:image/") for source in page.sources)
    drawn = [drawing for drawing in report.drawings if drawing.figure]
    assert len(page.sources) == len(drawn) + len(report.pictures)
    # Two scenes were judged: one is the worst, the other the best.
    assert [picture.file for picture in report.pictures] == ["worst-1.jpg", "best-1.jpg"]


def test_every_file_is_named_and_every_name_is_a_file(written):
    out, report = written
    text = (out / "report.md").read_text()
    named = re.findall(r"\]\((\S+)\)", text)
    assert named
    assert all((out / name).stat().st_size > 1000 for name in named)
    for drawing in report.drawings:
        for kind in ("png", "svg"):
            assert (out / "figures" / f"{drawing.name}.{kind}").exists() == bool(drawing.figure)
        if drawing.missing:
            assert drawing.missing in text
    with (out / "tables" / "runs.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == len(RUNS) + 5
    assert {float(row["test_accuracy"]) for row in rows} >= {0.896051}


def test_the_same_runs_make_the_same_figures(written, real_runs, tmp_path):
    out, _ = written
    write_report(build(collect([real_runs])), tmp_path / "again", "{}")
    for path in sorted((out / "figures").glob("*.svg")):
        assert (tmp_path / "again" / "figures" / path.name).read_bytes() == path.read_bytes()


def test_what_an_earlier_report_left_is_removed(written, real_runs, tmp_path):
    out = shutil.copytree(written[0], tmp_path / "out")
    for name in ("of-yesterday.svg", "of-others.svg"):
        (out / "figures" / name).write_text("")
    with (out / MARKER).open("a") as marker:
        marker.write("figures/of-yesterday.svg\n")
    write_report(build(collect([real_runs])), out, "{}")
    assert not (out / "figures" / "of-yesterday.svg").exists()
    assert (out / "figures" / "of-others.svg").exists()
    assert {path.name for path in out.iterdir()} == {
        MARKER,
        "index.html",
        "report.md",
        "report.ipynb",
        "tables",
        "figures",
    }


def test_notebook_makes_the_same(written, monkeypatch):
    """Each code cell runs where the notebook lies, and ends in what the page shows."""
    out, report = written
    monkeypatch.chdir(out)
    tree = json.loads((out / "report.ipynb").read_text())
    names, shown = {}, []
    for cell in tree["cells"]:
        if cell["cell_type"] == "code":
            *before, last = cell["source"].split("\n")
            exec("\n".join(before), names)
            shown.append(eval(last, names))
    made = [table for table in shown if isinstance(table, tables.Table)]
    for table, expected in zip(made, report.tables, strict=True):
        if table.name == "runs":  # read from another path, which they name
            for row in (*table.rows, *expected.rows):
                del row["path"]
        assert table.to_csv() == expected.to_csv()
    drawings = [drawing for drawing in shown if isinstance(drawing, Drawing)]
    assert [drawing.name for drawing in drawings] == [*FIGURES, *PAPER_FIGURES]
    losses = next(drawing for drawing in drawings if drawing.name == "repeats_loss")
    losses.png()  # the layout settles with each drawing; the page's PNG comes first
    assert losses.svg() == (out / "figures" / "repeats_loss.svg").read_bytes()


def test_fits_on_a_phone_and_on_paper(written, tmp_path):
    """In a real browser: no sideways scrolling, every figure decoded, a PDF of some pages."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no chromium: the page was not opened in a browser")
    page = tmp_path / "page.html"
    script = (
        "<script>window.onload=()=>{document.title=[document.documentElement.scrollWidth,"
        "innerWidth,[...document.images].filter(i=>i.naturalWidth>0).length].join(' ')}</script>"
    )
    page.write_text((written[0] / "index.html").read_text() + script)
    options = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=500,900"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", "--no-pdf-header-footer"]
    done = subprocess.run(
        [*options, "--virtual-time-budget=5000", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
    )
    width, inner, decoded = map(int, re.search(r"<title>(\d+) (\d+) (\d+)<", done.stdout).groups())
    assert width <= inner <= 520
    assert decoded == page.read_text().count("<img ")
    paper = tmp_path / "page.pdf"
    subprocess.run(
        [*options, f"--print-to-pdf={paper}", page.as_uri()], capture_output=True, timeout=60
    )
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes())) <= 25
