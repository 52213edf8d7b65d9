"""The MLPerf log, judged by the compliance checker of mlperf-logging itself."""

import dataclasses
import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from support.compliance import comply

from cloudmask.errors import InputError
from cloudmask.record.events import EventLog, SubmissionFacts, TrainingFacts, read_events
from cloudmask.record.rules import problems, repeated_seeds, required_keys

SUBMISSION = SubmissionFacts(
    org="a university",
    division="open",
    version="0.1.0",
    github_commit_version="0123abc",
    status="research",
    platform="8 x H200",
    poc_name="A. Person",
    poc_email="ap@example.org",
    user="ap",
)
TRAINING = TrainingFacts(
    train_samples=15520,
    eval_samples=3880,
    global_batch_size=32,
    seed=1234,
    optimizer={"name": "adam", "base_learning_rate": 1e-3, "adam_beta_1": 0.9},
    number_of_ranks=1,
    number_of_nodes=1,
    accelerators_per_node=1,
    others={"precision": "bfloat16"},
)


def begin(log, **changes):
    log.cache_clear()
    log.start("init")
    log.submission(SUBMISSION)
    log.settings(dataclasses.replace(TRAINING, **changes))
    log.stop("init")
    log.start("staging", 1000.0)
    log.stop("staging", 1012.5)
    log.start("run")


def epoch(log, number, accuracy=0.9):
    log.start("epoch", epoch_num=number)
    log.stop("epoch", epoch_num=number)
    log.start("eval", epoch_num=number)
    log.eval_accuracy(accuracy, number)
    log.stop("eval", epoch_num=number)


def finish(log):
    log.stop("run", status="success")
    log.result({"accuracy": 0.9, "iou": float("nan")})
    log.close()


def whole_run(path, accuracy=0.9):
    log = EventLog(path)
    begin(log)
    epoch(log, 1, 0.5)
    epoch(log, 2, accuracy)
    finish(log)


def keys(path):
    return [event["key"] for event in read_events(path)]


def without(path, key):
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if f'"key": "{key}"' not in line))


def test_whole_run_complies(tmp_path):
    path = tmp_path / "mlperf.log"
    whole_run(path)
    code, output = comply(path, path.parent, "--werror")
    assert code == 0, output
    assert problems(path) == []
    events = {event["key"]: event for event in read_events(path)}
    assert events["submission_benchmark"]["value"] == "cloudmask"
    assert events["result"]["value"] == {"accuracy": 0.9, "iou": None}
    assert events["run_stop"]["metadata"]["status"] == "success"
    assert events["run_start"]["event_type"] == "INTERVAL_START"
    assert events["precision"]["value"] == "bfloat16"
    assert (events["staging_stop"]["time_ms"], events["opt_name"]["value"]) == (1012500, "adam")


def test_accuracy_threshold_is_all_that_the_checker_finds_in_a_poor_run(tmp_path):
    path = tmp_path / "mlperf.log"
    whole_run(path, accuracy=0.6)
    code, output = comply(path, path.parent)
    warnings = [line for line in output.splitlines() if line.startswith("WARNING")]
    assert code == 1
    assert len(warnings) == 1 and "Failed checks for eval_accuracy" in warnings[0]


@pytest.mark.parametrize(
    "key", ["cache_clear", "submission_org", "train_samples", "run_start", "eval_stop"]
)
def test_checker_misses_a_key_that_is_left_out(tmp_path, key):
    path = tmp_path / "mlperf.log"
    whole_run(path)
    without(path, key)
    code, output = comply(path, path.parent)
    assert code == 1
    assert f"'{key}'" in output


def test_own_check_misses_each_required_key(tmp_path):
    path = tmp_path / "mlperf.log"
    whole_run(path)
    text = path.read_text()
    for key in required_keys():
        without(path, key)
        assert problems(path) == [f"{key}: missing"]
        path.write_text(text)
    lines = text.splitlines(keepends=True)
    path.write_text(text + next(line for line in lines if '"seed"' in line))
    assert problems(path) == ["seed: 2 times, expected once"]


def test_required_keys_cover_what_the_installed_rules_require():
    import mlperf_logging
    import yaml

    folder = f"{mlperf_logging.__path__[0]}/compliance_checker/hpc_3.0.0"
    for name in ("common", "open_common", "open_deepcam"):
        with open(f"{folder}/{name}.yaml") as handle:  # noqa: PTH123
            rules = yaml.load(handle, yaml.BaseLoader)
        for rule in (entry["KEY"] for entry in rules if "KEY" in entry and "REQ" in entry["KEY"]):
            if not rule["NAME"].startswith("block_"):  # the alternative to epochs
                assert rule["NAME"] in required_keys()


CHILD = textwrap.dedent("""
    import os, signal, sys
    sys.path[:0] = {path!r}
    import test_record_events as t
    log = t.EventLog({log!r})
    t.begin(log)
    t.epoch(log, 1)
    log.start("epoch", epoch_num=2)
    os.kill(os.getpid(), signal.SIGKILL)
""")


def test_log_of_a_killed_and_resumed_run_complies(tmp_path):
    path = tmp_path / "mlperf.log"
    child = CHILD.format(path=sys.path, log=str(path))
    assert subprocess.run([sys.executable, "-c", child]).returncode == -9
    path.write_text(path.read_text() + ':::MLLOG {"namespace": "", "time_m')  # died while writing

    log = EventLog(path)
    assert log.resumed
    begin(log, number_of_nodes=2)
    epoch(log, 2)
    finish(log)

    code, output = comply(path, path.parent, "--werror")
    assert code == 0, output
    assert problems(path) == []
    found = keys(path)
    assert found.count("run_start") == found.count("init_start") == 1
    assert found.count("cache_clear") == found.count("staging_start") == 2
    (resumed,) = (event for event in read_events(path) if event["key"] == "resumed")
    assert resumed["value"] == 2 and 0 <= resumed["metadata"]["seconds_away"] < 60
    (changed,) = (event for event in read_events(path) if event["key"] == "repeated")
    assert (changed["value"], changed["metadata"]["of"]) == (2, "number_of_nodes")


def test_second_interruption_counts_a_third_attempt(tmp_path):
    path = tmp_path / "mlperf.log"
    for _ in range(3):
        with EventLog(path) as log:
            begin(log)
            log.interrupted(0)
    values = [event["value"] for event in read_events(path) if event["key"] == "resumed"]
    assert values == [2, 3]


def test_finishing_twice_changes_nothing(tmp_path):
    path = tmp_path / "mlperf.log"
    whole_run(path)
    before = path.read_text()
    log = EventLog(path)
    assert not log.resumed
    finish(log)
    assert path.read_text() == before


def test_log_interrupted_during_start_up_is_begun_anew(tmp_path):
    path = tmp_path / "mlperf.log"
    with EventLog(path) as log:
        log.cache_clear()
        log.start("init")
    with EventLog(path) as log:
        assert not log.resumed
        log.point("first")
    assert keys(path) == ["first"]


def test_only_rank_0_writes(tmp_path):
    path = tmp_path / "mlperf.log"
    log = EventLog(path, rank=3)
    begin(log)
    finish(log)
    assert not path.exists()


def test_several_logs_in_one_process_keep_apart(tmp_path, capfd):
    logs = [EventLog(tmp_path / f"{name}.log") for name in "ab"]
    for log in logs:
        log.point("once", np.float32(0.5), shape=(1, np.int64(2)))
        log.stop("init")
        log.close()
        log.point("after close")
    with EventLog(tmp_path / "b.log") as again:
        again.point("once")
    assert keys(tmp_path / "a.log") == ["once", "init_stop"]
    assert keys(tmp_path / "b.log") == ["once", "init_stop", "resumed", "once"]
    event = read_events(tmp_path / "a.log")[0]
    assert (event["value"], event["metadata"]["shape"]) == (0.5, [1, 2])
    assert capfd.readouterr() == ("", "")


def test_events_name_the_line_that_logs(tmp_path):
    path = tmp_path / "mlperf.log"
    with EventLog(path) as log:
        log.point("direct")
        log.start("epoch", epoch_num=1)
        log.start("run")
        log.settings(TRAINING)
    events = {event["key"]: event["metadata"] for event in read_events(path)}
    lines = [events[key]["lineno"] for key in ("direct", "epoch_start", "run_start", "seed")]
    assert lines == list(range(lines[0], lines[0] + 4))
    assert {data["file"] for data in events.values()} == {__file__}


def test_unknown_status_is_refused(tmp_path):
    with EventLog(tmp_path / "mlperf.log") as log, pytest.raises(ValueError, match="success"):
        log.stop("run", status="finished")


def test_damaged_log_is_named(tmp_path):
    path = tmp_path / "mlperf.log"
    whole_run(path)
    lines = path.read_text().splitlines()
    lines[3] = lines[3][:40]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"mlperf\.log: line 4 "):
        EventLog(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_events(tmp_path / "none.log")


def test_every_line_is_strict_json(tmp_path):
    path = tmp_path / "mlperf.log"
    with EventLog(path) as log:
        log.point("loss", float("nan"))
    text = path.read_text().removeprefix(":::MLLOG ")
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_repeated_seeds_of_several_logs_are_told(tmp_path):
    logs = [tmp_path / f"{name}.log" for name in "abcd"]
    for log, seed in zip(logs, (1, 2, 1, None), strict=True):
        with EventLog(log) as events:
            begin(events, seed=seed) if seed else events.point("nothing")
    assert repeated_seeds(logs[:2]) == []
    assert repeated_seeds(logs) == [
        f"{logs[3]}: no seed is logged",
        f"seed 1: 2 times, in {logs[0]}, {logs[2]}",
    ]
