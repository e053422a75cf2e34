"""Read a raster as three 8-bit bands, and a mask of the pixels with data."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

import numpy as np
from affine import Affine
from rasterio import Env
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.windows import Window

from sgovss.data.orientation import tiff_orientation
from sgovss.errors import InputError
from sgovss.label_ids import IMAGE_PAD_VALUE
from sgovss.rasters.bands import choose_bands
from sgovss.rasters.gdal import cache_size
from sgovss.rasters.georeference import RasterGeoreference
from sgovss.rasters.handle import RasterHandle
from sgovss.rasters.masked_pixels import MaskedPixels, as_float32
from sgovss.rasters.no_data import SAMPLE, NoData, find_no_data
from sgovss.rasters.opening import check_no_data, identity
from sgovss.rasters.options import AUTO, SceneOptions

PERCENTILES = (2.0, 98.0)


class RasterSource:
    """An open raster. It is a context manager.

    Args:
        name: a file, or anything else that GDAL opens.
        bands: numbers, from 1, or descriptions of the bands to use as red, green and blue; None takes those that the
            file names so; see :func:`sgovss.rasters.bands.choose_bands`.
        percentiles: lower and upper percentile of the whole raster, which are mapped to 0 and 255. None stretches only
            data that are not 8-bit, with :data:`PERCENTILES`.
        ranges: values to map to 0 and 255, one (low, high) for all bands or one for each; used instead of percentiles.
        no_data: see :class:`sgovss.rasters.options.SceneOptions`; or what was found out about the raster before.
        fit_gcps: see :class:`sgovss.rasters.options.SceneOptions`.

    Attributes:
        name: as given.
        path: the name as a path, for titles.
        identity: what changes when the raster changes, for settings of a run.
        height, width: in pixels.
        crs, transform: as rasterio's; ``crs`` may be None.
        georeference: these, ground control points and RPCs.
        bands: 1-based numbers of the bands in use.
        no_data: what is left out.
        stretch: (low, high) values of each band that are mapped to 0 and 255; None if the data are not stretched.
        remarks: lines for the user on what was found and decided.

    Raises:
        InputError: not a raster, no such band, or no pixel with data.
    """

    def __init__(
        self,
        name: str | Path,
        bands: Sequence[int | str] | None = None,
        percentiles: Sequence[float] | None = None,
        *,
        ranges: Sequence[tuple[float, float]] | None = None,
        no_data: str | float | NoData = AUTO,
        fit_gcps: bool = False,
    ) -> None:
        self.name, self.path = str(name), Path(name)
        self._handle = RasterHandle(self.name)
        with ExitStack() as opened:
            opened.callback(self._handle.close)
            dataset = self._handle.dataset
            self._check_orientation()
            self.identity = identity(name, dataset)
            self.height, self.width = dataset.height, dataset.width
            self.georeference = RasterGeoreference.of(dataset, fit_gcps)
            self.crs, self.transform = self.georeference.crs, self.georeference.transform
            self.dtypes = dataset.dtypes
            self.bands = choose_bands(dataset, bands)
            if any(np.dtype(self.dtypes[band - 1]).kind == "c" for band in self.bands):
                raise InputError(f"{name}: its bands hold complex numbers; give a raster of amplitudes")
            self._palette = self._colors()
            # The cache holds several rows of blocks, so each block of an overview is decoded once.
            with Env(GDAL_CACHEMAX=self.cache_size(1)):
                self.no_data = no_data if isinstance(no_data, NoData) else self._find_no_data(no_data)
                self._pixels = self._leave_out(self.no_data)
                self.remarks = [line for line in (self.georeference.remark, *self.no_data.remarks) if line]
                self.stretch = self._stretch(percentiles, ranges)
            opened.pop_all()

    @classmethod
    def from_options(cls, name: str | Path, options: SceneOptions) -> RasterSource:
        """Open a raster as the options say."""
        return cls(
            name,
            options.bands,
            options.stretch,
            ranges=options.stretch_range,
            no_data=options.no_data,
            fit_gcps=options.fit_gcps,
        )

    def read(self, window: Window, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Read the pixels of a window, and which of them have data.

        No data are pixels of the no-data value, outside the mask or the alpha band, and NaN and infinite values. Where
        the window is shrunk, pixels without data do not count.

        Args:
            window: in pixels; the numbers need not be whole.
            size: (height, width) of the result.

        Returns:
            (height, width, 3) uint8 RGB, grey where there are no data; (height, width) bool, true where there are.

        Raises:
            InputError: the file is damaged there.
        """
        if self._palette is not None:
            numbers, valid = self._pixels.read_numbers(window, size)
            pixels = np.moveaxis(self._palette[numbers], -1, 0)
        else:
            pixels, valid = self._pixels.read(window, size)
        if self.stretch is not None:
            low, high = np.array(self.stretch, np.float32).T[..., None, None]
            pixels = (np.clip(as_float32(pixels), low, high) - low) * (255 / (high - low))
        if pixels.dtype != np.uint8:
            pixels = np.clip(np.rint(np.where(valid, pixels, 0)), 0, 255).astype(np.uint8)
        return np.where(valid[..., None], pixels.transpose(1, 2, 0), np.uint8(IMAGE_PAD_VALUE)), valid

    def valid(self, window: Window) -> np.ndarray:
        """Compute which pixels of a window have data; see :meth:`read`.

        Args:
            window: window of the raster in whole pixels.

        Returns:
            (height, width) bool.
        """
        return self._pixels.valid(window)

    def values(self, limit: int) -> np.ndarray:
        """Return values of about ``limit`` pixels with data, evenly spread over the raster: (bands, n) float32."""
        found = self._sampled().astype(np.float32)
        return found[:, :: max(1, found.shape[1] // limit)]

    @property
    def nodata(self) -> float | None:
        """The no-data value, as rasterio's."""
        return self._handle.dataset.nodata

    @property
    def ground(self) -> tuple[CRS | None, Affine]:
        """CRS and affine transform for sizes of pixels: the exact ones, or those fitted to control points or RPCs."""
        return self.georeference.ground or (self.crs, self.transform)

    def cache_size(self, rows: int) -> int:
        """Size in bytes of GDAL's block cache for windows of so many rows; see :mod:`sgovss.rasters.gdal`."""
        return cache_size(self._handle.dataset, self.bands, rows)

    def another(self) -> RasterSource:
        """Open the same raster again, for use in another thread."""
        other = copy.copy(self)
        other._handle = self._handle.another()
        other._pixels = MaskedPixels(other._handle, self.bands, self.no_data)
        return other

    def close(self) -> None:
        """Close the file."""
        self._handle.close()

    def __enter__(self) -> RasterSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _colors(self) -> np.ndarray | None:
        """Return the (256, 3) uint8 colours of the palette; None if the raster has no palette."""
        band = self.bands[0]
        if self._handle.dataset.colorinterp[band - 1] != ColorInterp.palette or self.dtypes[band - 1] != "uint8":
            return None
        colors = self._handle.dataset.colormap(band)
        return np.array([colors.get(index, (0, 0, 0, 0))[:3] for index in range(256)], np.uint8)

    def _check_orientation(self) -> None:
        dataset = self._handle.dataset
        turned = dataset.tags().get("EXIF_Orientation", "0")
        if turned == "0" and dataset.crs is None and dataset.transform.is_identity:  # GDAL does not tell that of TIFF
            turned = str(tiff_orientation(self.name))
        if turned not in ("0", "1"):
            raise InputError(
                f"{self.name}: has EXIF orientation {turned}, which is not supported for rasters; rotate the "
                "pixels and remove the tag, for example with 'mogrify -auto-orient'"
            )

    def _find_no_data(self, wanted: str | float) -> NoData:
        pixels = MaskedPixels(self._handle, self.bands, NoData())
        return find_no_data(
            self._handle.dataset,
            self.bands,
            wanted,
            palette=self._palette is not None,
            sample=lambda: self._sample,
            valid=lambda: pixels.mask(self._whole, self._sample.shape[1:], self._sample),
        )

    def _leave_out(self, no_data: NoData) -> MaskedPixels:
        """Return the pixels without those to leave out; GDAL gets to know the no-data value if it looks at it."""
        pixels = MaskedPixels(self._handle, self.bands, no_data)
        if no_data.value is None:
            return pixels
        check_no_data(self._handle.dataset, no_data.value)
        if pixels.compared is not None:
            return pixels
        self._handle.declare(no_data.value)
        return MaskedPixels(self._handle, self.bands, no_data)

    def _stretch(
        self, percentiles: Sequence[float] | None, ranges: Sequence[tuple[float, float]] | None
    ) -> list[tuple[float, float]] | None:
        """Return the (low, high) values of each band that are mapped to 0 and 255; None for data left as they are."""
        if self._palette is not None:
            if percentiles is not None or ranges is not None:
                self.remarks.append("--stretch is not used, because the pixels are numbers of colours")
            return None
        if ranges is not None:
            return [(low, high) for low, high in ([*ranges] * 3 if len(ranges) == 1 else ranges)]
        if percentiles is None and all(self.dtypes[band - 1] == "uint8" for band in self.bands):
            return None
        return self._percentiles(percentiles or PERCENTILES)

    def _percentiles(self, percentiles: Sequence[float]) -> list[tuple[float, float]]:
        """Return (low, high) of each band, computed on a thumbnail of the whole raster and used for all windows."""
        found = []
        for values in self._sampled():
            low, high = np.percentile(values.astype(np.float64), percentiles)
            found.append((float(low), float(high) if high > low else float(low) + 1.0))
        return found

    def _sampled(self) -> np.ndarray:
        """Return the values of the thumbnail's pixels with data, (bands, n).

        Raises:
            InputError: there is none.
        """
        valid = self._pixels.valid_among(self._whole, self._sample)
        if not valid.any():
            reason = "; all are masked, NaN or infinite, so export the file again"
            if self.nodata is not None:
                reason = f"; if its no-data value, {self.nodata:g}, stands for data, give --no-data none"
            raise InputError(f"{self.name}: no pixel with data{reason}")
        return self._sample[:, valid]

    @cached_property
    def _sample(self) -> np.ndarray:
        """The thumbnail: (bands, h, w) pixels of the whole raster without interpolation."""
        size = min(self.height, SAMPLE), min(self.width, SAMPLE)
        shape = len(self.bands), *size
        return self._handle.read(self._whole, self.bands, out_shape=shape, resampling=Resampling.nearest)

    @property
    def _whole(self) -> Window:
        return Window(0, 0, self.width, self.height)
