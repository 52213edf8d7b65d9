"""What the certificate says of the published numbers, of published logs and of run directories."""

import csv
import json
from types import SimpleNamespace

import pytest
from support.paper_runs import as_published, write_run

from cloudmask.record.described_data import DataDescription
from cloudmask.record.result import Inference
from cloudmask.report import (
    certificate_claims,
    certificate_first_epoch,
    certificate_tests,
    paper_comparison,
)
from cloudmask.report.certificate import certify
from cloudmask.report.certificate_claims import CLAIMS
from cloudmask.report.collection import collect
from cloudmask.report.document import build
from cloudmask.report.output import write_report
from cloudmask.report.paper_comparison import PUBLIC, UNKNOWN, DataOrigin
from cloudmask.report.published_paper import paper
from cloudmask.report.runs import RecordedEvaluation, RecordedRun
from cloudmask.system.text import markdown

# Of the published numbers; all others are confirmed by them.
REFUTED = {
    "accuracy-reference",
    "all-stopped-early",
    "weights-of-last-epoch",
    "best-epoch-147",
    "column-in-minutes",
    "time-per-epoch-constant",
}


def findings_of(*paths):
    """The findings over what lies under the paths, by the claims' names."""
    certificate = certify(collect(paths), "now")
    return {finding.claim.name: finding for finding in certificate.findings}


@pytest.fixture
def published_again(tmp_path):
    """The paper's five runs as run directories, with other seeds and times."""
    for number, run in enumerate(paper().runs):
        write_run(tmp_path / "runs" / f"run-{number}", as_published(run), run.test_accuracy)
    return tmp_path / "runs"


@pytest.fixture
def public_data(monkeypatch):
    """Have every run judged on the public scenes, as its own record would say it."""
    monkeypatch.setattr(certificate_claims, "data_of", lambda run: DataOrigin(True, PUBLIC))


def test_claims_are_many_and_their_names_unique():
    assert len(CLAIMS) >= 25
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS)
    for claim in CLAIMS:
        assert claim.test or (claim.published and claim.untestable), claim.name


def test_the_published_numbers(published_again):
    found = findings_of(published_again)
    for name, finding in found.items():
        expected = "refuted" if name in REFUTED else "confirmed"
        assert finding.published.outcome == expected, (name, finding.published)
    best = found["best-epoch-147"].published.numbers
    assert "0.2387 at epoch 122; 147 is the last epoch" in best
    assert found["stopping-rule"].published.numbers == "3 after the patience, 2 at the limit"
    assert "mean 119.4; Greene 134 at 100" in found["column-in-seconds"].published.numbers
    assert "mean 40.2; Greene 134 at 100" in found["column-in-minutes"].published.numbers


def test_the_published_logs(shared):
    """They have times of five devices and nothing of accuracy."""
    found = findings_of(shared / "published")
    outcomes = {name: finding.runs.outcome for name, finding in found.items()}
    judged = {name: outcome for name, outcome in outcomes.items() if outcome != "not testable"}
    assert judged == {
        "linear-in-epochs": "confirmed",
        "first-epoch": "confirmed",
        "a100-before-v100": "confirmed",
        "k80-slowest": "confirmed",
        "time-per-epoch-constant": "refuted",
    }
    assert "K80 309 s" in found["k80-slowest"].runs.numbers
    # By machine: three lengths of run on A100 and P100, two on the others.
    first = found["first-epoch"].runs
    assert first.numbers == (
        "first in later epochs, UVA Rivanna · A100 ×2 21.4 (fit of 10, 30, 50 epochs), "
        "UVA Rivanna · P100 ×2 4.2 (fit of 10, 30, 50 epochs)"
    )
    assert "error of the line is not known or too large: UVA Rivanna · K80 ×2 1.4" in first.reason
    assert "UVA Rivanna · RTX2080 ×2 9.2" in first.reason
    assert "UVA Rivanna · V100 ×2 4.9 (fit of 10, 50 epochs)" in first.reason
    assert found["first-epoch"].published.numbers == "A100 30, V100 13"
    for name, finding in found.items():
        if finding.runs.outcome == "not testable":
            assert finding.runs.reason, name


def test_runs_like_the_papers_bear_out_the_same(published_again, public_data):
    """The paper's own curves on its own data: whatever a run can decide comes out as published."""
    found = findings_of(published_again)
    own_times = {"time-per-epoch-constant", "first-epoch", "times-vary", "inference-seconds"}
    decided = 0
    for name, finding in found.items():
        if name not in own_times and finding.runs.outcome != "not testable":
            decided += 1
            assert finding.runs.outcome == finding.published.outcome, (name, finding.runs)
    assert decided >= 22
    assert found["first-epoch"].runs.outcome == "confirmed"
    assert found["first-epoch"].runs.numbers.endswith("n = 5: 5.4 to 5.4, mean 5.4")


def test_accuracy_over_other_data_is_never_judged(published_again):
    """Each line that shows such a number says in itself whose data it is."""
    found = findings_of(published_again)
    for claim in CLAIMS:
        if certificate_claims.same_data in claim.needs:
            verdict = found[claim.name].runs
            assert verdict.outcome == "not testable", claim.name
            if verdict.numbers:
                assert UNKNOWN in verdict.text
    assert "mean 0.889" in found["accuracy-band"].runs.text
    # What runs show among themselves needs no common data.
    assert found["stopping-rule"].runs.outcome == "confirmed"
    assert found["seeds-accuracy"].runs.outcome == "confirmed"


def test_one_setting_that_differs_is_named(tmp_path, public_data):
    history = as_published(paper().runs[0])
    write_run(tmp_path / "runs" / "a", history, early_stopping={"patience": 7})
    verdict = findings_of(tmp_path / "runs")["stopping-epochs"].runs
    assert (verdict.outcome, verdict.reason) == (
        "not testable",
        "other training: patience 7, not 25",
    )


def test_test_accuracy_is_over_all_pixels(tmp_path, public_data):
    """As published; a run that did not record it is no witness for or against the paper."""
    history = as_published(paper().runs[0])
    write_run(tmp_path / "both" / "a", history, inference={"accuracy": 0.95})
    verdict = findings_of(tmp_path / "both")["accuracy-band"].runs
    assert (verdict.outcome, verdict.numbers) == ("confirmed", "n = 1: 0.889; 1 inside")
    write_run(tmp_path / "one" / "a", history, inference={"accuracy_all_pixels": None})
    assert findings_of(tmp_path / "one")["accuracy-band"].runs.outcome == "not testable"


def test_what_a_record_says_of_its_data(published_again, monkeypatch):
    (run, *_) = collect([published_again], with_published=False).runs
    assert paper_comparison.data_of(run) == DataOrigin(False, UNKNOWN)
    hundred = {"scenes": 100, "months": {"2019-10": 100}}
    for facts, public in (
        ({**hundred, "origins": {PUBLIC: 100}}, True),
        ({**hundred, "origins": {"synthetic": 100}}, False),
        ({**hundred, "origins": {PUBLIC: 99, "x": 1}}, False),
        ({"scenes": 3, "months": {"2019-10": 3}, "origins": {PUBLIC: 3}}, False),
        ({**hundred, "months": {"2019-06": 100}, "origins": {PUBLIC: 100}}, False),
    ):
        data = DataDescription(**facts, seen_in_training=0)
        inference = Inference(accuracy=0.9, scenes=data.scenes, data=data, truth="bayes")
        training = SimpleNamespace(data=DataDescription(scenes=9, origins={PUBLIC: 9}))
        result = SimpleNamespace(inference=inference, training=training)
        monkeypatch.setattr(paper_comparison.RunDirectory, "read_result", lambda _, r=result: r)
        paper_comparison._recorded.cache_clear()
        assert paper_comparison.data_of(run) == DataOrigin(public, data.text())
    paper_comparison._recorded.cache_clear()


def reaching(*epochs):
    """Runs whose validation accuracy is 0.9 from these epochs on."""
    runs = [RecordedRun(f"run {k}", "run", "own", "") for k in epochs]
    for run, first in zip(runs, epochs, strict=True):
        run.history["val_accuracy"] = [0.5] * (first - 1) + [0.9] * 3
    return runs


@pytest.mark.parametrize(
    ("epochs", "outcome", "words"),
    [
        ((41, 54), "confirmed", "no faster or slower than equal seeds differ (13 epochs)"),
        ((36, 34), "confirmed", "no faster"),  # 12.5 epochs before the middle of the range
        ((33, 33), "refuted", "14 epochs sooner, more than equal seeds differ (13)"),
        ((61, 62), "refuted", "14 epochs later"),
    ],
)
def test_faster_means_by_more_than_equal_seeds_differ(epochs, outcome, words):
    verdict = certificate_tests.epochs_until(reaching(*epochs), 0.88, 41, 54)
    assert (verdict.outcome, words in verdict.reason) == (outcome, True), verdict


def test_an_accuracy_that_some_runs_never_reach():
    runs = [*reaching(45), RecordedRun("other", "run", "own", "")]
    runs[1].history["val_accuracy"] = [0.5] * 60
    verdict = certificate_tests.epochs_until(runs, 0.88, 41, 54)
    assert (verdict.outcome, verdict.numbers) == ("refuted", "reached by 1 of 2 runs")


def timed(device, seconds, source="own", staging=None, first=None):
    """A run of ten epochs with these times."""
    run = RecordedRun(f"{source} {device}", "run", source, "", device=device, workers=1)
    run.epochs_run, run.seconds_per_epoch = 10, seconds
    run.times = {"first_epoch": first or seconds, "later_epochs": 9 * seconds}
    if staging is not None:
        run.times["staging"] = staging
    return run


def test_devices_are_ordered_within_equal_runs_only():
    order = certificate_tests.ordered
    runs = [timed("A100", 30.0), timed("V100", 60.0)]
    assert order(runs, ("A100", "V100")).outcome == "confirmed"
    assert order(runs, ("V100", "A100")).outcome == "refuted"
    apart = [timed("A100", 30.0), timed("V100", 60.0, source="another")]
    assert order(apart, ("A100", "V100")).outcome == "not testable"


def lengths(device, *totals, source="own"):
    """Runs of which the total time is known, by their epochs."""
    runs = []
    for epochs, seconds in totals:
        run = RecordedRun(f"{device} {epochs}", "log", source, "", device=device)
        run.epochs_run, run.times = epochs, {"training": seconds}
        runs.append(run)
    return runs


def test_first_epochs_are_judged_machine_by_machine():
    """A machine whose first epoch is short refutes it, whatever another machine's mean is."""
    first = certificate_first_epoch.first_is_longest
    long, short = timed("A100", 10.0, first=90.0), timed("V100", 10.0, first=5.0)
    assert first([long]).outcome == "confirmed"
    verdict = first([long, short])
    assert verdict.outcome == "refuted"
    assert "own · A100 n = 1: 9.0, own · V100 n = 1: 0.5" in verdict.numbers


def test_first_epochs_by_a_fit_need_an_error():
    first = certificate_first_epoch.first_is_longest
    sure = lengths("A100", (1, 101), (10, 110), (30, 130), (50, 150))
    assert first(sure).outcome == "confirmed"
    assert "own · A100 101.0 (fit of 1, 10, 30, 50 epochs)" in first(sure).numbers
    two = lengths("V100", (10, 210), (50, 250))
    assert first(two).outcome == "not testable"
    assert "own · V100 201.0 (fit of 10, 50 epochs)" in first(two).reason
    both = first([*sure, *two])
    assert both.outcome == "confirmed" and "V100" not in both.numbers and "V100" in both.reason
    scattered = lengths("P100", (10, 20), (30, 70), (50, 80))
    assert first(scattered).outcome == "not testable"
    cheap = lengths("K80", (20, 1), (30, 11), (40, 21), (50, 31))
    assert first(cheap).outcome == "refuted"
    assert first([]).outcome == "not testable"


def test_staged_data_against_data_read_in_place():
    runs = [timed("A100", 30.0, staging=12.0), timed("A100", 30.0, staging=0.0, first=90.0)]
    assert certificate_tests.staged_is_faster(runs).outcome == "confirmed"
    runs[0].times["first_epoch"] = 120.0
    assert certificate_tests.staged_is_faster(runs).outcome == "refuted"
    assert certificate_tests.staged_is_faster(runs[:1]).outcome == "not testable"


def test_runs_that_end_by_no_rule(published_again):
    """A run that stopped before its patience was over does not follow the rule."""
    runs = collect([published_again], with_published=False).runs
    assert certificate_tests.stops_by_rule(runs).outcome == "confirmed"
    runs[1].epochs_run -= 3
    verdict = certificate_tests.stops_by_rule(runs)
    assert (verdict.outcome, "1 otherwise" in verdict.numbers) == ("refuted", True)


def test_equal_seeds_that_come_out_equal():
    runs = [RecordedRun(f"run {k}", "run", "own", "", seed=1) for k in range(2)]
    for run in runs:
        run.evaluations.append(RecordedEvaluation("in the run", accuracy_all_pixels=0.8))
    differ = certificate_tests.equal_seeds_differ
    quantity = certificate_claims.test_accuracy
    assert differ(runs, quantity, 4).outcome == "refuted"
    runs[1].evaluations[0].accuracy_all_pixels = 0.81
    assert differ(runs, quantity, 4).outcome == "confirmed"
    runs[1].seed = 2
    assert differ(runs, quantity, 4).outcome == "not testable"


def test_command_writes_it(command, published_again, tmp_path):
    out = tmp_path / "out"
    done = command("cloudmask-report", published_again, "--certificate", "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    count = len(CLAIMS)
    assert (
        f"certificate: {count} claims by published numbers: {count - len(REFUTED)} " in done.stdout
    )
    tree = json.loads((out / "certificate.json").read_text())
    assert [claim["name"] for claim in tree["claims"]] == [claim.name for claim in CLAIMS]
    assert {claim["these_runs"]["outcome"] for claim in tree["claims"]} == {
        "confirmed",
        "refuted",
        "not testable",
    }
    text = (out / "certificate.md").read_text()
    page = (out / "index.html").read_text()
    with (out / "tables" / "certificate.csv").open(newline="") as handle:
        assert len(list(csv.DictReader(handle))) == count
    for claim in CLAIMS:
        assert markdown(claim.text) in text
    assert 'id="certificate"' in page
    assert all((out / "figures" / f"paper_{number}.png").exists() for number in range(1, 10))
    # Without the option an earlier certificate does not stay beside a newer report.
    write_report(build(collect([published_again], with_published=False)), out, "{}")
    assert not (out / "certificate.md").exists()
    assert not list((out / "figures").glob("paper_*"))
