"""Time to solution and throughput by the HPC rules."""

import dataclasses

import pytest

from cloudmask.record.events import EventLog
from cloudmask.record.run_directory import RunDirectory
from cloudmask.report.collection import Collection
from cloudmask.report.hpc import Instance, hpc_table, instance, olympic_mean, throughput
from cloudmask.report.runs import RecordedRun


def recorded(folder, number, start, stop, staging=0.0):
    """A run whose log has these times."""
    path = folder / f"run-{number}"
    path.mkdir()
    with EventLog(RunDirectory(path).log) as log:
        log.start("init", start - 1)
        log.stop("init", start)
        log.start("staging", start - staging)
        log.stop("staging", start)
        log.start("run", start)
        log.stop("run", stop, status="success")
    return RecordedRun(path.name, "run", "own", str(path), workers=2, seed=number)


@pytest.fixture
def runs(tmp_path):
    times = [(1000, 1100), (1000, 1150), (1010, 1310), (1120, 1220)]
    return [recorded(tmp_path, n, *pair, staging=5.0) for n, pair in enumerate(times)]


def test_olympic_mean_drops_the_fastest_and_the_slowest():
    assert olympic_mean([100.0, 10.0, 20.0, 30.0, 1.0]) == 20.0
    # One of each, also where several are equal.
    assert olympic_mean([1.0, 1.0, 4.0]) == 1.0
    assert olympic_mean([1.0, 2.0]) is None


def test_a_run_is_timed_by_its_log_and_staging_counts(runs):
    assert instance(runs[0]) == Instance(1000.0, 1100.0, 5.0, 2)
    assert instance(runs[0]).time_to_solution == 105.0


def test_a_resumed_run_counts_its_second_staging_once(tmp_path):
    """It lies between run_start and run_stop, unlike the first."""
    run = recorded(tmp_path, 1, 1000, 1100, staging=5.0)
    log = RunDirectory(tmp_path / "run-1").log
    lines = log.read_text().splitlines(keepends=True)
    last = next(k for k, line in enumerate(lines) if "run_stop" in line)
    with EventLog(tmp_path / "second.log") as second:
        second.start("staging", 1040)
        second.stop("staging", 1070)
    again = (tmp_path / "second.log").read_text()
    log.write_text("".join([*lines[:last], again, *lines[last:]]))
    assert instance(run) == Instance(1000.0, 1100.0, 5.0, 2)
    assert instance(run).time_to_solution == 105.0


def test_throughput_is_from_the_first_start_to_the_last_stop(runs):
    found = throughput([instance(run) for run in runs])
    assert (found.instances, found.devices_each, found.seconds) == (4, 2, 310.0)
    assert found.at_once == 3
    assert found.per_hour == pytest.approx(4 * 3600 / 310)
    assert throughput([Instance(0, 1, 0, 1), Instance(0, 1, 0, 2)]) is None
    assert throughput([]) is None


def test_instances_one_after_the_other_are_not_at_once():
    assert throughput([Instance(0, 10, 0, 1), Instance(10, 20, 0, 1)]).at_once == 1


def test_the_table_has_a_row_for_each_group(runs):
    table = hpc_table(Collection([], runs))
    (row,) = table.rows
    assert (row["runs"], row["seeds"], row["at_once"]) == (4, 4, 3)
    assert row["olympic_seconds"] == pytest.approx((105 + 155) / 2)
    assert (row["fastest_seconds"], row["slowest_seconds"]) == (105.0, 305.0)
    assert row["models_per_hour"] == pytest.approx(4 * 3600 / 310)


def test_a_run_that_did_not_end_has_no_time(runs, tmp_path):
    log = RunDirectory(tmp_path / "run-0").log
    log.write_text(
        "\n".join(line for line in log.read_text().splitlines() if "run_stop" not in line)
    )
    assert instance(runs[0]) is None
    log.write_text(":::MLLOG {")
    assert instance(runs[0]) is None
    assert instance(dataclasses.replace(runs[1], set_aside=True)) is None
    assert hpc_table(Collection([], runs[:1])).rows == []
