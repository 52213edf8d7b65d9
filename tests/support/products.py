"""Small Level-1 products, written variable by variable."""

from pathlib import Path

import numpy as np
import pytest

from cloudmask.scenes import slstr

# The grid of the tests: 4 x 48 pixels with the track at column 24, tie points every 16 columns with
# the track at the third of five.
ROWS, COLUMNS, TIES = 4, 48, 5
IMAGE = {"track_offset": 24, "resolution": "[ 1000 1000 ]"}
TIE_GRID = {"track_offset": 2, "resolution": "[ 16000 1000 ]"}
PACKED = {"scale_factor": 0.01, "add_offset": 283.73, "_FillValue": np.int16(-32768)}


def write_netcdf(path: Path, attrs=IMAGE, **variables) -> None:
    xarray = pytest.importorskip("xarray")
    data = {}
    for name, value in variables.items():
        values, own = value if isinstance(value, tuple) else (value, {})
        values = np.asarray(values)
        dims = ("rows", "columns", "depth")[: values.ndim]
        data[name] = xarray.Variable(dims, values, own)
    xarray.Dataset(data, attrs=attrs).to_netcdf(path, engine="h5netcdf")


def write_radiance(folder: Path, channel: str, radiance, irradiance=100.0) -> None:
    """Radiance on the 500 m grid (NaN is stored as fill) and the quality file."""
    full = np.broadcast_to(np.asarray(radiance, float), (2 * ROWS, 2 * COLUMNS))
    raw = np.where(np.isnan(full), -32768, np.round(full * 100)).astype(np.int16)
    packed = {"scale_factor": 0.01, "add_offset": 0.0, "_FillValue": np.int16(-32768)}
    write_netcdf(folder / f"{channel}_radiance_an.nc", **{f"{channel}_radiance_an": (raw, packed)})
    write_netcdf(
        folder / f"{channel}_quality_an.nc",
        **{f"{channel}_solar_irradiance_an": np.full(4, irradiance)},
    )


def write_sun(folder: Path, cosine) -> None:
    zenith = np.degrees(np.arccos(np.broadcast_to(cosine, (ROWS, TIES))))
    write_netcdf(folder / "geometry_tn.nc", TIE_GRID, solar_zenith_tn=zenith)


def write_product(folder: Path) -> Path:
    """S7 to S9 of 283.73 K, a clear sky, no other channel."""
    folder.mkdir()
    for channel in slstr.THERMAL:
        raw = np.zeros((ROWS, COLUMNS), np.int16)
        write_netcdf(folder / f"{channel}_BT_in.nc", **{f"{channel}_BT_in": (raw, PACKED)})
    write_flags(folder)
    return folder


def write_flags(folder: Path, **flags) -> None:
    clear = np.zeros((ROWS, COLUMNS))
    flags = {"bayes_in": clear.astype(np.uint8), "confidence_in": clear.astype(np.uint16), **flags}
    present = {name: value for name, value in flags.items() if value is not None}
    write_netcdf(folder / "flags_in.nc", **present)


def write_manifest(product: Path, *names: str, collection: str = "004") -> None:
    listed = "".join(f'<fileLocation href="./{name}"/>' for name in names)
    baseline = f"<sentinel3:baselineCollection>{collection}</sentinel3:baselineCollection>"
    (product / "xfdumanifest.xml").write_text(f"<XFDU>{listed}{baseline}</XFDU>")
