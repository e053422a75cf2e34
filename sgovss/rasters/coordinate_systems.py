"""Whether two rasters have the same coordinate reference system, and what tells two systems apart."""

from __future__ import annotations

import re

import pyproj
from rasterio.crs import CRS


def same_crs(one: CRS | None, other: CRS | None) -> bool:
    """Whether two coordinate reference systems are the same for pixels, whatever they say of heights.

    Programs write the system of one EPSG code in several ways, such as without the name of its datum.
    """
    if one is None or other is None or one == other:
        return one == other
    flat, flat_other = _without_height(one), _without_height(other)
    code = flat.to_epsg()
    return flat == flat_other or (code is not None and code == flat_other.to_epsg())


def _without_height(crs: CRS) -> CRS:
    found = pyproj.CRS(crs.to_wkt())
    return CRS.from_wkt(found.sub_crs_list[0].to_wkt()) if found.is_compound else crs


def differing(one: CRS | None, other: CRS | None) -> tuple[str, str]:
    """Return what tells two coordinate reference systems apart: their codes or names, else a part of their text."""
    names = _name(one), _name(other)
    if names[0] != names[1] or one is None or other is None:
        return names
    texts = (re.split(r",(?=[A-Z])", crs.to_wkt()) for crs in (one, other))
    return next((pair for pair in zip(*texts, strict=False) if pair[0] != pair[1]), names)


def _name(crs: CRS | None) -> str:
    if crs is None:
        return "none"
    code = crs.to_epsg()
    return pyproj.CRS(crs.to_wkt()).name if code is None else f"EPSG:{code}"
