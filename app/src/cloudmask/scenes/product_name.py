"""Names of Sentinel-3 products, and which of them are the same granule; only Python is needed.

MMM_II_L_TTTTTT_start_stop_creation_duration_cycle_orbit_frame_centre_P_TT_CCC: the convention of
the "Sentinel-3 PDGS File Naming Convention" (EUM/LEO-SEN3/SPE/10/0070). Scenes of the published
data set are named after the product that they were made of.
"""

import re
from dataclasses import dataclass
from datetime import datetime

# The better one comes last: near real time, short time critical, not time critical.
TIMELINESS = ("NR", "ST", "NT")
INSTRUMENTS = {
    "OL": "OLCI",
    "SL": "SLSTR",
    "SR": "SRAL",
    "SY": "SYNERGY",
    "MW": "MWR",
    "DO": "DORIS",
    "GN": "GNSS",
}
RBT = ("SL", "1", "RBT")

_NAME = re.compile(
    r"(?P<platform>S3[A-D_])_(?P<instrument>[A-Z]{2})_(?P<level>\d|_)_(?P<type>[A-Z0-9]{2,6})_*_"
    r"(?P<start>\d{8}T\d{6})_(?P<stop>\d{8}T\d{6})_(?P<created>\d{8}T\d{6})_"
    r"(?P<duration>\d{4})_(?P<cycle>\d{3})_(?P<orbit>\d{3})_(?P<frame>[\d_]{4})_"
    r"(?P<centre>\w{3})_(?P<class>\w)_(?P<timeliness>[A-Z]{2})_(?P<collection>[\dA-Z_]{3})"
)
_KIND = re.compile(r"S3[A-D_]_([A-Z]{2})_(\d)_([A-Z0-9]{3})")


@dataclass(frozen=True)
class Granule:
    """A piece of the swath of one satellite, however often it was processed."""

    platform: str
    start: str
    stop: str
    frame: str


@dataclass(frozen=True)
class ProductName:
    """The parts of a product's name."""

    granule: Granule
    created: str
    timeliness: str
    collection: str

    @property
    def rank(self) -> tuple[str, int, str]:
        """Of one granule, the product with the highest rank is the best."""
        order = TIMELINESS.index(self.timeliness) if self.timeliness in TIMELINESS else -1
        collection = self.collection if self.collection.isdigit() else ""
        return collection, order, self.created

    @property
    def platform(self) -> str:
        """The satellite in words."""
        return f"Sentinel-3{self.granule.platform[2]}"


def parse(name: str) -> ProductName | None:
    """The parts of the name of a Level-1 product, without suffix; None for any other name."""
    found = _NAME.fullmatch(name)
    if not found:
        return None
    granule = Granule(found["platform"], found["start"], found["stop"], found["frame"])
    return ProductName(granule, found["created"], found["timeliness"], found["collection"])


def iso_time(stamp: str) -> str:
    """`20210827T074336` as ISO 8601; "" if it is no time."""
    try:
        return datetime.strptime(stamp, "%Y%m%dT%H%M%S").strftime("%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return ""


def other_product(name: str) -> str:
    """What a product is that is not SLSTR Level-1 RBT, in words; "" for one, or for other names."""
    found = _KIND.match(name)
    if not found or found.groups() == RBT:
        return ""
    instrument, level, kind = found.groups()
    return f"{INSTRUMENTS.get(instrument, instrument)} Level-{level} product ({kind})"
