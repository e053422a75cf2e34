"""Describe several files as one raster, or a part of one, as a VRT file of GDAL. No pixel is copied."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.io import DatasetReader

from sgovss.errors import InputError
from sgovss.rasters.coordinate_systems import differing, same_crs
from sgovss.rasters.names import absolute_name
from sgovss.rasters.no_data import ALL, SOME, UNDECLARED

logger = logging.getLogger(__name__)

_TYPES = {
    "uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32", "int32": "Int32",
    "float32": "Float32", "float64": "Float64",
}  # fmt: skip
_NAMES = {ColorInterp.red: "Red", ColorInterp.green: "Green", ColorInterp.blue: "Blue", ColorInterp.alpha: "Alpha",
          ColorInterp.gray: "Gray", ColorInterp.palette: "Palette"}  # fmt: skip
_COLOURS = ("red", "green", "blue")
_LANDSAT = re.compile(r"l[a-z]0?[4-9]_", re.IGNORECASE)
_OLD_LANDSAT = re.compile(r"l[a-z]0?[457]_", re.IGNORECASE)  # whose first band is blue
_PLAIN_NUMBER = re.compile(r"(^|_)b[1-9](_|$)")
_DISTINCT = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)

Bounds = tuple[float, float, float, float]
"""(left, bottom, right, top) in the coordinates of a raster."""


@dataclass(frozen=True)
class Tile:
    """What a VRT needs of a file.

    Args:
        name: that GDAL opens.
        crs, transform, width, height: as rasterio's.
        dtype: of all bands.
        meanings, descriptions, no_data: of each band.
        palette: colours of the first band by value; empty if it has none.
        declares: whether a no-data value, a mask or an alpha band says which pixels have no data.
        filler: value of each band, or None, that stands for no data although the file does not declare it.
    """

    name: str
    crs: CRS | None
    transform: Affine
    width: int
    height: int
    dtype: str
    meanings: tuple[ColorInterp, ...]
    descriptions: tuple[str, ...]
    no_data: tuple[float | None, ...]
    palette: tuple[tuple[int, ...], ...]
    declares: bool
    filler: tuple[float | None, ...] = ()

    @classmethod
    def of(cls, name: str, dataset: DatasetReader) -> Tile:
        """Read it from an open raster.

        Raises:
            InputError: the raster is not north up, or its bands differ in data type.
        """
        a, b, _, d, e, _ = tuple(dataset.transform)[:6]
        if dataset.transform.is_identity or b or d or a <= 0 or e >= 0:
            raise InputError(
                f"{name}: to be joined or cut, a raster must be georeferenced with north up; use gdalwarp first"
            )
        if len(set(dataset.dtypes)) > 1 or dataset.dtypes[0] not in _TYPES:
            raise InputError(
                f"{name}: its bands are of the types {', '.join(dict.fromkeys(dataset.dtypes))}; convert them to one"
            )
        palette: tuple[tuple[int, ...], ...] = ()
        if dataset.colorinterp[0] == ColorInterp.palette:
            palette = tuple(dataset.colormap(1).values())
        return cls(
            absolute_name(name),
            dataset.crs, dataset.transform, dataset.width, dataset.height, dataset.dtypes[0],
            tuple(dataset.colorinterp), tuple(text or "" for text in dataset.descriptions),
            tuple(dataset.nodatavals), palette,
            any(MaskFlags.all_valid not in flags for flags in dataset.mask_flag_enums),
        )  # fmt: skip

    @property
    def bounds(self) -> Bounds:
        """Its extent."""
        a, _, left, _, e, top = tuple(self.transform)[:6]
        return left, top + e * self.height, left + a * self.width, top


def overlapping(tiles: Sequence[Tile]) -> list[Tile]:
    """Return the tiles that lie over or under another one by more than half a pixel."""
    left, bottom, right, top = np.array([tile.bounds for tile in tiles]).T
    found = []
    for number, tile in enumerate(tiles):
        a, b, c, d = tile.bounds
        x, y = tile.transform.a / 2, -tile.transform.e / 2
        over = (left < c - x) & (right > a + x) & (bottom < d - y) & (top > b + y)
        over[number] = False
        if over.any():
            found.append(tile)
    return found


def mosaic(tiles: Sequence[Tile], bounds: Bounds | None = None) -> str:
    """Describe tiles as one raster; where they overlap, the last one with data is on top.

    Args:
        tiles: with the same CRS, number of bands, data type and colour table. Their colours may be in another order.
        bounds: the part to describe; None for all.

    Returns:
        a VRT. Its mask leaves out the gaps between the tiles and their pixels without data. A pixel of a filler shows
        only where no other tile has data.

    Raises:
        InputError: a tile does not fit the first, or none is within the bounds.
    """
    first = tiles[0]
    for tile in tiles[1:]:
        system = (None, None) if same_crs(first.crs, tile.crs) else differing(first.crs, tile.crs)
        for what, mine, its in (
            ("coordinate reference system", *system),
            ("number of bands", len(first.meanings), len(tile.meanings)),
            ("data type", first.dtype, tile.dtype),
        ):
            if mine != its:
                raise InputError(
                    f"--mosaic: {tile.name} has another {what} than {first.name} ({its}, {mine}); make them equal with "
                    "gdalwarp or gdal_translate, or leave out --mosaic"
                )
        if _visible(tile.palette) != _visible(first.palette):
            grey = "" if tile.palette and first.palette else " (one without a table with -b 1 -b 1 -b 1 instead)"
            raise InputError(
                f"--mosaic: {tile.name} has another colour table than {first.name}; convert each file to colours with "
                f"'gdal_translate -expand rgb'{grey}, or leave out --mosaic"
            )
    across, down = min(tile.transform.a for tile in tiles), min(-tile.transform.e for tile in tiles)
    frame = _frame(_union(tiles), bounds, across, down)
    inside = [tile for tile in tiles if _overlap(tile.bounds, frame)]
    width, height = round((frame[2] - frame[0]) / across), round((frame[3] - frame[1]) / down)
    if not inside or width < 1 or height < 1:
        raise InputError(f"--bounds: outside of {tiles[0].name}; give west, south, east, north in degrees")
    root = _root(first.crs, Affine(across, 0, frame[0], 0, -down, frame[3]), width, height)
    if not all(tile.declares for tile in inside):
        metadata = ET.SubElement(root, "Metadata")
        ET.SubElement(metadata, "MDI", key=UNDECLARED).text = SOME if any(tile.declares for tile in inside) else ALL
    for band, meaning in enumerate(first.meanings, 1):
        node = _band(root, band, first.dtype, meaning, first.descriptions[band - 1], first.palette)
        sources = [(tile, _bands_like(first, tile)[band - 1]) for tile in inside]
        # Below all others, so that a pixel that only looks like filler stays where it is the only one.
        for tile, own in sources:
            if _filler(tile, own):
                _source(node, tile, str(own), frame, across, down, mask=True)
        for tile, own in sources:
            _source(node, tile, str(own), frame, across, down, mask=True, no_data=_filler(tile, own))
    mask = ET.SubElement(ET.SubElement(root, "MaskBand"), "VRTRasterBand", dataType="Byte")
    for tile in inside:
        # A zero of a later tile must not cover the data of an earlier one.
        _source(mask, tile, "mask,1", frame, across, down, no_data="0")
    return _text(root)


def _filler(tile: Tile, band: int) -> str:
    """Return the undeclared no-data value of a band as text; empty if it has none."""
    value = tile.filler[band - 1] if tile.filler else None
    return "" if value is None else repr(value)


def _visible(palette: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """Return the colours of a table without transparency, and without the black at its end that GDAL fills it with."""
    colours = [tuple(colour[:3]) for colour in palette]
    while colours and not any(colours[-1]):
        colours.pop()
    return colours


def _bands_like(first: Tile, tile: Tile) -> list[int]:
    """Return the band of a tile for each band of the first: colours and alpha by meaning, the others in their order."""
    mine, its = _meanings(first), _meanings(tile)
    common = {meaning for meaning in _DISTINCT if mine.count(meaning) == its.count(meaning) == 1}
    rest = (band for band, meaning in enumerate(its, 1) if meaning not in common)
    return [its.index(meaning) + 1 if meaning in common else next(rest) for meaning in mine]


def _meanings(tile: Tile) -> list[ColorInterp]:
    """Return what the bands of a tile mean: if it does not name three colours, its first three are taken for them."""
    meanings = list(tile.meanings)
    if not set(_DISTINCT[:3]) <= set(meanings):
        opaque = [band for band, meaning in enumerate(meanings) if meaning != ColorInterp.alpha]
        meanings = [meaning if meaning == ColorInterp.alpha else ColorInterp.undefined for meaning in meanings]
        if len(opaque) >= 3:
            for band, colour in zip(opaque, _DISTINCT[:3], strict=False):
                meanings[band] = colour
    return meanings


def stack(files: Sequence[Tile]) -> str:
    """Describe files of the same extent as the bands of one raster, at the resolution of the finest.

    Raises:
        InputError: a file does not fit the first.
    """
    finest = min(files, key=lambda file: file.transform.a)
    for file in files:
        apart = np.abs(np.subtract(file.bounds, finest.bounds)).max()
        if not same_crs(file.crs, finest.crs) or apart > file.transform.a / 2:
            raise InputError(f"--stack: {file.name} covers other ground than {finest.name}; use gdalwarp first")
        if file.dtype != finest.dtype:
            raise InputError(
                f"--stack: {file.name} is {file.dtype}, {finest.name} is {finest.dtype}; convert them to one"
            )
    root = _root(finest.crs, finest.transform, finest.width, finest.height)
    frame, number = finest.bounds, 0
    meanings = _colours([Path(file.name).stem for file in files])
    for file, meaning in zip(files, meanings, strict=True):
        for band, no_data in enumerate(file.no_data, 1):
            number += 1
            node = _band(root, number, file.dtype, meaning, Path(file.name).stem, (), no_data)
            _source(node, file, str(band), frame, finest.transform.a, -finest.transform.e)
    return _text(root)


def _colours(stems: Sequence[str]) -> list[ColorInterp]:
    """Return which files are red, green and blue by their names; else by the order of three files."""
    found = [_colour(stem) for stem in stems]
    if sorted(colour for colour in found if colour is not None) != [0, 1, 2]:
        logger.warning(
            "the names of the bands (%s) do not say which are red, green and blue; the first three are taken in this "
            "order, unless --bands names others",
            ", ".join(stems),
        )
        return list(_DISTINCT[:3]) if len(stems) == 3 else [ColorInterp.undefined] * len(stems)
    chosen = [stems[found.index(colour)] for colour in range(3)]
    if all(_PLAIN_NUMBER.search(_words(stem)) and not _LANDSAT.match(stem) for stem in chosen):
        logger.warning(
            "%s, %s and %s are taken for red, green and blue, which they are for Sentinel-2 and Landsat 8; for others, "
            "give --bands",
            *chosen,
        )
    return [ColorInterp.undefined if colour is None else _DISTINCT[colour] for colour in found]


def _colour(stem: str) -> int | None:
    """Return whether a name is that of a red (0), green (1) or blue (2) band; None if neither.

    A word such as "red" counts most, then the number of a band, then a letter.
    """
    words = _words(stem).split("_")
    names = [word for word in words if word in _COLOURS]
    if names:
        return _COLOURS.index(names[-1])
    numbers = [word for word in words if re.fullmatch(r"b\d+[a-z]?", word)]
    if numbers:
        bands = ("3", "2", "1") if _OLD_LANDSAT.match(stem) else ("4", "3", "2")
        number = numbers[-1][1:].lstrip("0")
        return bands.index(number) if number in bands else None
    letters = [word for word in words if word in ("r", "g", "b")]
    return "rgb".index(letters[-1]) if letters else None


def _words(stem: str) -> str:
    """Return the words of a name in lower case with "_" between them; the number of a band is one, such as "b4"."""
    text = re.sub(r"[^a-z0-9]+", "_", stem.casefold()).replace("red_edge", "rededge")
    return re.sub(r"band_?(?=\d)", "b", text)


def _union(tiles: Sequence[Tile]) -> Bounds:
    lefts, bottoms, rights, tops = zip(*(tile.bounds for tile in tiles), strict=True)
    return min(lefts), min(bottoms), max(rights), max(tops)


def _frame(whole: Bounds, wanted: Bounds | None, across: float, down: float) -> Bounds:
    """Return the wanted part of the whole, moved outwards to the borders of pixels so that none is resampled."""
    if wanted is None:
        return whole
    left = whole[0] + max(0, math.floor((wanted[0] - whole[0]) / across)) * across
    top = whole[3] - max(0, math.floor((whole[3] - wanted[3]) / down)) * down
    right = min(whole[2], whole[0] + math.ceil((wanted[2] - whole[0]) / across) * across)
    bottom = max(whole[1], whole[3] - math.ceil((whole[3] - wanted[1]) / down) * down)
    return left, bottom, right, top


def _overlap(a: Bounds, b: Bounds) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _root(crs: CRS | None, transform: Affine, width: int, height: int) -> ET.Element:
    root = ET.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    if crs is not None:
        ET.SubElement(root, "SRS").text = crs.to_wkt()
    a, b, c, d, e, f = tuple(transform)[:6]
    ET.SubElement(root, "GeoTransform").text = ", ".join(map(repr, (c, a, b, f, d, e)))
    return root


def _band(
    root: ET.Element, number: int, dtype: str, meaning: ColorInterp, description: str,
    palette: Sequence[Sequence[int]], no_data: float | None = None,
) -> ET.Element:  # fmt: skip
    node = ET.SubElement(root, "VRTRasterBand", dataType=_TYPES[dtype], band=str(number))
    if description:
        ET.SubElement(node, "Description").text = description
    if no_data is not None:
        ET.SubElement(node, "NoDataValue").text = repr(no_data)
    ET.SubElement(node, "ColorInterp").text = _NAMES.get(meaning, "Undefined")
    if palette:
        table = ET.SubElement(node, "ColorTable")
        for colour in palette:
            ET.SubElement(table, "Entry", {f"c{i}": str(part) for i, part in enumerate(colour, 1)})
    return node


def _source(
    node: ET.Element, tile: Tile, band: str, frame: Bounds, across: float, down: float,
    mask: bool = False, no_data: str = "",
) -> None:  # fmt: skip
    """Add a tile as source of a band: all its pixels, at their place in the frame."""
    source = ET.SubElement(node, "ComplexSource" if mask or no_data else "SimpleSource")
    ET.SubElement(source, "SourceFilename", relativeToVRT="0").text = tile.name
    ET.SubElement(source, "SourceBand").text = band
    size = {"RasterXSize": str(tile.width), "RasterYSize": str(tile.height)}
    ET.SubElement(
        source, "SourceProperties", {"DataType": _TYPES[tile.dtype] if mask or not no_data else "Byte", **size}
    )
    left, bottom, right, top = tile.bounds
    ET.SubElement(source, "SrcRect", xOff="0", yOff="0", xSize=str(tile.width), ySize=str(tile.height))
    place = {"xOff": (left - frame[0]) / across, "yOff": (frame[3] - top) / down}
    place |= {"xSize": (right - left) / across, "ySize": (top - bottom) / down}
    ET.SubElement(source, "DstRect", {key: repr(_even(value)) for key, value in place.items()})
    if mask:
        ET.SubElement(source, "UseMaskBand").text = "true"
    if no_data:
        ET.SubElement(source, "NODATA").text = no_data


def _even(pixels: float) -> float:
    """Round to whole pixels if that is what is meant; tiles then need no resampling."""
    return float(round(pixels)) if abs(pixels - round(pixels)) < 0.02 else pixels


def _text(root: ET.Element) -> str:
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")
