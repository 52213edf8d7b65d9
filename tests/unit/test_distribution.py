"""What an installer and a package index see: name, version, files, metadata, citation."""

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import HeaderParser

import pytest
import yaml
from support.documents import PACKAGE, REPOSITORY, tracked

import cloudmask
from cloudmask.publication import contribution
from cloudmask.system.distribution import DISTRIBUTION, install_command

APP = REPOSITORY / "app"
# The builder changes sys.argv.
BUILD = """
import sys
import setuptools.build_meta as backend
out = sys.argv[1]
backend.build_sdist(out)
backend.build_wheel(out)
"""
PAPER = "arXiv:2401.08636"
# Nobody has named an address for questions about the package yet.
KNOWN = ["Your package does not have author-email data."]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of app/, without what building or installing leaves in it."""
    skip = shutil.ignore_patterns("*.egg-info", "__pycache__", "build")
    return shutil.copytree(APP, tmp_path_factory.mktemp("project") / "app", ignore=skip)


@pytest.fixture(scope="module")
def built(project):
    """The folder with the source distribution and the wheel."""
    out = project.parent / "dist"
    subprocess.run(
        [sys.executable, "-c", BUILD, str(out)],
        cwd=project,
        check=True,
        capture_output=True,
        timeout=300,
    )
    return out


@pytest.fixture(scope="module")
def metadata(built):
    """The wheel's metadata."""
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        name = next(n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
        return HeaderParser().parsestr(wheel.read(name).decode())


def extras():
    """The names of the extras, as app/pyproject.toml has them."""
    text = (APP / "pyproject.toml").read_text(encoding="utf-8")
    section = text.split("[project.optional-dependencies]\n")[1].split("\n[")[0]
    return set(re.findall(r"^(\w+) = \[", section, re.MULTILINE))


def test_name_version_and_what_an_index_shows(metadata):
    assert metadata["Name"] == DISTRIBUTION
    assert metadata["Version"] == cloudmask.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload().startswith("# cloudmask\n")
    assert len(metadata.get_all("Project-URL")) >= 2


@pytest.mark.parametrize("name", ["LICENSE", "py.typed", "configs/experiments/paper.yaml"])
def test_files_that_are_no_modules_are_in_both(built, name):
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        assert [n for n in wheel.namelist() if n.endswith(f"/{name}")]
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        assert [m.name for m in archive if m.name.endswith(f"/{name}")]


def test_the_license_is_a_copy_and_no_link(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        member = next(m for m in archive if m.name.endswith("/LICENSE"))
        assert archive.extractfile(member).read() == (REPOSITORY / "LICENSE").read_bytes()


@pytest.mark.parametrize("address", [False, True])
def test_pyroma(project, tmp_path, address):
    """Nothing is missing but an address of the authors, with which it is 10 of 10."""
    pyroma = pytest.importorskip("pyroma", reason="no pyroma: pip install it")
    tree = shutil.copytree(project, tmp_path / "app")
    if address:
        path = tree / "pyproject.toml"
        text = path.read_text(encoding="utf-8")
        named = text.replace('developers" }', 'developers", email = "x@example.org" }')
        assert named != text
        path.write_text(named, encoding="utf-8")
    rating, failures = pyroma.ratings.rate(pyroma.projectdata.get_data(str(tree)))
    assert failures == ([] if address else KNOWN)
    assert rating == (10 if address else 8)


def test_every_installation_that_a_text_advises_exists():
    known = extras()
    advised = [
        (name, found.group(1), found.group(2))
        for name in tracked()
        if not name.startswith("app/locks/") and (REPOSITORY / name).is_file()
        for found in re.finditer(
            r"pip\s+install\s+'([\w-]+)\[(\w+)\]'",
            (REPOSITORY / name).read_text(encoding="utf-8", errors="replace"),
        )
    ]
    assert len(advised) >= 5
    assert [entry for entry in advised if entry[1] != DISTRIBUTION or entry[2] not in known] == []


def test_every_extra_that_a_message_advises_exists():
    text = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    named = set(re.findall(r"""install_command\(['"](\w+)['"]\)""", text))
    assert len(named) >= 5
    assert named <= extras()
    assert install_command("map") == f"pip install '{DISTRIBUTION}[map]'"


def test_the_citation_has_this_version():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == cloudmask.__version__


def citations():
    """Every text that cites the paper, with where it stands."""
    report = PACKAGE / "report"
    published = yaml.safe_load((report / "published.yaml").read_text(encoding="utf-8"))
    paper = yaml.safe_load((report / "published_paper.yaml").read_text(encoding="utf-8"))
    texts = [entry["citation"] for entry in (*published, paper)]
    readme = " ".join((APP / "README.md").read_text(encoding="utf-8").split())
    texts += [*contribution.REFERENCES, readme.split("The benchmark: ")[1].replace("[", "")]
    return [text for text in texts if PAPER in text]


def test_all_citations_name_the_authors_of_the_paper_in_their_order():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    paper = citation["references"][0]
    authors = [
        " ".join(filter(None, [a.get("name-particle"), a["family-names"]]))
        for a in paper["authors"]
    ]
    assert PAPER.split(":")[1] in paper["url"]
    found = citations()
    assert len(found) == 4
    for text in found:
        named = [
            re.sub(r"^(\w\. )+", "", name) for name in text.split(" et al.")[0].split(", ") if name
        ]
        assert named == authors[: len(named)], text
