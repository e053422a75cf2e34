"""Options for segmenting a scene, and the parsing of their values on the command line."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from sgovss import paths
from sgovss.errors import InputError
from sgovss.inference.rejection import Rejection
from sgovss.rasters.names import parts_of_inside

POLYGON_FORMATS = ("gpkg", "parquet", "fgb", "geojson")
"""Formats of polygons, which are the suffixes of their files. The first is the default."""

_BANDS = "3 numbers with commas, such as 4,3,2"
_STRETCH = "2 numbers with commas, such as 2,98"
_RANGE = "2 rising numbers, such as 0..3000, or one such range for each band with commas"
_SHARED = "shared"
AUTO, DECLARED, NONE = "auto", "declared", "none"
_MIN_AREA = "neither square metres, such as 100, nor pixels, such as 50px"

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class SceneOptions:
    """Options for segmenting a scene. Messages name an option by its flag of ``sgovss segment``.

    Args:
        bands: numbers, from 1, or descriptions of the bands to use as red, green and blue; None for those that the file
            names so, else the first three.
        stretch: lower and upper percentile that are mapped to 0 and 255; None stretches only data that are not 8-bit.
        stretch_range: the values that are mapped to 0 and 255: one (low, high) for all bands, or one for each.
        no_data: ``"auto"`` leaves out what the file declares as no data, and collars and filler values that it does not
            declare; ``"declared"`` only the first; ``"none"`` nothing; a number is the no-data value of the file, whose
            mask and alpha band count too.
        fit_gcps: replace ground control points or RPCs by the affine transform that fits them best.
        gsd: ground sample distance, in metres per pixel, at which the model gets the scene; 0 for the one that it was
            trained at. The outputs have the resolution of the scene.
        aoi: vector file of the area of interest.
        min_area: regions below this area, in square metres, are merged into a neighbour.
        min_area_in_pixels: whether ``min_area`` is in pixels instead.
        confidence: write the score of the class as a second band.
        probabilities: write the scores of all classes.
        polygons: write the regions as polygons, in this format: "gpkg", "parquet", "fgb" or "geojson"; True is "gpkg".
        simplify: tolerance in metres by which the borders of polygons are simplified; 0 leaves them along the pixels.
        square: names of classes whose polygons get right angles, also as one text, ``"building,roof"``.
        segments: file of segments, a raster of their numbers or polygons, of which each gets the class of its mean
            score; see :func:`sgovss.rasters.segments.open_segments`.
        edges: smooth the scores along the edges of the image; see
            :func:`sgovss.modeling.guided_filter.smooth_along_edges`.
        cache: folder for encoded windows.
        restart: segment the scene anew, even if an earlier run has finished it or parts of it.
        overlap: fraction of a window's side that neighbouring windows share; None for TEST.SCENE.STRIDE.
        rejection: rule for labelling pixels as "other".

    Raises:
        InputError: an option is wrong.
    """

    bands: tuple[int | str, ...] | None = None
    stretch: tuple[float, ...] | None = None
    stretch_range: tuple[tuple[float, float], ...] | None = None
    no_data: str | float = AUTO
    fit_gcps: bool = False
    gsd: float = 0.0
    aoi: str | Path | None = None
    min_area: float = 0.0
    min_area_in_pixels: bool = False
    confidence: bool = False
    probabilities: bool = False
    polygons: bool | str = False
    simplify: float = 0.0
    square: str | tuple[str, ...] = ()
    segments: str | Path | None = None
    edges: bool = False
    cache: str | Path | None = None
    restart: bool = False
    overlap: float | None = None
    rejection: Rejection = field(default_factory=Rejection)

    def __post_init__(self) -> None:
        if self.bands is not None and len(self.bands) != 3:
            raise InputError(f"--bands: '{','.join(map(str, self.bands))}' is not {_BANDS}")
        if self.stretch is not None:
            if len(self.stretch) != 2:
                raise InputError(f"--stretch: '{_joined(self.stretch)}' is not {_STRETCH}")
            if not 0 <= self.stretch[0] < self.stretch[1] <= 100:
                raise InputError(
                    f"--stretch: '{_joined(self.stretch)}' must be two rising percentiles from 0 to 100, such as 2,98"
                )
        if self.stretch_range is not None:
            rising = all(-math.inf < low < high < math.inf for low, high in self.stretch_range)
            if not rising or len(self.stretch_range) not in (1, 3):
                shown = ",".join(f"{low:g}..{high:g}" for low, high in self.stretch_range)
                raise InputError(f"--stretch: '{shown}' is not {_RANGE}")
        if isinstance(self.no_data, str) and self.no_data not in (AUTO, DECLARED, NONE):
            raise InputError(f"--no-data: '{self.no_data}' is neither auto, declared nor none, nor a number")
        if not isinstance(self.no_data, str) and not math.isfinite(self.no_data):
            raise InputError(
                f"--no-data: {self.no_data:g} is no value to give; NaN is always left out, and so is infinity"
            )
        if not 0 <= self.gsd < math.inf:
            raise InputError(f"--gsd: {self.gsd:g} is not a distance; give metres per pixel, such as 0.3")
        if not self.min_area >= 0:
            raise InputError(f"--min-area: '{self.min_area:g}' is {_MIN_AREA}")
        if isinstance(self.polygons, str) and self.polygons not in POLYGON_FORMATS:
            raise InputError(f"--polygons: '{self.polygons}' is not a format; choose from {', '.join(POLYGON_FORMATS)}")
        if self.polygons == "parquet" and find_spec("pyarrow") is None:
            raise InputError("--polygons parquet: needs a library; pip install 'sgovss[parquet]', or choose gpkg")
        if not 0 <= self.simplify < math.inf:
            raise InputError(f"--simplify: {self.simplify:g} is not a distance; give metres, such as 0.5")
        if self.simplify and not self.polygons:
            raise InputError("--simplify: is for polygons, which are not written; give --polygons too")
        if self.overlap is not None and not 0 <= self.overlap <= 0.9:
            raise InputError(f"--overlap: {self.overlap:g} is not from 0 to 0.9; give a fraction such as 0.25")
        if self.aoi is not None:
            file_and_layer(self.aoi)
        if self.square and not self.polygons:
            raise InputError("--square: is for polygons, which are not written; give --polygons too")
        if self.square and self.segments is not None:
            raise InputError("--square: segments are written as they are; leave out --square, or --segments")
        if self.segments is not None:
            file_and_layer(self.segments, "--segments")
            if self.min_area:
                raise InputError("--min-area: segments are not merged; leave out --min-area, or --segments")

    @property
    def square_names(self) -> tuple[str, ...]:
        """Names of the classes whose polygons get right angles."""
        return parse_classes(self.square) if isinstance(self.square, str) else tuple(self.square)

    @property
    def polygon_format(self) -> str | None:
        """Suffix of the file of polygons, without a dot; None if they are not wanted."""
        return POLYGON_FORMATS[0] if self.polygons is True else self.polygons or None


def file_and_layer(name: str | Path, flag: str = "--aoi") -> tuple[str, str | None]:
    """Split the name of a vector file into the file and its layer, such as ``fields.gpkg:district``.

    Args:
        name: as a user gives it. The file may be inside an archive, as in ``/vsizip/fields.zip/fields.gpkg``.
        flag: the option that it was given for.

    Returns:
        the file, and the layer; None for all layers.

    Raises:
        InputError: there is no such file.
    """
    if paths.exists(name):
        return str(name), None
    prefix, archive, inner = parts_of_inside(str(name))
    if archive is not None:
        file, colon, layer = inner.partition(":")
        return f"{prefix}{archive}{file}", layer if colon else None
    parts = str(name).split(":")
    for count in range(len(parts) - 1, 0, -1):  # the name of a layer may have colons, too
        file, layer = ":".join(parts[:count]), ":".join(parts[count:])
        if file and layer and paths.exists(file):
            return file, layer
    raise InputError(f"{flag} {name}: no such file; correct the path")


def parse_bands(text: str | None) -> tuple[int | str, ...] | None:
    """Parse band numbers and descriptions such as ``"4,3,2"`` or ``"red,green,blue"``."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    return tuple(int(part) if part.lstrip("+-").isdigit() else part for part in parts)


@dataclass(frozen=True)
class Stretch:
    """The value of ``--stretch``.

    Attributes:
        percentiles: of each scene, or of all scenes together if ``shared``; None for the default.
        ranges: values that are mapped to 0 and 255, of all bands or of each; None to compute them from percentiles.
        shared: whether all scenes of a run get the same stretch.
    """

    percentiles: tuple[float, ...] | None = None
    ranges: tuple[tuple[float, float], ...] | None = None
    shared: bool = False


def parse_classes(text: str) -> tuple[str, ...]:
    """Parse class names such as ``"building,roof"``."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def parse_stretch(text: str | None) -> Stretch:
    """Parse percentiles such as ``"2,98"``, values such as ``"0..3000"``, or ``"shared"`` or ``"shared:2,98"``."""
    if text is None:
        return Stretch()
    first, _, percentiles = text.partition(":")
    if first == _SHARED:
        return Stretch(_numbers(percentiles, float, "--stretch", _STRETCH) if percentiles else None, shared=True)
    if ".." not in text:
        return Stretch(_numbers(text, float, "--stretch", _STRETCH))
    ranges = []
    for part in text.split(","):
        low, high = _numbers(part.replace("..", ",", 1), float, "--stretch", _RANGE, 2)
        ranges.append((low, high))
    return Stretch(ranges=tuple(ranges))


def parse_no_data(text: str) -> str | float:
    """Parse ``"auto"``, ``"declared"``, ``"none"`` or a number."""
    try:
        return float(text)
    except ValueError:
        return text


def parse_bounds(text: str | None) -> tuple[float, ...] | None:
    """Parse a rectangle such as ``"7.1,50.6,7.2,50.8"``."""
    return None if text is None else _numbers(text, float, "--bounds", "west,south,east,north in degrees")


def parse_min_area(text: str | None) -> tuple[float, bool]:
    """Parse an area such as ``"100"`` (square metres) or ``"50px"``.

    Returns:
        the number, and whether it is in pixels.
    """
    if text is None:
        return 0.0, False
    try:
        return float(text.removesuffix("px")), text.endswith("px")
    except ValueError as error:
        raise InputError(f"--min-area: '{text}' is {_MIN_AREA}") from error


def _numbers(text: str, kind: Callable[[str], Number], flag: str, expected: str, count: int = 0) -> tuple[Number, ...]:
    """Parse numbers with commas; ``count`` of them, or any number if it is 0."""
    try:
        found = tuple(kind(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{flag}: '{text}' is not {expected}") from error
    if count and len(found) != count:
        raise InputError(f"{flag}: '{text}' is not {expected}")
    return found


def _joined(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:g}" for number in numbers)
