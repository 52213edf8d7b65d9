"""Damaged files for every reader: a clear InputError or a clean read, never anything else.

    python tests/fuzz.py 10000        # or: make fuzz N=10000

Each case is one file of one kind with one damage, all drawn from the seed. The cases run in a
process whose memory is bounded and which reports what it is doing, so that a crash or a hang of a
library has a name.
"""

import argparse
import json
import math
import multiprocessing
import random
import resource
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
from support.intact_files import originals

MEMORY = 1 << 30  # bytes that a case may add to the process
SECONDS = 60  # for one case

HDF5_KINDS = ("scene", "product", "store")
JSON_KINDS = ("result", "manifest", "plan", "listing", "provenance")
# What no reader expects where it expects something else.
VALUES = (
    None, True, -1, 0, 2**70, 1e308, math.nan, math.inf, "", "text", "../../../x", "/etc/passwd",
    "a\nb", "=1+1", "\u202e", "\ud800", "x" * 10_000, [], [[]], {}, {"a": {}}, [None] * 3,
    "1970-01-01", 10**20,
)  # fmt: skip


def read(kind: str, path: Path) -> None:
    """What the commands do with a file of this kind."""
    from cloudmask.config.settings import load_config
    from cloudmask.experiments.experiment import load_experiment
    from cloudmask.overlay import manifest
    from cloudmask.record import recorded_provenance, telemetry
    from cloudmask.record.history import read_history
    from cloudmask.record.result import Result
    from cloudmask.record.run_directory import RunDirectory
    from cloudmask.report.logs import read_logs
    from cloudmask.train.checkpoint import Checkpoints

    readers: dict[str, Callable[[Path], object]] = {
        "scene": _read_scene,
        "product": _read_scene,
        "archive": _read_scene,
        "network": _read_network,
        "store": _read_store,
        "config": load_config,
        "result": Result.read,
        "checkpoint": lambda path: Checkpoints(RunDirectory(path.parents[1])).load(),
        "manifest": lambda path: manifest.read(path.with_suffix("")),
        "experiment": load_experiment,
        "plan": _read_plan,
        "listing": _read_listing,
        "log": _read_log,
        "history": read_history,
        "provenance": recorded_provenance.read,
        "stopwatch": lambda path: read_logs("run", {"stopwatch": path}),
        "telemetry": telemetry.summarize,
    }
    readers[kind](path)


def _read_scene(path: Path) -> None:
    from cloudmask.scenes.scene import check_scene, read_scene

    check_scene(path)
    assert np.isfinite(read_scene(path).image).all()


def _read_network(path: Path) -> None:
    from cloudmask.evaluate import saved_network

    saved_network.facts(path)
    saved_network._weights(path)


def _read_store(path: Path) -> None:
    from cloudmask.patches.store import PatchStore

    store = PatchStore(path)
    store.names  # noqa: B018, decodes them
    np.asarray(store.patches[:1]).sum()


def _read_log(path: Path) -> None:
    from cloudmask.record.compliance import findings
    from cloudmask.report.logs import read_logs

    findings(path)
    read_logs("run", {"events": path})


def _read_plan(path: Path) -> None:
    from cloudmask.experiments import plan

    found = plan.load(path.parent)
    for row in found.rows if found else ():
        found.config(row)
        _assert_below(found.run(row).path, path.parent)


def _read_listing(path: Path) -> None:
    """As if a server at the address `path` had listed it."""
    from cloudmask.errors import InputError
    from cloudmask.scenes import download

    try:
        entries = json.loads(path.read_text())
    except (ValueError, RecursionError):
        return  # The S3 client's own reader has no JSON.
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return
    store = download.Store.__new__(download.Store)
    store.endpoint, store.bucket, store.prefix, store.retries = str(path), "b", "ds1/", 0
    store._list = lambda: entries
    store.ask = lambda call: call()
    try:
        items = store.scenes()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    for item in items:
        _assert_below(path.parent / item.path, path.parent)


def _assert_below(path: Path, folder: Path) -> None:
    assert path.resolve().is_relative_to(folder.resolve()), path


def damage(kind: str, path: Path, rng: random.Random) -> str:
    """Damage the file (of a product, one of its files); returns what was done."""
    if path.is_dir():
        path = rng.choice(sorted(path.glob("*.nc")))
    ways = [_flip, _truncate, _overwrite, _replace]
    if kind in HDF5_KINDS:
        ways += [_reshape, _attributes, _remove, _elsewhere]
    if kind in ("config", "result", "experiment"):
        ways += [_text]
    if kind in JSON_KINDS:
        ways += [_json] * 6
    if kind == "log":
        ways += [_event] * 6
    way = rng.choice(ways)
    return f"{path.name}: {way.__name__[1:]} {way(path, rng)}"


def _flip(path: Path, rng: random.Random) -> str:
    content = bytearray(path.read_bytes())
    # Half of them where the structure is, at the beginning.
    places = [
        rng.randrange(min(len(content), rng.choice((4096, 1 << 30))))
        for _ in range(rng.randint(1, 8))
    ]
    for place in places:
        content[place] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return str(places)


def _truncate(path: Path, rng: random.Random) -> str:
    size = rng.randrange(path.stat().st_size)
    with path.open("r+b") as file:
        file.truncate(size)
    return str(size)


def _overwrite(path: Path, rng: random.Random) -> str:
    content = bytearray(path.read_bytes())
    begin = rng.randrange(min(len(content), 8192))
    piece = rng.choice((b"\xff", b"\x00", rng.randbytes(1))) * rng.randint(1, 64)
    content[begin : begin + len(piece)] = piece
    path.write_bytes(content)
    return f"{begin} {piece[:4]!r}"


def _replace(path: Path, rng: random.Random) -> str:
    content = rng.choice(
        (b"", b"\x00" * 100, b"\x89HDF\r\n\x1a\n" + rng.randbytes(500), b"PK\x03\x04")
    )
    path.write_bytes(content)
    return repr(content[:8])


def _text(path: Path, rng: random.Random) -> str:
    text = rng.choice(
        (
            "[" * 5000,
            "{" * 5000,
            '{"schema": 1e999}',
            "a: &a [*a]",
            "seed: 1e400",
            "- " * 3000,
            "!!python/object/apply:os.system ['true']",
            "seed: [[1]]",
            "name: ../../x",
            "\ud7ff: 1",
            '{"schema": 1, "status": []}',
            '{"schema": true}',
            "training: 3",
            "model: {filters: 1e9}",
            "a: &a [1,1]\nb: &b [*a,*a]\nc: [*b,*b,*b]",
            "? [1, 2]\n: 3",
            "seed: 0x7fffffffffff",
        )
    )
    path.write_text(text)
    return text[:20]


def _json(path: Path, rng: random.Random) -> str:
    """One value of the tree becomes another, or goes, or its key is another."""
    tree = json.loads(path.read_text())
    done = _change(tree, rng)
    path.write_text(json.dumps(tree))
    return done


def _event(path: Path, rng: random.Random) -> str:
    """As `_json`, in one line of a log."""
    from cloudmask.record.events import TOKEN

    lines = path.read_text().splitlines()
    number = rng.randrange(len(lines))
    event = json.loads(lines[number].removeprefix(TOKEN))
    done = _change(event, rng)
    lines[number] = TOKEN + json.dumps(event)
    path.write_text("\n".join(lines) + "\n")
    return f"line {number} {done}"


def _change(tree: dict | list, rng: random.Random) -> str:
    parent, key = rng.choice(list(_places(tree)) or [([tree], 0)])
    value = rng.choice(VALUES)
    way = rng.random()
    if way < 0.15:
        del parent[key]
    elif way < 0.3 and isinstance(parent, dict):
        parent[str(value)[:300]] = parent.pop(key)
    else:
        parent[key] = value
    return f"{key!r} {value!r:.60}"


def _places(tree: dict | list) -> Iterator[tuple[dict | list, object]]:
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from _places(tree[key])


def _elsewhere(path: Path, rng: random.Random) -> str:
    """A data set whose values lie in another file, or are a link in a circle."""
    with h5py.File(path, "r+") as file:
        name = rng.choice(sorted(n for n in file if isinstance(file[n], h5py.Dataset)))
        shape, kind = file[name].shape, file[name].dtype
        del file[name]
        way = rng.choice(("external link", "soft link", "virtual", "external storage", "hard link"))
        if way == "external link":
            file[name] = h5py.ExternalLink("/etc/passwd", f"/{name}")
        elif way == "soft link":
            file[name] = h5py.SoftLink(f"/{name}")
        elif way == "virtual":
            layout = h5py.VirtualLayout(shape, kind)
            layout[...] = h5py.VirtualSource("../elsewhere.h5", name, shape)
            file.create_virtual_dataset(name, layout)
        elif way == "external storage":
            external = [("/etc/passwd", 0, h5py.h5f.UNLIMITED)]
            file.create_dataset(name, shape, kind, external=external)
        else:
            file[name] = file["/"]
    return f"{name} {way}"


def _reshape(path: Path, rng: random.Random) -> str:
    """A data set of another shape or type, huge ones without any data behind them."""
    with h5py.File(path, "r+") as file:
        name = rng.choice(sorted(file))
        del file[name]
        shape = rng.choice(
            ((0,), (1,), (10**6, 10**6, 9), (300, 280), (2**40, 1, 1), (256, 256, 3), ())
        )
        kind = rng.choice(("f4", "u1", "S5", "c8", "f8", "i8", h5py.string_dtype(), "V7"))
        creation = (
            {"chunks": True}
            if shape and 0 not in shape and np.prod(shape, dtype=float) > 1e8
            else {}
        )
        file.create_dataset(name, shape, kind, **creation)
    return f"{name} {shape} {kind}"


def _attributes(path: Path, rng: random.Random) -> str:
    with h5py.File(path, "r+") as file:
        target = rng.choice([file, *(file[name] for name in sorted(file))])
        value = rng.choice((np.nan, "text", [1, 2, 3], 0, -1, 1e308, b"\xff\xfe", np.zeros((3, 3))))
        name = rng.choice(
            (*target.attrs, "scale_factor", "_FillValue", "add_offset", "version", "format")
        )
        target.attrs[name] = value
    return f"{target.name} {name}={value!r}"


def _remove(path: Path, rng: random.Random) -> str:
    with h5py.File(path, "r+") as file:
        name = rng.choice(sorted(file))
        del file[name]
        if rng.random() < 0.5:
            file.create_group(name)
    return name


def _cases(first: int, last: int, folder: str, say) -> None:
    """Run cases in this process; `say` gets each case before it runs, and failures."""
    from cloudmask.errors import Fault, InputError
    from cloudmask.record.run_directory import RunDirectory

    files = originals(Path(folder) / "originals")
    work = RunDirectory(folder).checkpoints  # where a checkpoint is looked for
    for kind, path in files.items():  # everything is imported and warm before memory is counted
        read(kind, path)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    for number in range(first, last):
        rng = random.Random(number)
        kind = rng.choice(sorted(files))
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        path = work / files[kind].name
        (shutil.copytree if files[kind].is_dir() else shutil.copy)(files[kind], path)
        what = f"case {number}: {kind}, {damage(kind, path, rng)}"
        say(("case", what))
        try:
            read(kind, path)
        except (Fault, InputError) as error:
            if kind not in ("config", "experiment") and "\n" in str(error):
                say(("fault", f"{what}: more than one line: {error}"))
            if str(path if kind != "checkpoint" else path.parent) not in str(error):
                say(("fault", f"{what}: does not name the file: {error}"))
        except BaseException:
            say(("fault", f"{what}\n{traceback.format_exc()}"))
        left = [p.name for p in work.iterdir() if p != path]
        if left:
            say(("fault", f"{what}: left {left}"))
    say(("done", ""))


def fuzz(count: int, first: int = 0) -> list[str]:
    """Run `count` cases from number `first` on; returns a line or more for each fault."""
    faults: list[str] = []
    context = multiprocessing.get_context("spawn")
    while first < count:
        receiver, sender = context.Pipe(duplex=False)
        with tempfile.TemporaryDirectory() as folder:
            process = context.Process(target=_cases, args=(first, count, folder, sender.send))
            process.start()
            sender.close()
            last = "starting"
            while True:
                try:
                    if not receiver.poll(SECONDS):
                        faults.append(f"{last}: hangs")
                        process.kill()
                        break
                    state, text = receiver.recv()
                except EOFError:
                    process.join()
                    faults.append(f"{last}: the process died with {process.exitcode}")
                    break
                if state == "done":
                    return faults
                if state == "fault":
                    faults.append(text)
                else:
                    last = text
            process.join()
            if not last.startswith("case"):
                return faults
            first = int(last.split()[1].rstrip(":")) + 1
    return faults


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("count", type=int, nargs="?", default=300)
    arguments = parser.parse_args()
    found = fuzz(arguments.count)
    print("\n".join(found) or f"{arguments.count} damaged files: no fault")
    sys.exit(bool(found))
