"""Where a scene comes from: what its files tell of product, platform and processing."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """Where a scene comes from, as far as its files tell; "" where they do not.

    product: name of the product without `.SEN3`. platform: such as "Sentinel-3A". start, stop: time
    of the first and the last row, UTC, ISO 8601. baseline: processing baseline or collection, such
    as "SL__L1_.004.06.00" or "004". processor: such as "IPF-SL-1 06.18". synthetic: simulated.
    """

    product: str = ""
    platform: str = ""
    start: str = ""
    stop: str = ""
    baseline: str = ""
    processor: str = ""
    synthetic: bool = False
