"""Describe a server of map tiles, such as ``xyz:https://host/{z}/{x}/{y}.png``, for GDAL."""

from __future__ import annotations

import math
from html import escape

from sgovss.errors import InputError

PREFIX = "xyz:"
_HALF = 20037508.342789244  # half the circumference of the earth in EPSG:3857
_TILE = 256  # pixels of a tile's side
_DEEPEST = 24


def is_tile_server(name: str) -> bool:
    """Whether a name is that of a server of map tiles."""
    return name.startswith(PREFIX)


def describe_tiles(name: str, gsd: float, latitude: float) -> str:
    """Describe a server of map tiles as a raster of the whole earth.

    Args:
        name: ``xyz:`` and a URL with ``{z}``, ``{x}``, and ``{y}`` or ``{-y}``.
        gsd: metres per pixel; the level of tiles whose pixels come nearest is taken.
        latitude: in degrees, where the pixels shall have this size.

    Returns:
        XML for the WMS driver of GDAL. Tiles that the server does not have are no data.

    Raises:
        InputError: the URL lacks a part.
    """
    url = name.removeprefix(PREFIX)
    bottom = "{-y}" in url
    for part in ("{z}", "{x}", "{-y}" if bottom else "{y}"):
        if part not in url:
            raise InputError(f"{name}: no {part} in this URL; give one such as xyz:https://host/{{z}}/{{x}}/{{y}}.png")
    for part, variable in (("{z}", "${z}"), ("{x}", "${x}"), ("{-y}", "${y}"), ("{y}", "${y}")):
        url = url.replace(part, variable) if variable not in url else url
    level = round(math.log2(2 * _HALF * math.cos(math.radians(latitude)) / (_TILE * gsd)))
    return f"""<GDAL_WMS>
  <Service name="TMS"><ServerUrl>{escape(url)}</ServerUrl></Service>
  <DataWindow>
    <UpperLeftX>{-_HALF!r}</UpperLeftX><UpperLeftY>{_HALF!r}</UpperLeftY>
    <LowerRightX>{_HALF!r}</LowerRightX><LowerRightY>{-_HALF!r}</LowerRightY>
    <TileLevel>{min(_DEEPEST, max(0, level))}</TileLevel>
    <TileCountX>1</TileCountX><TileCountY>1</TileCountY><YOrigin>{"bottom" if bottom else "top"}</YOrigin>
  </DataWindow>
  <Projection>EPSG:3857</Projection>
  <BlockSizeX>{_TILE}</BlockSizeX><BlockSizeY>{_TILE}</BlockSizeY>
  <BandsCount>4</BandsCount>
  <ZeroBlockHttpCodes>204,404</ZeroBlockHttpCodes>
  <Timeout>30</Timeout>
  <MaxConnections>2</MaxConnections>
</GDAL_WMS>
"""
