"""cloudmask-report: run directories and logs to tables, figures, a page and a notebook."""

import argparse
from pathlib import Path

from cloudmask.commands import run
from cloudmask.commands.command_parser import command_parser

EPILOG = """\
examples:
  cloudmask-report runs --out report
  cloudmask-report runs/paper-* other-machine/runs published/*.log --out report
  cloudmask-report runs/paper --certificate --out report

Reads run directories of cloudmask-train, folders of them, and logs of others: MLPerf logs, and the
mlperf_*, cloudMask_Log_* and slstr_stopwatch_benchmark_* files of the published runs. The output
holds index.html (complete in itself), report.md, report.ipynb, tables/ (CSV) and figures/ (PNG and
SVG). The results, figures and tables of the published paper stand beside the others;
--no-published omits them.

An earlier report in the output folder is replaced; files of others are not.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser("report", EPILOG)
    parser.add_argument(
        "runs", nargs="+", metavar="PATH", help="run directories, logs, or folders of both"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder")
    parser.add_argument(
        "--no-published", action="store_true", help="omit the results of the published paper"
    )
    parser.add_argument(
        "--certificate",
        action="store_true",
        help="also write certificate.md and certificate.json: which claims of the published "
        "paper its own numbers and these runs confirm or refute",
    )
    return parser


def main() -> int:
    """Entry point."""
    return run(lambda: _report(parser().parse_args()))


def _report(arguments: argparse.Namespace) -> None:
    from cloudmask.report.collection import collect
    from cloudmask.report.document import build
    from cloudmask.report.notebook import notebook
    from cloudmask.report.output import CERTIFICATE, PAGE, report_folder, write_into

    with_published = not arguments.no_published
    with report_folder(arguments.out) as folder:
        report = build(collect(arguments.runs, with_published), arguments.certificate)
        cells = notebook(arguments.runs, arguments.out, with_published)
        write_into(folder, report, cells)
    for line in report.summary:
        print(line)
    for alarm in report.alarms:
        if alarm.level != "note":
            print(f"{alarm.level}: {alarm.title}")
    for line in report.missing:
        print(f"omitted: {line}")
    if report.certificate:
        for line in report.certificate.summary:
            print(f"certificate: {line}")
        print(f"certificate: {arguments.out / CERTIFICATE}")
    print(f"report: {arguments.out / PAGE}")
