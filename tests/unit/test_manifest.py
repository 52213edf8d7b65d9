"""The manifest beside an image: written as it is read, and checked when it is read."""

import hashlib
import json
import os

import pytest

from cloudmask.errors import InputError
from cloudmask.overlay import manifest
from cloudmask.overlay.manifest import ImageFacts, Manifest, Origin, Source


@pytest.fixture
def written(tmp_path):
    source = tmp_path / "file"
    source.write_bytes(os.urandom(3000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest, "CHUNK", 1024)
        files = (manifest.measure(source, manifest.PATCHES, 2),)
    facts = ImageFacts(4096, 17, "a" * 64)
    sources = {manifest.PATCHES: Source(str(source), 3000, 18)}
    made = Manifest(manifest.identity(files), files, sources, facts, Origin("0", "host", "now"))
    made.write(manifest.beside(tmp_path / "o.ext3"))
    return made


def test_it_is_read_as_it_was_written(written, tmp_path):
    assert manifest.read(tmp_path / "o.ext3") == written
    data = json.loads((tmp_path / "o.ext3.json").read_text())
    assert list(data) == ["schema", "id", "files", "sources", "image", "made"]
    assert data["sources"][manifest.PATCHES] == [str(tmp_path / "file"), 3000, 18]


def rename(data, path):
    """Give the manifest's file another path, with the id that fits."""
    data["files"][0]["path"] = path
    lines = (f"{file['sha256']} {file['path']}\n" for file in data["files"])
    data["id"] = hashlib.sha256("".join(lines).encode(errors="surrogatepass")).hexdigest()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda d: d.update(schema=2), "schema: expected 1, found 2"),
        (lambda d: d.pop("image"), "manifest: expected the keys schema, id, files"),
        (lambda d: d.update(files={}), r"manifest.files: expected list, found \{\}"),
        (lambda d: d["files"][0].update(size="3000"), "files.0.size: expected int, found '3000'"),
        (lambda d: d["files"][0].update(size=4000), "files.0: 3 chunks do not make up 4000 bytes"),
        (lambda d: d["files"][0].update(chunk=0), "files.0: 3 chunks do not make up"),
        (lambda d: d["files"][0]["chunks"].__setitem__(1, 5), "files.0: expected a SHA-256, found"),
        (lambda d: d["files"][0].update(sha256="b" * 64), "id: is not that of the files"),
        (lambda d: d["sources"].update(x=["y"]), "sources.x: expected path, size and time"),
        (lambda d: d["image"].update(size=True), "image.size: expected int, found True"),
        (lambda d: d["image"].update(sha256="x"), "image.sha256: expected a SHA-256, found 'x'"),
        (lambda d: d["files"][0].update(size=1 << 50), "files.0.size: expected at most"),
        (
            lambda d: rename(d, "/data/../../home/me/.bashrc"),
            "files.0.path: .* is hidden",
        ),
        (lambda d: rename(d, "/etc/passwd"), "files.0.path: .* cannot be a path: '' is empty"),
        (lambda d: rename(d, "leases/x"), "files.0.path: expected a path below /data"),
        (lambda d: rename(d, ""), "files.0.path: '' cannot be a path: '' is empty"),
        (lambda d: rename(d, "/data"), "files.0.path: .* cannot be a path: '' is empty"),
        (lambda d: rename(d, "/data/"), "files.0.path: '' cannot be a path: '' is empty"),
        (lambda d: rename(d, "/data/a\nb"), "files.0.path: .* contains control characters"),
        (lambda d: rename(d, "/data/.copying"), "files.0.path: '.copying' cannot be a path"),
        (lambda d: rename(d, "/data/a\ud800"), "files.0.path: .* contains control characters"),
        (lambda d: rename(d, "/data/" + "a" * 201), "files.0.path: .* is longer than 200 bytes"),
        (lambda d: d["files"].append(dict(d["files"][0])), "files: two have the same path"),
        (
            lambda d: d["files"].append({**d["files"][0], "path": f"{manifest.PATCHES}/x"}),
            "files.1.path: '/data/patches.h5/x' is below another file",
        ),
        (lambda d: d["made"].pop("host"), "made: expected the keys cloudmask, host, time"),
    ],
)
def test_what_is_wrong_is_named(written, tmp_path, damage, words):
    path = tmp_path / "o.ext3.json"
    data = json.loads(path.read_text())
    damage(data)
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=rf"o\.ext3\.json: not a manifest of an overlay \({words}"):
        manifest.read(tmp_path / "o.ext3")


def test_what_is_no_object_is_refused(tmp_path):
    (tmp_path / "o.ext3.json").write_text("[1]")
    with pytest.raises(InputError, match="not a manifest of an overlay"):
        manifest.read(tmp_path / "o.ext3")


def test_id_leads_nowhere(written, tmp_path):
    path = tmp_path / "o.ext3.json"
    data = json.loads(path.read_text())
    for wrong in ("..", "", "leases", "/root", data["id"].upper()):
        path.write_text(json.dumps({**data, "id": wrong}))
        with pytest.raises(InputError, match="id: is not that of the files"):
            manifest.read(tmp_path / "o.ext3")


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 10_000, "\x00", '{"schema": 1'])
def test_json_that_parsers_stumble_over(tmp_path, text):
    (tmp_path / "o.ext3.json").write_text(text)
    with pytest.raises(InputError, match="not a manifest of an overlay"):
        manifest.read(tmp_path / "o.ext3")


def test_pipe_in_place_of_a_manifest_holds_nobody_up(tmp_path):
    os.mkfifo(tmp_path / "o.ext3.json")
    with pytest.raises(InputError, match="is a named pipe; expected a file"):
        manifest.read(tmp_path / "o.ext3")
