"""A picture per scene by which a person can judge: scene, mask, prediction, disagreement."""

import logging
from pathlib import Path

import numpy as np

from cloudmask.scenes.scene import Scene
from cloudmask.system.files import replacing

LONGEST = 1000  # pixels of the longer side of a panel; scenes are thinned to it
# Below this median reflectance (S3, 0.87 um) the visible channels show nothing: night.
DARK = 0.02

COLOURS = {  # of the panel "disagreement", as red, green, blue
    "agree: clear": (0.13, 0.26, 0.42),
    "agree: cloud": (0.93, 0.93, 0.93),
    "cloud missed": (0.90, 0.30, 0.10),
    "cloud invented": (0.98, 0.78, 0.15),
    "no measurement": (0.35, 0.20, 0.45),
}


def write_picture(
    path: Path, scene: Scene, probability: np.ndarray, threshold: float, accuracy: float | None
) -> None:
    """Draw a scene and its cloud probability (H, W, 1), atomically to a PNG at `path`.

    `accuracy` is the share of valid pixels that agree with the mask.
    """
    # Without a home, as in a container, Matplotlib tells at length where it keeps its fonts.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    step = -(-max(scene.image.shape[:2]) // LONGEST)
    image, mask, valid, probability = (
        a[::step, ::step]
        for a in (scene.image, scene.mask[..., 0] > 0, scene.valid[..., 0], probability[..., 0])
    )
    cloud = probability > threshold
    picture, kind = _false_colour(image, valid)
    panels = [
        (picture, kind),
        (_grey(mask), "mask, the benchmark's truth"),
        (_grey(probability), "predicted probability of cloud"),
        (_outcome(cloud, mask), "prediction against mask"),
    ]
    if scene.cloud_truth is not None:
        truth = scene.cloud_truth[::step, ::step, 0] > 0
        panels.insert(2, (_grey(truth), "true cloud field"))
        panels.append((_outcome(cloud, truth), "prediction against true field"))

    columns = len(panels) // 2
    figure = Figure(
        figsize=(5.5 * columns, 1.6 + 11 * image.shape[0] / image.shape[1]), layout="constrained"
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, columns)
    for axis, (content, title) in zip(axes.flat, panels, strict=True):
        shown = np.where(valid[..., None], content, COLOURS["no measurement"])
        axis.imshow(shown, interpolation="nearest")
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
    agreement = "" if accuracy is None else f"   {accuracy:.1%} of pixels as in the mask"
    figure.suptitle(f"{scene.name}{agreement}", fontsize=10)
    handles = [Patch(color=colour, label=label) for label, colour in COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=9)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=90)


def _outcome(cloud: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(H, W, 3) colours of how prediction and truth agree."""
    index = np.select([truth & cloud, truth, cloud], [1, 2, 3], 0)
    return np.array(list(COLOURS.values()))[index]


def _grey(plane: np.ndarray) -> np.ndarray:
    return np.repeat(plane[..., None].astype(np.float32), 3, axis=2)


def _false_colour(image: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, str]:
    """By day S5, S3, S2 as red, green, blue: snow turns cyan; by night S8, cold is bright."""
    reflectance = image[..., :6] + 0.5
    lit = valid & np.isfinite(reflectance[..., 2])
    if lit.any() and np.median(reflectance[lit][:, 2]) > DARK:
        # The square root brings out dark land and sea beside clouds.
        colour = np.sqrt(np.clip(reflectance[..., [4, 2, 1]] / 0.8, 0, 1))
        kind = "scene: S5, S3, S2 as red, green, blue"
    else:
        kelvin = image[..., 7] * 22 + 270
        low, high = np.percentile(kelvin[valid], (1, 99)) if valid.any() else (0, 1)
        grey = np.clip((high - kelvin) / max(high - low, 1e-3), 0, 1)
        colour, kind = _grey(grey), "scene: S8, 10.8 um, cold is bright"
    return colour, kind
