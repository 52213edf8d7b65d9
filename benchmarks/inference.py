"""Inference over a whole scene against 63 float32 tiles: time, agreement and memory."""

from pathlib import Path

import numpy as np
import published
from measure import Figure, arguments, command, interleaved, median, peak, write

from cloudmask.evaluate import example
from cloudmask.evaluate.inference import Predictor
from cloudmask.evaluate.metrics import ConfusionCounts
from cloudmask.hardware.devices import POLICIES, choose_precision, open_devices
from cloudmask.model import unet
from cloudmask.scenes.finding import find_scenes
from cloudmask.scenes.scene import read_scene

GOALS = {"float32": 1.9, "bfloat16": 4.5}
FLOPS_PER_PIXEL = 21.5e9 / 256**2  # forward
MEMORY = 3e9
LOWER = 0.5e9  # what --memory-limit is tried with, for the activations
BASE = 1e9  # TensorFlow and the scene, in float32 and as a mask


def main() -> None:
    """Measure and write."""
    options = arguments(__doc__)
    open_devices()
    scenes = find_scenes([options.data / "inference"])
    image = read_scene(scenes[0]).image
    precisions = dict.fromkeys(["float32", choose_precision("auto")])
    network = unet((None, None, 9))
    ways = {p: Predictor(network, POLICIES[p]) for p in precisions}
    calls = {"63 tiles": compiled(network), **ways}
    for call in calls.values():
        call(image)
    timed = {name: lambda call=call: call(image) for name, call in calls.items()}
    seconds = {name: median(v) for name, v in interleaved(timed, options.rounds).items()}
    figures = []
    for precision in precisions:
        rate = image.shape[0] * image.shape[1] * FLOPS_PER_PIXEL / seconds[precision] / 1e9
        figures.append(
            Figure(
                f"inference of a scene, {precision}, against 63 float32 tiles",
                seconds[precision],
                seconds["63 tiles"],
                "s/scene",
                seconds["63 tiles"] / seconds[precision],
                GOALS[precision],
                f"arithmetic: {rate:.0f} GFLOP/s; the tiles do 2.3 times the work",
            )
        )
        figures.append(agreement(scenes, precision))
    for limit in (0.0, LOWER):
        figures.append(memory(options.data, scenes[0], limit))
    write(options.out, figures)


def compiled(network):
    """The published way, with a traced function."""
    import tensorflow as tf

    run = tf.function(lambda x: network(x, training=False))
    return lambda image: published.predict(run, image)


def agreement(scenes: list[Path], precision: str) -> Figure:
    """Accuracy of a trained network, whole scenes against tiles, in points."""
    network = example.network()
    whole, tiles = Predictor(network, POLICIES[precision]), compiled(network)
    percent = []
    for path in scenes:
        scene = read_scene(path)
        percent.append(
            [
                100
                * ConfusionCounts.of(way(scene.image), scene.mask, scene.valid).scores().accuracy
                for way in (whole, tiles)
            ]
        )
    ours, baseline = np.mean(percent, axis=0)
    return Figure(
        f"accuracy, whole scenes in {precision} less 63 float32 tiles",
        float(ours),
        float(baseline),
        "%",
        float(abs(ours - baseline)),
        0.1,
        "a pixel looks up to 51 pixels far, the tiles keep 40",
        at_most=True,
        details={"scenes": len(scenes)},
    )


def memory(data: Path, scene: Path, limit: float) -> Figure:
    """Peak resident memory of `cloudmask-eval` with the published network."""
    model = data / "published.keras"
    unet().save(model)
    command_line = [
        command("eval"),
        "--model",
        model,
        "--scenes",
        scene,
        "--out",
        data / "runs/memory",
        "--force",
        "--no-masks",
        "--no-pictures",
        *(("--memory-limit", f"{limit / 1e9:g}") if limit else ()),
    ]
    highest = peak(command_line, "VmHWM")
    goal = limit + BASE if limit else MEMORY
    name = f"--memory-limit {limit / 1e9:g}" if limit else "no limit"
    return Figure(
        f"peak memory of cloudmask-eval, {name}",
        highest / 1e9,
        goal / 1e9,
        "GB",
        highest / goal,
        1.0,
        "activations; TensorFlow and the scene itself take 0.8 GB",
        at_most=True,
    )


if __name__ == "__main__":
    main()
