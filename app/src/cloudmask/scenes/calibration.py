"""The radiometric calibration of S1 to S6, which changed with baseline collection 005.

Before collection 005 the adjustments of S3.PN-SLSTR-L1.08 (EUMETSAT) are not applied to the
radiances; from 005 on they are. What was stored before, times these factors, is what is stored now.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cloudmask.errors import InputError
from cloudmask.scenes.origin import Origin
from cloudmask.scenes.raw import RawScene

# Nadir view, S1 to S6: S3.PN-SLSTR-L1.08, as satpy's reader slstr_l1b has them.
FACTORS = np.array([0.97, 0.98, 0.98, 1.0, 1.11, 1.13], np.float32)

OLD, NEW = "003", "005"  # collections 003 and 004, and from 005 on
UNKNOWN, AS_STORED = "unknown", "as-stored"
TARGETS = (OLD, NEW, AS_STORED, UNKNOWN)
ADJUSTED_SINCE = 5  # the first collection with the adjustment applied


def calibration_of(origin: Origin) -> str:
    """Which calibration a scene has by its baseline: "003", "005" or "unknown"."""
    found = re.search(r"(?<!\d)(\d{3})(?!\d)", origin.baseline)
    if not found or not int(found[1]):
        return UNKNOWN
    return NEW if int(found[1]) >= ADJUSTED_SINCE else OLD


def adapt(raw: RawScene, target: str) -> RawScene:
    """The scene with the reflectances that a product of the calibration `target` would have.

    Nothing is changed for "as-stored", and where one of both calibrations is not known, which is
    noted. Raises InputError for any other target.
    """
    stored = calibration_of(raw.origin)
    if target not in TARGETS:
        raise InputError(f"calibration {target!r}: expected {', '.join(TARGETS)}")
    if target in (stored, AS_STORED):
        return raw
    if UNKNOWN in (stored, target):
        known = f"that of collection {target}" if stored == UNKNOWN else "an unknown one"
        product = raw.origin.baseline or "an unknown collection"
        note = f"reflectances of {product} used as stored, with a network or patches of {known}"
        return replace(raw, notes=(*raw.notes, note))
    factors = FACTORS if target == NEW else 1 / FACTORS
    note = f"reflectances of collection {raw.origin.baseline} adapted to those of {target}"
    return replace(raw, reflectance=raw.reflectance * factors, notes=(*raw.notes, note))


def common_calibration(scenes: Sequence[tuple[Path, Origin]], choice: str) -> str:
    """The calibration that scenes have after `choice` (--calibration) is applied to each.

    Raises InputError if it is "auto" and both calibrations are there. A scene whose calibration is
    not known goes with any.
    """
    found: dict[str, Path] = {}
    for path, origin in scenes:
        found.setdefault(calibration_of(origin), path)
    if choice == AS_STORED:
        return AS_STORED
    if choice == "auto":
        if OLD in found and NEW in found:
            raise InputError(
                f"{found[OLD].name} has the calibration of collections 003 and 004, "
                f"{found[NEW].name} that of 005: S5 and S6 differ by more than 10 %; expected "
                "--calibration 003 or 005, which adapts the others (or as-stored)"
            )
        return next((known for known in (OLD, NEW) if known in found), UNKNOWN)
    return choice
