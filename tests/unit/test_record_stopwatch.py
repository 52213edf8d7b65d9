"""The stop-watch, read with the same parser as the logs that cloudmesh's wrote."""

import csv
import itertools
import re
import time
from pathlib import Path

import pytest

from cloudmask.record.events import EventLog, read_events
from cloudmask.record.stopwatch import CSV_COLUMNS, Stopwatch

# As cloudmesh writes it.
SAMPLE = """\
# csv,timer,status,time,sum,start,tag,msg,uname.node,user,uname.system,platform.version
# csv,total,ok,1153.525,1153.525,2022-10-01 02:05:05,a100_10,None,n1,me,Linux,#1 SMP 2022
"""


def parse(text):
    lines = [line.removeprefix("# csv,") for line in text.splitlines() if line.startswith("# csv,")]
    return list(csv.DictReader(lines))


def test_sample_has_our_columns():
    assert tuple(parse(SAMPLE)[0]) == CSV_COLUMNS


def test_published_logs_have_our_columns(shared):
    logs = list((shared / "published").glob("slstr_stopwatch_benchmark_*.log"))
    assert logs
    for log in logs:
        rows = parse(log.read_text())
        assert tuple(rows[0]) == CSV_COLUMNS
        assert float(rows[0]["sum"]) > 0
        assert rows[0]["timer"] == "total"


def test_summary_parses_like_a_published_log():
    watch = Stopwatch("run-1")
    with watch.timer("total"):
        watch.add("training", 1.25, start=0.0)
        watch.add("training", 2.5, msg="two\nlines, and a comma", start=86400.0)
        with watch.timer("inference"):
            time.sleep(0.02)
    total, training, inference = parse(watch.summary({}))
    assert [row["timer"] for row in (total, training, inference)] == [
        "total",
        "training",
        "inference",
    ]
    assert (training["time"], training["sum"]) == ("2.500", "3.750")
    assert training["msg"] == "two lines, and a comma"
    assert training["start"] == time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(86400))
    assert training["uname.system"] == "Linux"
    assert 0.02 <= float(inference["time"]) <= float(total["time"]) < 5
    assert (total["status"], total["msg"], total["tag"]) == ("ok", "None", "run-1")
    assert (watch.seconds("training"), watch.seconds("unknown")) == (3.75, 0.0)


def test_block_that_fails_is_told():
    watch = Stopwatch("run")
    with pytest.raises(RuntimeError), watch.timer("training"):
        raise RuntimeError("out of memory")
    (row,) = parse(watch.summary({}))
    assert (row["status"], row["msg"]) == ("failed", "out of memory")


def test_timer_that_still_runs_is_told():
    watch = Stopwatch("run")
    with watch.timer("total"):
        (row,) = parse(watch.summary({}))
    assert row["status"] == "running"


def test_tables_are_plain_and_even():
    watch = Stopwatch("größe")
    watch.add("training", 1052.665)
    text = watch.summary({"gpu": None, "os": "word " * 40, "host": "n1"})
    assert text.isascii()
    tables = [line for line in text.splitlines() if line[:1] in "+|" and line]
    attributes = [line for line in tables if len(line) == len(tables[0])]
    assert all(len(line) in (len(tables[0]), len(tables[-1])) for line in tables)
    names = [line.split("|")[1].strip() for line in attributes if line.startswith("| ")]
    assert [name for name in names if name] == ["Attribute", "gpu", "host", "os"]
    assert text.count("word") == 40
    assert "| 1052.665 | 1052.665 |" in text


def test_an_interval_is_one_reading_of_the_clock_in_log_and_table(tmp_path):
    with EventLog(tmp_path / "mlperf.log") as log:
        watch = Stopwatch("run", log)
        with watch.interval("run") as whole:
            for number in (1, 2):
                with watch.interval("epoch", epoch_num=number):
                    time.sleep(0.02 * number)
            whole.at_stop["status"] = "success"
        watch.measured("staging", 1000.0, 1012.5)
    events = read_events(tmp_path / "mlperf.log")
    assert [event["key"] for event in events] == [
        "run_start",
        *("epoch_start", "epoch_stop") * 2,
        "run_stop",
        "staging_start",
        "staging_stop",
    ]
    assert [event["metadata"].get("epoch_num") for event in events[1:5]] == [1, 1, 2, 2]
    assert "status" not in events[0]["metadata"] and events[5]["metadata"]["status"] == "success"
    assert {event["metadata"]["file"] for event in events} == {__file__}
    seconds = [(b["time_ms"] - a["time_ms"]) / 1000 for a, b in itertools.pairwise(events)]
    rows = {row["timer"]: row for row in parse(watch.summary({}))}
    # Each time stamp is rounded to a millisecond, and so is the table.
    assert float(rows["epoch"]["time"]) == pytest.approx(seconds[3], abs=0.0015)
    assert float(rows["epoch"]["sum"]) == pytest.approx(seconds[1] + seconds[3], abs=0.0025)
    begun = events[3]["time_ms"] / 1000
    assert rows["epoch"]["start"] == time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(begun))
    assert (rows["staging"]["time"], seconds[6]) == ("12.500", 12.5)
    assert list(rows) == ["run", "epoch", "staging"]


def test_an_interval_that_fails_has_no_end(tmp_path):
    """As of an epoch that was interrupted: it begins again when the run is resumed."""
    with EventLog(tmp_path / "mlperf.log") as log:
        watch = Stopwatch("run", log)
        with pytest.raises(KeyboardInterrupt), watch.interval("epoch", epoch_num=1):
            raise KeyboardInterrupt
    assert [event["key"] for event in read_events(tmp_path / "mlperf.log")] == ["epoch_start"]
    (row,) = parse(watch.summary({}))
    assert (row["status"], row["msg"]) == ("failed", "KeyboardInterrupt")


def test_a_clock_that_is_set_changes_no_interval(tmp_path, monkeypatch):
    with EventLog(tmp_path / "mlperf.log") as log:
        watch = Stopwatch("run", log)
        with watch.interval("epoch"):
            monkeypatch.setattr(time, "time", lambda: 1.0)
            log.point("eval_accuracy", 0.5)
    stamps = [event["time_ms"] for event in read_events(tmp_path / "mlperf.log")]
    assert stamps == sorted(stamps) and stamps[0] > 1e12


def test_an_interval_without_a_log_is_a_timer():
    watch = Stopwatch("run")
    with watch.interval("epoch", epoch_num=1):
        pass
    watch.measured("staging", 1.0, 2.0)
    assert watch.seconds("staging") == 1.0


def test_the_documented_example_runs(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).resolve().parents[2] / "docs" / "benchmark.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "docs/benchmark.md", "exec"), {})
    epochs = ["epoch_start", "epoch_stop"] * 2
    assert [event["key"] for event in read_events("mlperf.log")] == [
        "run_start",
        *epochs,
        "run_stop",
    ]
    rows = parse(capsys.readouterr().out)
    assert [row["timer"] for row in rows] == ["total", "run", "epoch"]
    assert tuple(rows[0]) == CSV_COLUMNS
