"""The journal of an unfinished store: a damaged line costs its scene, not the store."""

import json
import os

import pytest

from cloudmask.patches import journal
from cloudmask.patches.journal import Journal

PLAN = {"version": 2, "scenes": ["a", "b", "c"]}
RECORD = {"sha256": "0" * 64, "notes": ["ü"], "sums": [[1.5]]}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / ".p.h5.journal"
    written = Journal(path, PLAN)
    written.begin()
    for scene in PLAN["scenes"]:
        written.add(scene, RECORD)
    written.close()
    return path


def resumed(path, plan=PLAN):
    found = Journal(path, plan)
    found.resume()
    found.close()
    return found.records


def test_it_is_resumed_as_it_was_written(path):
    assert resumed(path) == dict.fromkeys(PLAN["scenes"], RECORD)


def test_another_plan_has_no_records(path):
    assert resumed(path, {"version": 3}) == {}


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line.replace(b"sha256", b"sha257"),
        lambda line: line[:-1] + bytes([line[-1] ^ 1]),
        lambda line: b"\0" * len(line),
        lambda line: b"\xff\xfe" + line,
        lambda line: line[: len(line) // 2],
        lambda line: b"[" * 10**5,
        lambda line: b"",
        lambda line: json.dumps({"scene": "a"}).encode(),
    ],
)
def test_a_damaged_line_costs_its_scene_only(path, caplog, number, damage):
    lines = path.read_bytes().splitlines()
    lines[number] = damage(lines[number])
    path.write_bytes(b"\n".join(lines) + b"\n")
    left = [scene for n, scene in enumerate(PLAN["scenes"]) if n != number]
    assert sorted(resumed(path)) == left
    assert "1 damaged lines; their scenes are converted again" in caplog.text


def test_it_is_synced_at_intervals(path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    written = Journal(path, PLAN)
    written.add("d", RECORD)
    assert not synced
    monkeypatch.setattr(journal, "SYNC_SECONDS", -1)
    written.add("e", RECORD)
    assert len(synced) == 1
    written.close()
