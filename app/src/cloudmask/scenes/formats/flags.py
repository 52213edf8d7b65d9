"""The flags of a product: confidence, and the labels that they give."""

import numpy as np

from cloudmask.scenes.formats import netcdf
from cloudmask.scenes.formats.product_files import ProductFiles
from cloudmask.scenes.slstr import BAYES_BITS, SUMMARY_CLOUD, UNFILLED

FLAGS = "flags_in.nc"


def confidence(files: ProductFiles, shape: tuple[int, int]) -> np.ndarray | None:
    """Bits of `confidence_in` (H, W) uint16; None if there are no flags."""
    if FLAGS not in files:
        return None
    with files.opened(FLAGS) as dataset:
        if "confidence_in" not in dataset:
            return None
        values = netcdf.values(dataset, "confidence_in", shape)
    known = (values >= 0) & (values <= 0xFFFF)  # False for NaN
    return np.where(known, values, UNFILLED).astype(np.uint16)


def mask(
    files: ProductFiles, labels: str, bits: np.ndarray | None
) -> tuple[np.ndarray | None, str]:
    """Labels (H, W) int8, -1 where there is none; or None and why there are none at all.

    labels: "bayes" or "summary". bits: what `confidence` returns.
    """
    flags = files.path / FLAGS
    if bits is None:
        return None, f"{flags}: no flags; expected 'confidence_in' in it"
    known = bits & UNFILLED == 0
    if labels == "summary":
        return np.where(known, bits & SUMMARY_CLOUD > 0, -1).astype(np.int8), ""
    bayes = np.full(bits.shape, np.nan, np.float32)
    with files.opened(FLAGS) as dataset:
        if "bayes_in" in dataset:
            bayes = netcdf.values(dataset, "bayes_in", bits.shape)
    filled = (bayes >= 0) & (bayes <= BAYES_BITS)
    if not filled.any():
        return None, (
            f"{flags}: 'bayes_in' holds no Bayesian mask, only fill; "
            "use the summary cloud flag instead (--labels summary)"
        )
    return np.where(known & filled, bayes > 0, -1).astype(np.int8), ""
