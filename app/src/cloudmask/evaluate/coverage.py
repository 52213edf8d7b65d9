"""When and where a mask is, as attributes by ACDD."""

from datetime import datetime, timezone
from typing import Any

from cloudmask.scenes.geolocation import Geolocation
from cloudmask.scenes.origin import Origin


def coverage_in_time(origin: Origin) -> dict[str, str]:
    times = start_and_stop(origin)
    if times is None:
        return {}
    start, stop = (time.strftime("%Y-%m-%dT%H:%M:%S.%fZ") for time in times)
    seconds = (times[1] - times[0]).total_seconds()
    return {
        "time_coverage_start": start,
        "time_coverage_end": stop,
        "time_coverage_duration": f"PT{seconds:.6f}S",
    }


def start_and_stop(origin: Origin) -> tuple[datetime, datetime] | None:
    """Both times in UTC, or None where they are not known or no times."""
    try:
        # Python 3.10 does not know Z.
        start, stop = (
            datetime.fromisoformat(text.replace("Z", "+00:00"))
            for text in (origin.start, origin.stop)
        )
        start, stop = (
            time.astimezone(timezone.utc) if time.tzinfo else time.replace(tzinfo=timezone.utc)
            for time in (start, stop)
        )
    except (ValueError, OverflowError):
        return None
    return start, max(start, stop)


def coverage_in_space(geolocation: Geolocation | None) -> dict[str, Any]:
    bounds = geolocation.bounds() if geolocation else None
    if geolocation is None or bounds is None:
        return {}
    # By ACDD a western limit above the eastern one says that the box crosses the date line.
    east = bounds.east - 360 if bounds.crosses_date_line else bounds.east
    found: dict[str, Any] = {
        "geospatial_lat_min": bounds.south,
        "geospatial_lat_max": bounds.north,
        "geospatial_lat_units": "degrees_north",
        "geospatial_lon_min": bounds.west,
        "geospatial_lon_max": east,
        "geospatial_lon_units": "degrees_east",
    }
    outline = geolocation.outline()
    whole = bounds.crosses_date_line or bounds.east - bounds.west >= 360
    if len(outline) and not whole:
        points = ", ".join(f"{latitude:.4f} {longitude:.4f}" for latitude, longitude in outline)
        found |= {
            "geospatial_bounds": f"POLYGON (({points}))",
            "geospatial_bounds_crs": "EPSG:4326",
        }
    return found
