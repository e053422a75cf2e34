"""Which pixels of a raster hold no data: what the file declares, and what it does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from rasterio.enums import MaskFlags, Resampling
from rasterio.io import DatasetReader

from sgovss.rasters.bands import alpha_band, is_opaque, is_transparency
from sgovss.rasters.collars import Collar, find_collars, find_fillers
from sgovss.rasters.opening import read_pixels
from sgovss.rasters.options import AUTO, DECLARED, NONE

SAMPLE = 1024  # longest side of the overview that a raster is judged by
UNDECLARED = "SGOVSS_UNDECLARED"
"""Metadata of a mosaic: which of its tiles declare no pixels without data, :data:`SOME` or :data:`ALL`."""
SOME, ALL = "some", "all"


@dataclass(frozen=True)
class NoData:
    """What is left out of a raster.

    Attributes:
        masked: whether the no-data value, mask and alpha band of the file count.
        value: no-data value for the whole file, in place of its own and besides its mask and alpha band; None to leave
            it as it is.
        fillers: values that were found to stand for no data. One band with such a value is enough.
        collars: constant areas at the border.
        remarks: lines for the user.
    """

    masked: bool = True
    value: float | None = None
    fillers: tuple[float, ...] = ()
    collars: tuple[Collar, ...] = ()
    remarks: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What is left out as JSON, without the remarks."""
        collars = [collar.as_json() for collar in self.collars]
        return {"masked": self.masked, "value": self.value, "fillers": list(self.fillers), "collars": collars}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> NoData:
        """The inverse of :meth:`as_json`."""
        collars = tuple(Collar.from_json(each) for each in content["collars"])
        return cls(content["masked"], content["value"], tuple(content["fillers"]), collars)


def find_no_data(
    dataset: DatasetReader,
    bands: tuple[int, ...],
    wanted: str | float,
    palette: bool,
    sample: Callable[[], np.ndarray],
    valid: Callable[[], np.ndarray],
) -> NoData:
    """Find out what to leave out of a raster.

    What a file declares is believed if it leaves out anything, and nothing else is looked for then. A mosaic also
    leaves out the gaps between its tiles, which says nothing about the tiles.

    Args:
        dataset: an open raster.
        bands: numbers of the bands in use.
        wanted: see :class:`sgovss.rasters.options.SceneOptions`.
        palette: whether the values are numbers of colours. They have no collars.
        sample: reads an overview of the bands in use without interpolation, (bands, h, w).
        valid: reads which of its pixels have data by what the file declares, (h, w).
    """
    if wanted == NONE:
        return NoData(masked=False)
    used = list(bands)
    size = min(dataset.height, SAMPLE), min(dataset.width, SAMPLE)
    masked, remarks = True, []
    alpha = alpha_band(dataset)
    if alpha is not None and MaskFlags.alpha in dataset.mask_flag_enums[used[0] - 1]:
        values = _overview(dataset, [alpha], size)[0]
        left_out = _percent((values == 0).mean())
        if is_transparency(values) and not is_opaque(values):
            advice = "if it is infrared, give --no-data none"
            remarks.append(f"band {alpha} is taken for transparency, which leaves out {left_out}; {advice}")
        if not is_transparency(values):
            masked = False
            remarks.append(
                f"band {alpha} is called alpha, but has many values, so it is taken for data such as infrared and not "
                f"for transparency, which would leave out {left_out}"
            )
    if isinstance(wanted, float | int):
        return NoData(masked, float(wanted), remarks=tuple(remarks))
    assert wanted in (AUTO, DECLARED)
    if wanted == DECLARED or palette:
        return NoData(masked, remarks=tuple(remarks))
    undeclared = dataset.tags().get(UNDECLARED)
    inside = valid() if masked else True
    if not np.all(inside) and undeclared is None:
        return NoData(masked, remarks=tuple(remarks))
    pixels = sample()
    finite = np.isfinite(pixels).all(axis=0) & inside
    fillers = find_fillers(pixels, finite)
    for value, share in fillers.items():
        remarks.append(
            f"{_percent(share)} have the value {value:.8g}, far off all others, and are left out as no data; to "
            "segment them too, give --no-data declared"
        )
        finite &= (pixels != value).all(axis=0)
    if not np.all(inside) and undeclared == SOME:
        return NoData(masked, fillers=tuple(fillers), remarks=tuple(remarks))
    collars = find_collars(pixels, finite, dataset.height, dataset.width)
    for collar in collars:
        colour = ", ".join(f"{value:g}" for value in collar.colour)
        remarks.append(
            f"a constant area ({colour}) at the border, {_percent(collar.share)}, is left out as no data; to segment "
            "it too, give --no-data declared"
        )
    return NoData(masked, None, tuple(fillers), tuple(collars), tuple(remarks))


def _overview(dataset: DatasetReader, bands: list[int], size: tuple[int, int]) -> np.ndarray:
    """Read bands without interpolation: (bands, *size)."""
    shape = len(bands), *size
    return read_pixels(lambda raster: raster.read(bands, out_shape=shape, resampling=Resampling.nearest), dataset)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} % of the pixels"
