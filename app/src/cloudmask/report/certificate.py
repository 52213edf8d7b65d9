"""The certificate: which of the paper's claims its own numbers and the given runs bear out."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from cloudmask.report.certificate_claims import CLAIMS, Claim
from cloudmask.report.certificate_tests import Outcome, Runs, Verdict, untestable
from cloudmask.report.collection import Collection
from cloudmask.report.published_paper import Paper, paper
from cloudmask.report.table import Column, Table
from cloudmask.system.text import markdown as escaped
from cloudmask.system.text import plural

SCHEMA = 1
OUTCOMES: tuple[Outcome, ...] = ("confirmed", "refuted", "not testable")
COLUMNS = (
    Column("name", "name", shown=False),
    Column("claim", "claim"),
    Column("source", "source"),
    Column("published", "published numbers"),
    Column("published_numbers", "what the paper has"),
    Column("runs", "these runs"),
    Column("runs_numbers", "what these runs have"),
)
NOTE = (
    "Each claim is put to the published numbers and to these runs. “Not testable” says why, and "
    "what the runs have nevertheless; accuracies over other scenes are never judged. Test "
    "accuracies are over all pixels, as the paper counts; runs without that figure have none. A "
    "validation accuracy counts as reached sooner or later only by more epochs than equal seeds "
    "differ."
)


@dataclass(frozen=True)
class Finding:
    """A claim with its two verdicts: by the published numbers and by the runs of a report."""

    claim: Claim
    published: Verdict
    runs: Verdict


@dataclass(frozen=True)
class Certificate:
    """All findings; `made` and `paths`: when, by which version and from what."""

    findings: tuple[Finding, ...]
    made: str
    paths: tuple[str, ...]
    citation: str

    @property
    def summary(self) -> list[str]:
        """How many claims have which outcome, by either source of numbers."""
        return [
            _counted("published numbers", [finding.published for finding in self.findings]),
            _counted("these runs", [finding.runs for finding in self.findings]),
        ]

    def table(self) -> Table:
        """A row per claim."""
        rows = [
            {
                "name": finding.claim.name,
                "claim": finding.claim.text,
                "source": finding.claim.source,
                "published": finding.published.outcome,
                "published_numbers": finding.published.text,
                "runs": finding.runs.outcome,
                "runs_numbers": finding.runs.text,
            }
            for finding in self.findings
        ]
        return Table("certificate", "Certificate: the paper's claims", COLUMNS, rows, NOTE)

    def markdown(self) -> str:
        """The file certificate.md."""
        lines = ["# Certificate: the paper's claims", "", escaped(self.made), ""]
        lines += [f"- {escaped(line)}" for line in self.summary]
        lines += ["", self.table().to_markdown(), "", escaped(NOTE), ""]
        lines += ["## Source", "", f"- {escaped(self.citation)}"]
        return "\n".join(lines) + "\n"

    def json(self) -> str:
        """The file certificate.json: the same for programs."""
        tree = {
            "schema": SCHEMA,
            "made": self.made,
            "runs": list(self.paths),
            "source": self.citation,
            "claims": [
                {
                    "name": finding.claim.name,
                    "text": finding.claim.text,
                    "source": finding.claim.source,
                    "published_numbers": asdict(finding.published),
                    "these_runs": asdict(finding.runs),
                }
                for finding in self.findings
            ],
        }
        return json.dumps(tree, indent=2, ensure_ascii=False) + "\n"


def _counted(what: str, verdicts: Sequence[Verdict]) -> str:
    counts = Counter(verdict.outcome for verdict in verdicts)
    parts = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES)
    return f"{plural(len(verdicts), 'claim')} by {what}: {parts}."


def certify(found: Collection, made: str) -> Certificate:
    """Put every claim to the published numbers and to the runs that are not the paper's own."""
    numbers = paper()
    runs = [run for run in found.runs if run.origin != "paper" and not run.set_aside]
    findings = tuple(
        Finding(claim, _by_published(claim, numbers), _by_runs(claim, runs)) for claim in CLAIMS
    )
    return Certificate(findings, made, tuple(found.paths), numbers.facts["citation"])


def _by_published(claim: Claim, numbers: Paper) -> Verdict:
    if claim.published is not None:
        return claim.published(numbers)
    if claim.test is None:
        return untestable("no published number decides it")
    return claim.test(claim.of(numbers))


def _by_runs(claim: Claim, runs: Runs) -> Verdict:
    """The test over the runs that can be compared; the numbers of the others, and why not."""
    if claim.test is None:
        return untestable(claim.untestable)
    reasons = [next((r for gate in claim.needs if (r := gate(run))), "") for run in runs]
    usable = [run for run, why in zip(runs, reasons, strict=True) if not why]
    if usable:
        verdict = claim.test(usable)
        left = len(runs) - len(usable)
        rest = f"{plural(left, 'run')} not comparable" if left else ""
        joined = "; ".join(part for part in (verdict.reason, rest) if part)
        return Verdict(verdict.outcome, verdict.numbers, joined)
    if not runs:
        return untestable("no runs")
    orientation = claim.test(runs)
    if orientation.outcome == "not testable":
        return orientation
    # Runs without the figure at all give no reason.
    shown = [
        why
        for run, why in zip(runs, reasons, strict=True)
        if claim.test([run]).outcome != "not testable"
    ]
    return untestable(_joined(shown or reasons), orientation.numbers)


def _joined(reasons: Iterable[str]) -> str:
    """Each reason once; those that begin alike, up to a colon, together."""
    tails: dict[str, dict[str, None]] = {}
    for reason in reasons:
        head, _, tail = reason.rpartition(": ")
        tails.setdefault(head, {}).update(dict.fromkeys(tail.split("; ") if head else [tail]))
    parts = [f"{head}: " * bool(head) + "; ".join(known) for head, known in tails.items()]
    return "; ".join(parts)
