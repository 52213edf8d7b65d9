"""The figure of power over time, from telemetry made up here."""

import json
import math

import pytest

from cloudmask.record.telemetry import COLUMNS, PowerSeries, read_power
from cloudmask.report import power_figures
from cloudmask.report.collection import collect
from cloudmask.system.files import write_csv


def telemetry(path, attempts, node=None, cards=2):
    """Write samples, one each second: watts of a card at a second by `attempts`, of the node."""
    rows = []
    for attempt, (length, watts) in enumerate(attempts, 1):
        for second in range(length):
            common = {"time": "2026-01-01T00:00:00", "attempt": attempt, "seconds": f"{second}.000"}
            rows.append(common | {"device": "host", "id": "n1"})
            for card in range(cards):
                row = {"device": f"gpu{card}", "id": f"GPU-{card}", "power_watts": watts(second)}
                rows.append(common | row)
            if node and second % 10 == 0:
                rows.append(common | {"device": "node", "id": "n1", "power_watts": node(second)})
    write_csv(path, COLUMNS, rows)


def run(folder, name="r1", gpu="NVIDIA A100-SXM4-80GB"):
    path = folder / name
    path.mkdir(parents=True)
    system = {"gpu": gpu, "gpus": 2, "host": "n1"}
    content = {"schema": 1, "status": "success", "system": system}
    (path / "result.json").write_text(json.dumps(content))
    return path


def test_attempts_follow_each_other_and_cards_add_up(tmp_path):
    path = tmp_path / "t.csv"
    telemetry(path, [(3, lambda s: 100 + s), (2, lambda s: 50)], node=lambda s: 900)
    assert read_power(path) == PowerSeries(
        gpus=((0, 200), (1, 202), (2, 204), (2, 100), (3, 100)),
        node=((0, 900), (2, 900)),
        breaks=(2,),
    )


def test_a_moment_without_one_of_its_cards_has_no_sum(tmp_path):
    path = tmp_path / "t.csv"
    telemetry(path, [(2, lambda s: 100 if s else None)])
    assert read_power(path).gpus == ((1, 200),)


def test_a_damaged_file_leaves_the_figure_out(tmp_path):
    path = run(tmp_path)
    telemetry(path / "telemetry.csv", [(2, lambda s: "much")])
    drawing = power_figures.gpu_power(collect([tmp_path], with_published=False))
    assert drawing.figure is None and "no run has the power" in drawing.missing


def test_runs_without_gpus_have_no_figure(tmp_path):
    telemetry(run(tmp_path) / "telemetry.csv", [(2, lambda s: 0)], cards=0)
    assert power_figures.gpu_power(collect([tmp_path], with_published=False)).figure is None


def test_a_line_of_each_group_with_its_mean(tmp_path):
    def watts(second):
        return 250 + 40 * math.sin(second / 5)

    telemetry(run(tmp_path) / "telemetry.csv", [(600, watts), (300, watts)], lambda s: 1100)
    other = run(tmp_path, "r2", "Tesla V100-SXM2-32GB")
    telemetry(other / "telemetry.csv", [(50, lambda s: 120)])
    drawing = power_figures.gpu_power(collect([tmp_path], with_published=False))
    solid = [line for line in drawing.figure.axes[0].lines if line.get_linestyle() == "-"]
    assert sorted(len(line.get_xdata()) for line in solid) == [50, power_figures.POINTS]
    longest = max(solid, key=lambda line: len(line.get_xdata()))
    assert longest.get_xdata()[-1] == pytest.approx(898 / 60, abs=0.1)
    assert sum(longest.get_ydata()) / len(longest.get_ydata()) == pytest.approx(500, abs=5)
    texts = [text.get_text() for text in drawing.figure.legends[0].get_texts()]
    assert any(text.endswith("mean 240 W") for text in texts)
    assert texts[-2:] == ["the whole node, other jobs included", "a later attempt begins"]
    assert drawing.png().startswith(b"\x89PNG")
