"""cloudmask-train: patch store to run directory."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cloudmask.commands import print_left_out, require_tensorflow, run
from cloudmask.commands.command_parser import command_parser
from cloudmask.commands.options import add_config, add_force, add_set, add_skip_bad
from cloudmask.system.text import plural

if TYPE_CHECKING:
    from cloudmask.record.result import Result

EPILOG = """\
examples:
  cloudmask-train --config app/configs/paper.yaml --data patches.h5 --run runs/paper-1
  cloudmask-train --data patches.h5 --run runs/short --set training.epochs=10
  cloudmask-train --data patches.h5 --run runs/whole --scenes data/inference

The run directory holds config.yaml, history.csv, mlperf.log, summary.txt, telemetry.csv,
provenance.json, checkpoints/, model.keras and, once the run is finished, result.json. The same
command continues an interrupted run (exit code 75); a finished run is never overwritten.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser("train", EPILOG)
    add_config(parser)
    parser.add_argument("--data", type=Path, required=True, metavar="FILE.h5", help="patch store")
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="run directory")
    parser.add_argument(
        "--scenes",
        nargs="+",
        default=[],
        metavar="PATH",
        help="scenes: folders or files, to evaluate on at the end, as part of the run; each "
        "is read once before the training to see that it can be judged by the labels of the "
        "patches",
    )
    add_skip_bad(parser)
    add_force(parser)
    add_set(parser)
    return parser


def main() -> int:
    """Entry point."""
    return run(lambda: _train(parser().parse_args()))


def _train(arguments: argparse.Namespace) -> None:
    from cloudmask.config.settings import load_config
    from cloudmask.record.run_directory import RunDirectory
    from cloudmask.scenes.finding import find_scenes
    from cloudmask.train.run import TrainingRequest, train

    config = load_config(arguments.config, arguments.set)
    require_tensorflow()
    scenes = find_scenes(arguments.scenes, part="inference") if arguments.scenes else []
    request = TrainingRequest(
        config=config,
        data=arguments.data,
        run=RunDirectory(arguments.run),
        scenes=scenes,
        command=sys.argv,
        force=arguments.force,
        skip_bad=arguments.skip_bad,
    )
    print_result(arguments.run, train(request))


def print_result(run: Path, result: "Result") -> None:
    """Print what came out of a run."""
    training, inference = result.training, result.inference
    if training:
        print(
            f"{run}: {plural(training.epochs_run, 'epoch')}, best {training.best_epoch}, "
            f"validation accuracy {training.val_accuracy:.4f}, "
            f"{training.seconds_per_epoch:.1f} s per epoch"
        )
    if not inference:
        return
    from cloudmask.evaluate.score_table import table

    print_left_out(inference.left_out)
    everywhere = inference.accuracy_all_pixels
    print(
        f"inference: accuracy {_figure(inference.accuracy)} on {inference.scenes} whole scenes, "
        f"{_figure(everywhere)} over all their pixels"
    )
    print(table(inference))


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
