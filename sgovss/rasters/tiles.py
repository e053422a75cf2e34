"""Describe a server of map tiles, such as ``xyz:https://host/{z}/{x}/{y}.png``, for GDAL."""

from __future__ import annotations

import math
import re
from html import escape

import rasterio

from sgovss.errors import InputError

PREFIX = "xyz:"
_HALF = 20037508.342789244  # half the circumference of the earth in EPSG:3857
_TILE = 256  # pixels of a tile's side, of most servers
_DEEPEST = 24


def is_tile_server(name: str) -> bool:
    """Whether a name is that of a server of map tiles."""
    return name.startswith(PREFIX)


def side_of_tiles(name: str, gsd: float, longitude: float, latitude: float) -> int:
    """Ask a server for one tile, because GDAL must know the pixels along a tile's side: 256 of most servers, or 512.

    Args:
        name, gsd, latitude: see :func:`describe_tiles`.
        longitude: in degrees; the tile is one at this place.

    Returns:
        pixels; 256 if there is no such tile, or it cannot be read, which is told where the raster is read.

    Raises:
        InputError: see :func:`describe_tiles`.
    """
    url = _checked(name)
    level = _level(gsd, latitude, 2 * _TILE)  # a server with small tiles has this level, too
    x = int((longitude / 360 + 0.5) * 2**level)
    y = int((0.5 - math.asinh(math.tan(math.radians(latitude))) / (2 * math.pi)) * 2**level)
    for part, number in (("{z}", level), ("{x}", x), ("{y}", y), ("{-y}", 2**level - 1 - y)):
        url = url.replace(part, str(number))
    try:
        with (
            rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_HTTP_MAX_RETRY="0"),
            rasterio.open(f"/vsicurl/{url}") as tile,
        ):
            return int(tile.width)
    except rasterio.errors.RasterioError:
        return _TILE


def describe_tiles(name: str, gsd: float, latitude: float, side: int = _TILE) -> str:
    """Describe a server of map tiles as a raster of the whole earth.

    Args:
        name: ``xyz:`` and a URL with ``{z}``, ``{x}``, and ``{y}`` or ``{-y}``.
        gsd: metres per pixel; the level of tiles whose pixels come nearest is taken.
        latitude: in degrees, where the pixels shall have this size.
        side: pixels along the side of a tile.

    Returns:
        XML for the WMS driver of GDAL. Tiles that the server does not have are no data.

    Raises:
        InputError: the URL lacks a part, or has one that is not known.
    """
    url = _checked(name)
    bottom = "{-y}" in url
    for part, variable in (("{z}", "${z}"), ("{x}", "${x}"), ("{-y}", "${y}"), ("{y}", "${y}")):
        url = url.replace(part, variable) if variable not in url else url
    return f"""<GDAL_WMS>
  <Service name="TMS"><ServerUrl>{escape(url)}</ServerUrl></Service>
  <DataWindow>
    <UpperLeftX>{-_HALF!r}</UpperLeftX><UpperLeftY>{_HALF!r}</UpperLeftY>
    <LowerRightX>{_HALF!r}</LowerRightX><LowerRightY>{-_HALF!r}</LowerRightY>
    <TileLevel>{_level(gsd, latitude, side)}</TileLevel>
    <TileCountX>1</TileCountX><TileCountY>1</TileCountY><YOrigin>{"bottom" if bottom else "top"}</YOrigin>
  </DataWindow>
  <Projection>EPSG:3857</Projection>
  <BlockSizeX>{side}</BlockSizeX><BlockSizeY>{side}</BlockSizeY>
  <BandsCount>4</BandsCount>
  <ZeroBlockHttpCodes>204,404</ZeroBlockHttpCodes>
  <Timeout>30</Timeout>
  <MaxConnections>2</MaxConnections>
</GDAL_WMS>
"""


def _checked(name: str) -> str:
    """Return the URL of a server if GDAL can fill in the number of a tile."""
    url = name.removeprefix(PREFIX)
    for part in ("{z}", "{x}", "{-y}" if "{-y}" in url else "{y}"):
        if part not in url:
            raise InputError(f"{name}: no {part} in this URL; give one such as xyz:https://host/{{z}}/{{x}}/{{y}}.png")
    for part in re.findall(r"(?<!\$)\{[^{}]*\}", url):
        if part not in ("{z}", "{x}", "{y}", "{-y}"):
            example = " such as a, one of the server's hosts" if part == "{s}" else ""
            raise InputError(f"{name}: {part} in this URL is not filled in; write what stands for it there{example}")
    return url


def _level(gsd: float, latitude: float, side: int) -> int:
    """Return the level of tiles whose pixels come nearest to a size."""
    level = round(math.log2(2 * _HALF * math.cos(math.radians(latitude)) / (side * gsd)))
    return min(_DEEPEST, max(0, level))
