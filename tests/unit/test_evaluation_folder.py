"""Which folder an evaluation without --out is written into."""

import pytest

from cloudmask.evaluate.job import _next_folder
from cloudmask.record.result import Result
from cloudmask.record.run_directory import RunDirectory


def test_what_a_killed_evaluation_left_is_taken_up_and_nothing_else(tmp_path):
    run = RunDirectory(tmp_path)
    with pytest.raises(KeyboardInterrupt), _next_folder(run) as folder:
        (folder.path / "telemetry.csv").write_text("half")
        raise KeyboardInterrupt
    (tmp_path / "evaluation-3").mkdir()
    (tmp_path / "evaluation-3" / "notes").write_text("a user's")
    taken = []
    for _ in range(3):
        with _next_folder(run) as folder:
            taken.append(folder.path.name)
            Result(status="success").write(folder.result)
    assert taken == ["evaluation", "evaluation-2", "evaluation-4"]


def test_two_at_once_have_a_folder_each(tmp_path):
    run = RunDirectory(tmp_path)
    with _next_folder(run) as one, _next_folder(run) as two:
        assert (one.path.name, two.path.name) == ("evaluation", "evaluation-2")
