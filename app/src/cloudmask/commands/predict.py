"""cloudmask-predict: cloud masks of scenes, with or without labels."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cloudmask.commands import require_tensorflow, run
from cloudmask.commands.command_parser import command_parser
from cloudmask.commands.options import (
    add_channels,
    add_inference,
    add_network,
    add_skip_bad,
    add_threshold,
    network_source,
    read_options,
)

if TYPE_CHECKING:
    from cloudmask.evaluate.map_formats import Grid

EPILOG = """\
examples:
  cloudmask-predict --run runs/paper-1 S3A_SL_1_RBT_....SEN3 --out masks
  cloudmask-predict --model model.keras products/ --out masks --favor cloud --dilate 2
  cloudmask-predict S3A_SL_1_RBT_....SEN3.zip --out masks --format cog
  cloudmask-predict --example --out masks

Scenes are Level-1 products (folder, manifest or zip archive), HDF5 files of the published layout,
or folders with some. Labels are not needed. The output holds masks/ (CF netCDF with latitude and
longitude, GeoTIFF or Zarr), scenes.csv and provenance.json. After an interruption the same command
continues.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser("predict", EPILOG)
    parser.add_argument(
        "scenes", nargs="*", type=Path, metavar="PATH", help="scenes: folders or files"
    )
    add_network(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", required=True, help="output folder")
    _add_format(parser)
    _add_decision(parser)
    parser.add_argument(
        "--nan",
        choices=("ignore", "fill"),
        default="ignore",
        help="pixels without a measurement: fill in the mask, or a probability from the channels "
        "that are there",
    )
    add_channels(parser, "that of the network's patches")
    add_inference(parser)
    parser.add_argument("--pictures", action="store_true", help="draw each scene as well")
    add_skip_bad(parser)
    return parser


def _add_format(parser: argparse.ArgumentParser) -> None:
    """What files hold the masks, and what besides."""
    parser.add_argument(
        "--format",
        choices=("netcdf", "cog", "zarr"),
        default="netcdf",
        help="CF netCDF in the swath's own grid, cloud-optimized GeoTIFF in degrees, or Zarr; the "
        "last two need the extra map",
    )
    parser.add_argument("--crs", default="EPSG:4326", metavar="CRS", help="grid of a GeoTIFF")
    parser.add_argument(
        "--resolution",
        type=float,
        metavar="N",
        help="size of its pixels in units of the grid (default: 0.01 degrees, or 1000 meters)",
    )
    parser.add_argument(
        "--layer",
        action="append",
        choices=("valid", "confidence", "surface"),
        default=[],
        help="also carry along: where all channels were measured, the product's confidence flags, "
        "or its surface classes; may be repeated",
    )


def _add_decision(parser: argparse.ArgumentParser) -> None:
    """When a pixel is cloud."""
    add_threshold(parser)
    parser.add_argument(
        "--favor",
        choices=("clear", "cloud"),
        help="instead: the threshold at which, on the run's validation patches, 2 %% of the clear "
        "pixels are lost (clear) or 2 %% of the cloud is missed (cloud)",
    )
    parser.add_argument(
        "--dilate", type=int, default=0, metavar="N", help="grow clouds by N pixels"
    )


def main() -> int:
    """Entry point."""
    return run(lambda: _predict(parser().parse_args()))


def _predict(arguments: argparse.Namespace) -> None:
    from cloudmask.evaluate.mask_job import MaskRequest, write_masks
    from cloudmask.evaluate.masking import MaskOptions
    from cloudmask.system.text import plural

    require_tensorflow()
    source = network_source(arguments)
    options = MaskOptions(
        threshold=arguments.threshold,
        favor=arguments.favor,
        dilate=arguments.dilate,
        calibration=arguments.calibration,
        nan=arguments.nan,
        reading=read_options(arguments),
        tiling=arguments.tiling,
        precision=arguments.precision,
        memory_limit=arguments.memory_limit * 1e9,
    )
    request = MaskRequest(
        source=source,
        scenes=_scenes(arguments),
        out=arguments.out,
        options=options,
        format=arguments.format,
        layers=arguments.layer,
        grid=_grid(arguments),
        pictures=arguments.pictures,
        skip_bad=arguments.skip_bad,
        command=sys.argv,
    )
    done = write_masks(request)
    if done.left_out:
        print(f"left out {plural(len(done.left_out), 'scene')}:")
        for line in done.left_out:
            print(f"  {line}")
    if done.earlier:
        print(f"{plural(done.earlier, 'mask')} of an earlier call kept")
    print(f"{plural(done.written, 'mask')} written: {done.folder.masks}")


def _grid(arguments: argparse.Namespace) -> "Grid":
    from cloudmask.evaluate.map_formats import DEFAULT_GRID, grid_of

    if arguments.format != "cog":
        return DEFAULT_GRID
    return grid_of(arguments.crs, arguments.resolution)


def _scenes(arguments: argparse.Namespace) -> list[Path]:
    from cloudmask.errors import InputError
    from cloudmask.evaluate import example

    if arguments.scenes:
        return arguments.scenes
    if arguments.example:
        return [example.scene()]
    raise InputError("no scenes given; expected products, scenes or folders with some")
