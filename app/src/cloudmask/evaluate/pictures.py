"""A picture per scene by which a person can judge: scene, mask, prediction, disagreement."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cloudmask.evaluate.prediction import Prediction
from cloudmask.scenes.slstr import (
    CONFIDENCE_FLAGS,
    REFLECTANCE_OFFSET,
    REFLECTANCES,
    TEMPERATURE_OFFSET,
    TEMPERATURE_SCALE,
)
from cloudmask.system.files import replacing

COLUMNS = 2  # of panels beside a reference: with more, none can be read on a page
WIDTH = 5.5  # inches, of a panel
FONT = 12  # points
LONGEST = 1000  # pixels of the longer side of a panel; scenes are thinned to it
# Below this median reflectance (S3, 0.87 um) the visible channels show nothing: night.
DARK = 0.02

WATER = ("ocean", "tidal", "inland_water")
COAST = (0.95, 0.55, 0.1)  # red, green, blue
NO_MEASUREMENT = "no measurement"
# Of the panels of agreement, as red, green, blue; also deuteranopes can tell any two apart.
COLORS = {
    "agree: clear": (0.10, 0.24, 0.45),
    "agree: cloud": (0.95, 0.95, 0.95),
    "miss": (0.80, 0.25, 0.05),
    "false alarm": (0.98, 0.80, 0.20),
    NO_MEASUREMENT: (0.72, 0.45, 0.85),
}


def write_picture(path: Path, prediction: Prediction, accuracy: float | None) -> None:
    """Draw a scene and its cloud probability, atomically to a PNG at `path`.

    `accuracy` is the fraction of valid pixels that agree with the mask.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    panels, valid = _panels(prediction)
    columns = len(panels) if prediction.scene.mask is None else COLUMNS
    rows = len(panels) // columns
    height = 1.8 + (WIDTH * valid.shape[0] / valid.shape[1] + 0.4) * rows
    figure = Figure(figsize=(WIDTH * columns, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis, panel in zip(axes.flat, panels, strict=True):
        shown = np.where(valid[..., None], panel.content, COLORS[NO_MEASUREMENT])
        axis.imshow(shown, interpolation="nearest")
        axis.set_title(panel.title, fontsize=FONT)
        axis.set_axis_off()
    agreement = (
        "" if accuracy is None else f"\npixel accuracy {accuracy:.1%} (agreement with the mask)"
    )
    figure.suptitle(f"{prediction.scene.name}{agreement}", fontsize=FONT)
    # Without a mask there is nothing that could agree.
    colors = (
        COLORS if prediction.scene.mask is not None else {NO_MEASUREMENT: COLORS[NO_MEASUREMENT]}
    )
    handles = [Patch(color=color, label=label) for label, color in colors.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=FONT)
    # Made in memory: on a full disk the libraries below end with errors of their own.
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=90)
    with replacing(path) as temporary:
        temporary.write_bytes(content.getbuffer())


@dataclass(frozen=True)
class _Panel:
    """One of the images: (H, W, 3) colors between 0 and 1."""

    content: np.ndarray
    title: str


def _panels(prediction: Prediction) -> tuple[list[_Panel], np.ndarray]:
    """The panels, and where (H, W) they show a measurement.

    With a mask they are pairs: scene and probability, then each reference and how the prediction
    agrees with it.
    """
    scene = prediction.scene
    step = -(-max(scene.image.shape[:2]) // LONGEST)

    def thinned(plane: np.ndarray) -> np.ndarray:
        return plane[::step, ::step, 0]

    valid = thinned(scene.measured if scene.mask is None else scene.valid)
    probability = thinned(prediction.probability)
    false_color = _false_color(scene.image[::step, ::step], valid)
    shown = _Panel(_gray(probability), "predicted probability of cloud")
    if scene.mask is None:
        return [false_color, shown, _mask_panel(prediction, step)], valid
    cloud, mask = probability > prediction.threshold, thinned(scene.mask) > 0
    panels = [
        false_color,
        shown,
        _Panel(_gray(mask), "mask, the benchmark's reference"),
        _Panel(_agreement(cloud, mask), "prediction against mask"),
    ]
    if scene.cloud_truth is not None:
        truth = thinned(scene.cloud_truth) > 0
        panels.append(_Panel(_gray(truth), "cloud truth"))
        panels.append(_Panel(_agreement(cloud, truth), "prediction against cloud truth"))
    return panels, valid


def _mask_panel(prediction: Prediction, step: int) -> _Panel:
    """The mask, with the coast lines of the product's flags if there are any."""
    content = _gray(prediction.cloud[::step, ::step, 0])
    title = f"cloud mask, above {prediction.threshold:.3g}"
    flags = prediction.scene.confidence
    if flags is not None:
        content[_shores(flags[::step, ::step])] = COAST
        title += ", with coast lines"
    return _Panel(content, title)


def _shores(flags: np.ndarray) -> np.ndarray:
    """Where water borders land, (H, W) bool; the flag for coasts is not set at lakes."""
    water = flags & sum(CONFIDENCE_FLAGS[name] for name in WATER) > 0
    shore = np.zeros(water.shape, bool)
    shore[1:] |= water[1:] != water[:-1]
    shore[:, 1:] |= water[:, 1:] != water[:, :-1]
    return shore


def _agreement(cloud: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(H, W, 3) colors of how prediction and reference agree."""
    index = np.select([reference & cloud, reference, cloud], [1, 2, 3], 0)
    return np.array(list(COLORS.values()))[index]


def _gray(plane: np.ndarray) -> np.ndarray:
    return np.repeat(plane[..., None].astype(np.float32), 3, axis=2)


def _false_color(image: np.ndarray, valid: np.ndarray) -> _Panel:
    """By day S5, S3, S2 as red, green, blue: snow turns cyan; by night S8, cold is bright."""
    reflectance = image[..., :REFLECTANCES] + REFLECTANCE_OFFSET
    lit = valid & np.isfinite(reflectance[..., 2])
    if lit.any() and np.median(reflectance[lit][:, 2]) > DARK:
        # The square root brings out dark land and sea beside clouds.
        color = np.sqrt(np.clip(reflectance[..., [4, 2, 1]] / 0.8, 0, 1))
        return _Panel(color, "scene: S5, S3, S2 as red, green, blue")
    kelvin = image[..., 7] * TEMPERATURE_SCALE + TEMPERATURE_OFFSET
    low, high = np.percentile(kelvin[valid], (1, 99)) if valid.any() else (0, 1)
    gray = np.clip((high - kelvin) / max(high - low, 1e-3), 0, 1)
    return _Panel(_gray(gray), "scene: S8, 10.8 um, cold is bright")
