"""Tables of the report, row by row."""

import pytest

from cloudmask.report.collection import Collection
from cloudmask.report.runs import RecordedEvaluation, RecordedRun
from cloudmask.report.tables import evaluations_table


@pytest.mark.parametrize("everywhere, shown", [(0.85, True), (0.9, False), (None, False)])
def test_accuracy_over_all_pixels_is_shown_where_it_differs(everywhere, shown):
    run = RecordedRun("r", "run", "own", "runs/r")
    scores = {"iou": 0.8}
    evaluation = RecordedEvaluation(
        "whole", accuracy=0.9, accuracy_all_pixels=everywhere, scores=scores
    )
    run.evaluations.append(evaluation)
    table = evaluations_table(Collection([], [run]))
    assert ("accuracy, all pixels" in [column.head for column in table.heads]) is shown
    header, row = table.to_csv().splitlines()
    found = dict(zip(header.split(","), row.split(","), strict=True))
    assert found["accuracy"] == "0.9"
    assert found["accuracy_all_pixels"] == ("" if everywhere is None else str(everywhere))
