"""The report as it is written: page, files, notebook, in a real browser."""

import csv
import html.parser
import json
import re
import shutil
from pathlib import Path

import pytest
from support.browser import DARK, start, told
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
        self.open, self.sources, self.links, self.wrong = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.sources += [v for k, v in attributes if k == "src"]
        self.links += [v for k, v in attributes if k == "href" and v[0] != "#"]
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
    assert all((out / link).exists() for link in page.links)
    # Two scenes were judged: one is the worst, the other the best.
    assert [picture.file for picture in report.pictures] == ["worst-1.jpg", "best-1.jpg"]


def test_every_file_is_named_and_every_name_is_a_file(written):
    out, report = written
    text = (out / "report.md").read_text()
    named = re.findall(r"\]\(([^()\s]+)\)", text)
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
    text = (written[0] / "index.html").read_text()
    script = (
        "await new Promise(done => window.onload = done);"
        "return [document.documentElement.scrollWidth, innerWidth,"
        "[...document.images].filter(image => image.naturalWidth > 0).length]"
    )
    width, inner, decoded = told(text, script, 500, tmp_path)
    assert width <= inner <= 520
    assert decoded == text.count("<img ")
    paper = tmp_path / "page.pdf"
    start(written[0] / "index.html", 500, "--no-pdf-header-footer", f"--print-to-pdf={paper}")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes())) <= 25


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 500])
def test_axe_finds_nothing(written, tmp_path, width, scheme):
    """Every rule of axe-core, best practices included, in both color schemes."""
    axe = pytest.importorskip("axe_core_python", reason="no axe-core-python: pip install it")
    library = (Path(axe.__file__).parent / "axe.min.js").read_text()
    script = (
        "const dark = matchMedia('(prefers-color-scheme: dark)').matches;"
        "const found = await axe.run();"
        "return [dark, found.passes.length, found.violations.map("
        "rule => rule.id + ': ' + rule.nodes.map(node => node.html).slice(0, 3))]"
    )
    options = [DARK] if scheme == "dark" else []
    text = (written[0] / "index.html").read_text() + f"<script>{library}</script>"
    dark, passed, violations = told(text, script, width, tmp_path, *options)
    assert (dark, violations) == (scheme == "dark", [])
    assert passed > 20


def test_tables_are_sorted_by_the_keyboard(written, tmp_path):
    """A head is a button, which rows follow and aria-sort tells; what is unknown stays last."""
    script = """
        const table = document.querySelector("#runs table");
        const heads = [...table.tHead.rows[0].cells];
        const column = heads.findIndex(head => head.textContent === "val. acc.");
        const button = heads[column].querySelector("button");
        const told = () => [heads.map(head => head.getAttribute("aria-sort"))[column],
            heads.filter(head => head.hasAttribute("aria-sort")).length,
            [...table.tBodies[0].rows].map(row => row.cells[column].textContent)];
        button.focus();
        const focused = document.activeElement === button && button.tabIndex === 0;
        const all = [focused];
        for (let k = 0; k < 2; k++) { button.click(); all.push(told()); }
        return all;
    """
    text = (written[0] / "index.html").read_text()
    focused, up, down = told(text, script, 1400, tmp_path)
    accuracies = sorted(known_accuracies(written[1]))
    shown = [f"{value:.4f}" for value in accuracies]
    unknown = ["–"] * 5  # those of the paper
    assert focused
    assert up == ["ascending", 1, shown + unknown]
    assert down == ["descending", 1, shown[::-1] + unknown]


def known_accuracies(report):
    table = next(table for table in report.tables if table.name == "runs")
    return [row["validation_accuracy"] for row in table.rows if row["validation_accuracy"]]


def test_nothing_is_empty(written):
    """Each heading has something below it, and nothing without data has a heading."""
    out, report = written
    text = (out / "index.html").read_text()
    empty = [table for table in report.tables if not table.visible]
    assert [table.name for table in empty] == ["scaling"]
    for table in empty:
        assert f'id="{table.name}"' not in text
        assert any(line.startswith(f"{table.title}: ") for line in report.missing)
    assert not re.findall(r"</h2>\s*</section>", text)
    assert not re.findall(r"<figcaption>\s*</figcaption>", text)
    assert not re.findall(r"\n## [^\n]*\n+(?=## |$)", (out / "report.md").read_text())


def test_runs_lead_to_their_folders(written, real_runs):
    out, _ = written
    for text, pattern in (
        ((out / "index.html").read_text(), r'<a href="([^"]+)">{}</a>'),
        ((out / "report.md").read_text(), r"\[{}\]\(([^)]+)\)"),
    ):
        for name in RUNS:
            target = re.search(pattern.format(name), text)[1]
            assert not Path(target).is_absolute()
            assert (out / target).resolve() == (real_runs / name).resolve()
