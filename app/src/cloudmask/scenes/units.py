"""What the numbers of a scene look like if they cannot be reflectances and kelvin."""

import numpy as np

from cloudmask.scenes.slstr import REFLECTANCE_RANGE, TEMPERATURE_RANGE, THERMAL

TYPICAL = 2.0  # reflectance that the median of a scene never has
PERCENT = 1000.0  # the largest that a reflectance in percent, or a radiance, may be
SCALED = 20_000.0  # the largest of one that was multiplied by 10,000
# The median of a brightness temperature in other units, and what it is then.
TEMPERATURES = (
    (-150.0, 99.0, "degrees Celsius"),
    (1500.0, 3500.0, "kelvin times 10"),
    (15_000.0, 35_000.0, "kelvin times 100"),
)


def likely_unit(reflectance: np.ndarray, temperature: np.ndarray) -> str:
    """What S1 to S6 (H, W, 6) or S7 to S9 (H, W, 3) look like, in words for a message.

    "" if they look like reflectances and kelvin, or like fill alone. Of the reflectances the 99th
    percentile and the median decide, since clear sea is dark in any unit; of each temperature the
    median.
    """
    low, high = REFLECTANCE_RANGE
    values = reflectance[np.isfinite(reflectance)]
    values = values[(values > low) & (values <= SCALED)]
    bright, middle = np.percentile(values, (99, 50)) if values.size else (0.0, 0.0)
    if bright > high or middle > TYPICAL:
        unit = "percent or radiance" if bright <= PERCENT else "reflectance times 10,000"
        return f"S1 to S6 look like {unit} (99 % are below {bright:.4g}); expected 0 to 1"
    for index, channel in enumerate(THERMAL):
        values = temperature[..., index]
        values = values[np.isfinite(values) & (values != 0) & (np.abs(values) != PERCENT - 1)]
        middle = float(np.median(values)) if values.size else TEMPERATURE_RANGE[0]
        for least, most, unit in TEMPERATURES:
            if least < middle < most:
                return f"{channel} looks like {unit} (median {middle:.4g}); expected kelvin"
    return ""
