"""The data set from a real S3 server on loopback: whole, cut off, damaged, away."""

import contextlib
import hashlib
import io
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from cloudmask.errors import Fault, InputError
from cloudmask.scenes import dataset, download, listing
from cloudmask.system.output import folder_held

boto3 = pytest.importorskip("boto3")

MIB = 1 << 20


class Cutter:
    """A TCP proxy before `upstream` that closes its first `times` connections after `after` bytes.

    `garble` flips a bit of each answer's last byte instead.
    """

    def __init__(self, upstream, after, times, garble=False):
        self.upstream, self.after, self.left, self.garble = upstream, after, times, garble
        self.cut = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.upstream)
            threading.Thread(target=self._up, args=(client, server), daemon=True).start()
            threading.Thread(target=self._down, args=(server, client), daemon=True).start()

    def _up(self, client, server):
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)

    def _down(self, server, client):
        sent = 0
        try:
            while data := server.recv(65536):
                sent += len(data)
                if sent > self.after and self.left > 0:
                    self.left -= 1
                    self.cut += 1
                    if not self.garble:
                        break
                    data = data[:-1] + bytes([data[-1] ^ 1])
                client.sendall(data)
        except OSError:
            pass
        for end in (client, server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def content(name, size):
    """Bytes that belong to a name: a mix-up shows."""
    seed = hashlib.sha256(name.encode()).digest()
    return (seed * (size // 32 + 1))[:size]


def client(url):
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )


def names(part, count):
    return [f"S3A_SL_1_RBT____{part}_{number:03d}.hdf" for number in range(count)]


@pytest.fixture(scope="module", autouse=True)
def no_proxy():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("NO_PROXY", "no_proxy"):
            patch.setenv(name, "127.0.0.1")
        yield


@pytest.fixture(scope="module")
def server(no_proxy):
    """(host, port) of moto's server in a process of its own, with the data set in two layouts."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code = f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.1)
    s3 = client(f"http://127.0.0.1:{port}")
    s3.create_bucket(Bucket=dataset.BUCKET)
    for prefix, folders in (
        (dataset.PREFIX, ("training", "inference")),
        ("old/", ("one-day", "ssts/deeper")),
    ):
        for folder in folders:
            part = "training" if folder in ("training", "one-day") else "inference"
            for name in names(part, 8 if part == "training" else 3):
                s3.put_object(
                    Bucket=dataset.BUCKET,
                    Key=f"{prefix}{folder}/{name}",
                    Body=content(name, 3 * MIB + 7),
                    ACL="public-read",
                )
        s3.put_object(Bucket=dataset.BUCKET, Key=f"{prefix}README.txt", Body=b"not a scene")
    s3.put_object(Bucket=dataset.BUCKET, Key="empty/other/S3A_x.hdf", Body=b"not ours")
    yield "127.0.0.1", port
    process.kill()
    process.wait()


@pytest.fixture
def fetch(server, command, tmp_path):
    """Run cloudmask-data into tmp_path/data."""

    def run(*arguments, endpoint=None):
        url = endpoint or "http://{}:{}".format(*server)
        return command(
            "cloudmask-data", "--out", tmp_path / "data", "--endpoint", url, *arguments, timeout=120
        )

    return run


def found(folder):
    """The files of the data set and their bytes, but for its list."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (".lock", listing.NAME)
    }


def expected(training, inference, below=""):
    wanted = {f"training/{n}": content(n, 3 * MIB + 7) for n in names("training", training)}
    both = {f"inference/{below}{n}": n for n in names("inference", inference)}
    return wanted | {path: content(n, 3 * MIB + 7) for path, n in both.items()}


def test_all_scenes_arrive_and_a_second_run_does_nothing(fetch, tmp_path):
    done = fetch()
    assert done.returncode == 0, done.stderr
    assert "11 scenes, 0.03 GB" in done.stdout
    assert found(tmp_path / "data") == expected(8, 3)
    in_list = listing.inference_scenes(tmp_path / "data" / listing.NAME)
    assert in_list == {name.removesuffix(".hdf") for name in names("inference", 3)}
    done = fetch()
    assert "0 scenes fetched (0 continued), 11 were there" in done.stdout


def test_older_folder_names_and_sub_folders(fetch, tmp_path):
    assert fetch("--prefix", "old/").returncode == 0
    assert found(tmp_path / "data") == expected(8, 3, "deeper/")


def test_limit_takes_a_fifth_for_inference(fetch, tmp_path):
    assert fetch("--limit", "5").returncode == 0
    assert found(tmp_path / "data") == expected(4, 1)
    assert len(listing.inference_scenes(tmp_path / "data" / listing.NAME)) == 3  # of the server


@pytest.mark.parametrize(("limit", "parts"), [(1, (1, 0)), (2, (1, 1)), (10, (8, 2)), (99, (8, 3))])
def test_limits_at_the_edges(limit, parts):
    items = [
        download.Item(n, download.PurePosixPath(p, n), 1, "")
        for p, count in (("training", 8), ("inference", 3))
        for n in names(p, count)
    ]
    chosen = [item.path.parts[0] for item in download.select(items, limit)]
    assert (chosen.count("training"), chosen.count("inference")) == parts


def test_dry_run_fetches_nothing(fetch, tmp_path):
    done = fetch("--dry-run")
    assert done.returncode == 0
    assert "11 wanted, 11 to fetch, 0.03 GB" in done.stdout
    assert not (tmp_path / "data").exists()


def test_cut_connections_are_continued(fetch, server, tmp_path):
    """Each scene is 3 MiB and each connection ends after 2: none arrives in one piece."""
    cutter = Cutter(server, 2 * MIB, times=9)
    done = fetch("--workers", "2", endpoint=cutter.url)
    assert done.returncode == 0, done.stderr
    assert cutter.cut == 9
    assert found(tmp_path / "data") == expected(8, 3)


def test_a_download_given_up_continues_within_the_scene(fetch, server, tmp_path):
    cutter = Cutter(server, 2 * MIB, times=10**6)
    done = fetch("--workers", "1", "--retries", "0", "--limit", "1", endpoint=cutter.url)
    assert done.returncode == 75
    assert "0 of 1 scene complete, the same command continues" in done.stderr
    [(name, part)] = found(tmp_path / "data").items()
    assert name.endswith(".part")
    assert MIB <= len(part) < 3 * MIB
    # What is left is less than the proxy lets through: only the rest is asked for.
    after = Cutter(server, 2 * MIB + MIB // 2, times=10**6)
    done = fetch("--retries", "0", "--limit", "1", endpoint=after.url)
    assert done.returncode == 0, done.stderr
    assert "1 scene fetched (1 continued)" in done.stdout
    assert after.cut == 0
    assert found(tmp_path / "data") == expected(1, 0)


def test_a_flipped_bit_is_noticed_and_fetched_again(fetch, server, tmp_path):
    cutter = Cutter(server, 2 * MIB, times=1, garble=True)
    done = fetch("--limit", "1", endpoint=cutter.url)
    assert done.returncode == 0, done.stderr
    assert cutter.cut == 1
    assert found(tmp_path / "data") == expected(1, 0)


def test_a_scene_that_stays_wrong_is_refused(fetch, server, tmp_path):
    cutter = Cutter(server, 2 * MIB, times=10**6, garble=True)
    done = fetch("--limit", "1", endpoint=cutter.url)
    assert done.returncode == 1
    assert "arrived twice with a wrong checksum" in done.stderr
    assert found(tmp_path / "data") == {}


def test_a_server_that_is_away(fetch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    done = fetch("--retries", "1", endpoint=url)
    assert done.returncode == 75
    assert done.stderr.startswith(f"interrupted: {url} does not answer (")
    assert "try again later" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_nothing_where_scenes_are_expected(fetch):
    done = fetch("--prefix", "empty/")
    assert done.returncode == 2
    assert "no scenes S3A*.hdf below" in done.stderr
    assert "found other there" in done.stderr
    done = fetch("--bucket", "nobodys")
    assert done.returncode == 2
    assert "404 NoSuchBucket" in done.stderr


def test_too_little_space_is_told_before_anything_is_fetched(server, tmp_path, monkeypatch):
    store = download.Store("http://{}:{}".format(*server), dataset.BUCKET, dataset.PREFIX, 0, 2)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10 * MIB))
    with pytest.raises(download.InputError, match=r"needs 0.03 GB, 0.01 GB are free"):
        download.fetch(store, store.scenes(), tmp_path / "data", 2)
    assert found(tmp_path / "data") == {}


def test_two_downloads_into_one_folder(fetch, tmp_path):
    (tmp_path / "data").mkdir()
    with folder_held(tmp_path / "data"):
        done = fetch()
    assert done.returncode == 2
    assert "in use by process" in done.stderr


def test_a_multipart_checksum(server, tmp_path):
    """A real multipart upload: parts of 5 MiB, the part size asked for or guessed."""
    s3 = client("http://{}:{}".format(*server))
    data = content("multipart", 12 * MIB)
    where = {"Bucket": dataset.BUCKET, "Key": "many/training/S3A_m.hdf"}
    upload = s3.create_multipart_upload(**where, ACL="public-read")
    common = where | {"UploadId": upload["UploadId"]}
    parts = []
    for number, start in enumerate(range(0, len(data), 5 * MIB), 1):
        body = data[start : start + 5 * MIB]
        answer = s3.upload_part(**common, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    s3.complete_multipart_upload(**common, MultipartUpload={"Parts": parts})
    store = download.Store("http://{}:{}".format(*server), dataset.BUCKET, "many/", 0, 2)
    [item] = store.scenes()
    assert item.etag.endswith("-3")
    summary = download.fetch(store, [item], tmp_path, 1)
    assert (summary.fetched, summary.by_size) == (1, [])
    path = tmp_path / item.path
    assert path.read_bytes() == data
    path.write_bytes(data[:-1] + b"x")
    assert download.verify(path, item, lambda _: 5 * MIB) is False
    assert download.verify(path, item, lambda _: None) is None  # a guess proves nothing


def test_an_etag_that_is_no_checksum(tmp_path):
    path = tmp_path / "scene"
    path.write_bytes(b"")
    item = download.Item("k", download.PurePosixPath("scene"), 0, hashlib.md5(b"").hexdigest())
    assert download.verify(path, item, lambda _: None) is True
    for etag in ("opaque", "0" * 32 + "-x", ""):
        strange = download.Item("k", item.path, 0, etag)
        assert download.verify(path, strange, lambda _: None) is None


class Body(io.BytesIO):
    """An answer of a server, of any length."""


class HostileClient:
    """A store that lists what it likes and answers with more than it lists."""

    def __init__(self, entries, body=b""):
        self.entries, self.body = entries, body

    def get_paginator(self, name):
        return SimpleNamespace(paginate=lambda **_: [{"Contents": self.entries}])

    def get_object(self, **_):
        return {"ResponseMetadata": {"HTTPStatusCode": 206}, "Body": Body(self.body)}


def hostile_store(*entries, body=b""):
    store = download.Store("http://127.0.0.1:1", "bucket", "es/", 0, 1)
    store.client = HostileClient(list(entries), body)
    return store


def entry(key, size=10, etag='"tag"'):
    return {"Key": f"es/{key}", "Size": size, "ETag": etag}


@pytest.mark.parametrize(
    "key",
    [
        "training//S3A_x.hdf",
        "training/../../S3A_x.hdf",
        "training//etc/S3A_x.hdf",
        "training/./S3A_x.hdf",
        "training/.ssh/S3A_x.hdf",
        "training/S3A_\n.hdf",
        "training/S3A_" + "x" * 250 + ".hdf",
    ],
)
def test_keys_that_lead_out_of_the_folder_are_passed_over(key, caplog):
    good = entry("training/deeper/S3A_good.hdf")
    with caplog.at_level("WARNING"):
        (item,) = hostile_store(entry(key), good).scenes()
    assert str(item.path) == "training/deeper/S3A_good.hdf"
    assert "skipped: key 'es/training/" in caplog.text and "cannot be a path" in caplog.text


@pytest.mark.parametrize("odd", [{"Size": -1}, {"Size": "9"}, {"ETag": None}, {"Size": 1 << 60}])
def test_entries_that_cannot_be_scenes_are_passed_over(odd):
    good = entry("training/S3A_good.hdf")
    found = hostile_store({**entry("training/S3A_odd.hdf"), **odd}, good).scenes()
    assert [item.path.name for item in found] == ["S3A_good.hdf"]


def test_one_scene_under_two_keys_is_refused():
    store = hostile_store(entry("training/S3A_a.hdf"), entry("one-day/S3A_a.hdf"))
    with pytest.raises(InputError, match="are the same scene"):
        store.scenes()


def test_an_endless_listing_ends(monkeypatch):
    monkeypatch.setattr(download, "MOST_OBJECTS", 5)
    with pytest.raises(InputError, match="lists more than 5 objects"):
        hostile_store(*[entry(f"training/S3A_{n}.hdf") for n in range(6)]).scenes()


def test_no_more_than_the_listed_size_is_written(tmp_path):
    item = entry("training/S3A_a.hdf", size=10, etag='"../../x/y"')
    store = hostile_store(item, body=b"z" * 5_000_000)
    with pytest.raises(Fault, match="sent more than the 10 bytes that it lists"):
        download.fetch(store, store.scenes(), tmp_path / "data", 1)
    assert sum(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file()) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"data"}
