"""Where a scene comes from: what its files tell of product, platform and processing."""

from dataclasses import dataclass

from cloudmask.scenes import dataset

# What scenes are; those that say so themselves may be of another origin, such as "Landsat 8".
SYNTHETIC = "synthetic"
PRODUCT = "SLSTR product"
PUBLISHED = dataset.NAME  # by layout and name: the files of the public data set say nothing more
UNKNOWN = "unknown"
LONGEST = 60  # characters of an origin


@dataclass(frozen=True)
class Origin:
    """Where a scene comes from, as far as its files tell; "" where they do not.

    product: name of the product without `.SEN3`. platform: such as "Sentinel-3A". start, stop: time
    of the first and the last row, UTC, ISO 8601. baseline: processing baseline or collection, such
    as "SL__L1_.004.06.00" or "004". processor: such as "IPF-SL-1 06.18". source: what kind of data
    it is, SYNTHETIC, PRODUCT, PUBLISHED, UNKNOWN, or what the file says of itself.
    """

    product: str = ""
    platform: str = ""
    start: str = ""
    stop: str = ""
    baseline: str = ""
    processor: str = ""
    source: str = UNKNOWN

    @property
    def synthetic(self) -> bool:
        """Whether it is simulated."""
        return self.source == SYNTHETIC
