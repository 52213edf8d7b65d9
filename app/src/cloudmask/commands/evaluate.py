"""cloudmask-eval: whole-scene inference of a run or a model."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cloudmask.commands import print_left_out, require_tensorflow, run
from cloudmask.commands.command_parser import command_parser
from cloudmask.commands.options import (
    add_channels,
    add_cosmetic,
    add_force,
    add_inference,
    add_network,
    add_skip_bad,
    add_threshold,
    network_source,
    read_options,
)
from cloudmask.system.text import plural

if TYPE_CHECKING:
    from cloudmask.record.result import Inference

SCENES = Path("data/inference")

EPILOG = """\
examples:
  cloudmask-eval --example
  cloudmask-eval --run runs/paper-1 --scenes data/inference
  cloudmask-eval --model model.keras --scenes S3A_SL_1_RBT_....SEN3 --labels summary
  cloudmask-eval

Scenes without labels get their masks, too, and are counted; metrics are those of the others.
Without --run or --model the newest finished run under ./runs is evaluated, without --scenes the
scenes under ./data/inference. The output holds result.json, summary.txt, scenes.csv, masks/ (CF
netCDF) and pictures/.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser("eval", EPILOG)
    add_network(parser)
    parser.add_argument(
        "--scenes",
        nargs="+",
        metavar="PATH",
        help=f"scenes: folders or files (default: {SCENES})",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="output folder (default: evaluation in the run directory)",
    )
    _add_judgment(parser)
    add_channels(parser, "that of the network's patches")
    add_inference(parser)
    add_force(parser)
    add_skip_bad(parser)
    parser.add_argument("--no-masks", action="store_true", help="write no masks")
    parser.add_argument("--no-pictures", action="store_true", help="write no pictures")
    return parser


def _add_judgment(parser: argparse.ArgumentParser) -> None:
    """With what the masks are compared, and which pixels count."""
    parser.add_argument(
        "--baselines",
        action="store_true",
        help="also judge a fixed threshold test and a naive Bayes classifier",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FILE.h5",
        help="patch store, whose training patches fit naive Bayes (default: the run's)",
    )
    add_threshold(parser)
    parser.add_argument(
        "--labels",
        "--truth",
        choices=("bayes", "summary"),
        help="label source: the Bayesian mask or the summary cloud flag (default: what the "
        "network was trained on)",
    )
    parser.add_argument(
        "--nan",
        choices=("ignore", "fill", "error"),
        default="ignore",
        help="pixels without a measurement: leave out of the metrics, count them (the channels "
        "that are there stay), or refuse the scene",
    )
    add_cosmetic(parser)


def main() -> int:
    """Entry point."""
    return run(lambda: _evaluate(parser().parse_args()))


def _evaluate(arguments: argparse.Namespace) -> None:
    from cloudmask.evaluate.job import EvaluationRequest, run_evaluation
    from cloudmask.record.run_directory import RunDirectory

    require_tensorflow()
    source = network_source(arguments)
    request = EvaluationRequest(
        source=source,
        scenes=_scenes(arguments),
        command=sys.argv,
        tiling=arguments.tiling,
        threshold=arguments.threshold,
        labels=arguments.labels,
        nan=arguments.nan,
        reading=read_options(arguments),
        calibration=arguments.calibration,
        skip_bad=arguments.skip_bad,
        precision=arguments.precision,
        memory_limit=arguments.memory_limit * 1e9,
        baselines=arguments.baselines,
        data=arguments.data,
        out=RunDirectory(arguments.out) if arguments.out else None,
        force=arguments.force,
        masks=not arguments.no_masks,
        pictures=not arguments.no_pictures,
    )
    done = run_evaluation(request)
    _print_inference(done.inference)
    print(f"results: {done.folder.result}")
    if request.pictures:
        print(f"pictures: {done.folder.pictures}")


def _scenes(arguments: argparse.Namespace) -> list[Path]:
    from cloudmask.evaluate import example

    if arguments.scenes:
        return [Path(scene) for scene in arguments.scenes]
    if arguments.example:
        scene = example.scene()
        print(f"example: a U-Net of half the published width on the scene {scene.name}")
        return [scene]
    print(f"no --scenes given: taking {SCENES}")
    return [SCENES]


def _print_inference(inference: "Inference") -> None:
    from cloudmask.evaluate.score_table import table

    for line in inference.notes:
        print(line)
    print_left_out(inference.left_out)
    print(table(inference))
    if inference.unlabeled_scenes:
        print(
            f"{plural(inference.unlabeled_scenes, 'scene')} without labels: predicted, not judged"
        )
    print(
        f"{plural(inference.scenes, 'scene')}, {inference.seconds_per_scene:.2f} s each in the "
        f"network, {inference.seconds_per_scene_all:.2f} s with reading and writing"
    )
