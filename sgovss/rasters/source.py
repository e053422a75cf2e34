"""Read a raster as three 8-bit bands, and a mask of the pixels with data."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.io import DatasetReader
from rasterio.windows import Window

from sgovss.errors import InputError
from sgovss.label_ids import IMAGE_PAD_VALUE
from sgovss.rasters.bands import choose_bands
from sgovss.rasters.collars import Collar
from sgovss.rasters.gdal import cache_size
from sgovss.rasters.georeference import RasterGeoreference
from sgovss.rasters.no_data import SAMPLE, NoData, find_no_data
from sgovss.rasters.opening import check_no_data, declared, identity, open_anew, open_raster, read_pixels
from sgovss.rasters.options import AUTO, SceneOptions
from sgovss.rasters.resampling import pixels_around, resample, resampling_weights

PERCENTILES = (2.0, 98.0)
_ALL_VALID = {frozenset([MaskFlags.all_valid])}
_VALUE = {frozenset([MaskFlags.nodata])}
_MASKLESS = _ALL_VALID | _VALUE


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
        self.no_data = NoData()
        with ExitStack() as self._opened:
            self._open(open_raster)
            self._check_orientation()
            self.identity = identity(name, self._dataset)
            self.height, self.width = self._dataset.height, self._dataset.width
            self.georeference = RasterGeoreference.of(self._dataset, fit_gcps)
            self.crs, self.transform = self.georeference.crs, self.georeference.transform
            self.dtypes = self._dataset.dtypes
            self.bands = choose_bands(self._dataset, bands)
            if any(np.dtype(self.dtypes[band - 1]).kind == "c" for band in self.bands):
                raise InputError(f"{name}: its bands hold complex numbers; give a raster of amplitudes")
            self._palette = self._colors()
            # The cache holds several rows of blocks, so each block of an overview is decoded once.
            with rasterio.Env(GDAL_CACHEMAX=self.cache_size(1)):
                self.no_data = self._find_no_data(no_data)
                if self.no_data.value is not None:
                    self._declare()
                self.remarks = [line for line in (self.georeference.remark, *self.no_data.remarks) if line]
                self.stretch = self._stretch(percentiles, ranges)
            self._opened = self._opened.pop_all()

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
            shape = (1, *size)
            indices = self._read(window, [self.bands[0]], out_shape=shape, resampling=Resampling.nearest)[0]
            valid = self._mask(window, size, indices[None] if self._flags == _VALUE else None)
            if self._compared is not None:
                valid &= indices != self._compared
            pixels = np.moveaxis(self._palette[indices], -1, 0)
        else:
            pixels, valid = self._values(window, size)
        if self.stretch is not None:
            low, high = np.array(self.stretch, np.float32).T[..., None, None]
            pixels = (_as_float32(pixels) - low) * (255 / (high - low))
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
        size = int(window.height), int(window.width)
        compared = self._flags == _VALUE or self._compared is not None
        from_pixels = self._floats or compared or self._collars(window)
        return self._values(window, size)[1] if from_pixels else self._mask(window, size)

    def values(self, limit: int) -> np.ndarray:
        """Return values of about ``limit`` pixels with data, evenly spread over the raster: (bands, n) float32."""
        found = self._sampled().astype(np.float32)
        return found[:, :: max(1, found.shape[1] // limit)]

    @property
    def nodata(self) -> float | None:
        """The no-data value, as rasterio's."""
        return self._dataset.nodata

    @property
    def ground(self) -> tuple[CRS | None, Affine]:
        """CRS and affine transform for sizes of pixels: the exact ones, or those fitted to control points or RPCs."""
        return self.georeference.ground or (self.crs, self.transform)

    def cache_size(self, rows: int) -> int:
        """Size in bytes of GDAL's block cache for windows of so many rows; see :mod:`sgovss.rasters.gdal`."""
        return cache_size(self._dataset, self.bands, rows)

    def another(self) -> RasterSource:
        """Open the same raster again, for use in another thread."""
        other = copy.copy(self)
        with ExitStack() as other._opened:
            other._open(open_raster)
            other._opened = other._opened.pop_all()
        return other

    def close(self) -> None:
        """Close the file."""
        self._opened.close()

    def __enter__(self) -> RasterSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, opener: Callable[[str], DatasetReader]) -> DatasetReader:
        """Open the file, with the no-data value of :attr:`no_data`."""
        self._dataset = opener(self.name)
        self._opened.callback(self._dataset.close)  # in any thread; its context manager must end where it began
        if self.no_data.value is not None:
            self._declare()
        return self._dataset

    def _declare(self) -> None:
        assert self.no_data.value is not None
        check_no_data(self._dataset, self.no_data.value)
        if self._compared is None:
            self._dataset = self._opened.enter_context(declared(self._dataset, self.no_data.value))

    def _open_again(self) -> DatasetReader:
        self._opened.close()
        return self._open(open_anew)

    def _read(self, window: Window, bands: Sequence[int] | None = None, **options: object) -> np.ndarray:
        return self._from_file(lambda dataset: dataset.read(list(bands or self.bands), window=window, **options))

    def _from_file(self, read: Callable[[DatasetReader], np.ndarray]) -> np.ndarray:
        return read_pixels(read, self._dataset, self._open_again)

    @cached_property
    def _floats(self) -> bool:
        """Whether the bands in use can hold NaN."""
        return any(np.dtype(self.dtypes[band - 1]).kind == "f" for band in self.bands)

    @property
    def _flags(self) -> set[frozenset[MaskFlags]]:
        """The kinds of mask of the bands in use."""
        return self._file_flags if self.no_data.masked else _ALL_VALID

    @property
    def _file_flags(self) -> set[frozenset[MaskFlags]]:
        return {frozenset(self._dataset.mask_flag_enums[band - 1]) for band in self.bands}

    @property
    def _compared(self) -> float | None:
        """The no-data value of :attr:`no_data` if the pixels are compared with it here; None if GDAL does so.

        GDAL does not look at the value in a file that has a mask or an alpha band.
        """
        return None if self._file_flags <= _MASKLESS else self.no_data.value

    def _values(self, window: Window, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Read (bands, *size) values, not stretched yet, and which pixels have data."""
        same, collars = (window.height, window.width) == size, self._collars(window)
        if not same and (self._floats or collars or self._compared is not None):
            return self._resampled(window, size)
        smaller = size[0] <= window.height and size[1] <= window.width
        # If one side shrinks and the other grows, GDAL's bilinear kernel still covers all pixels.
        resampling = Resampling.average if smaller else Resampling.bilinear
        pixels = self._read(window, out_shape=(len(self.bands), *size), resampling=resampling)
        return pixels, self._unresampled(window, pixels) if same else self._mask(window, size)

    def _unresampled(self, window: Window, pixels: np.ndarray) -> np.ndarray:
        """Compute which of a window's pixels (bands, h, w), which are not interpolated, have data: (h, w)."""
        valid = self._mask(window, (pixels.shape[1], pixels.shape[2]), pixels)
        if self._floats:
            valid &= np.isfinite(pixels).all(axis=0)
        if self._compared is not None:
            # As with a declared value, a pixel has data if one of its bands has another value.
            value = np.array(self._compared, pixels.dtype if self._floats else np.float64)
            valid &= (pixels != value).any(axis=0)
        for collar in self._collars(window):
            valid &= ~collar(pixels, window)
        return valid

    def _resampled(self, window: Window, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Resample here, because GDAL would spread each NaN over its neighbourhood, and blur the border of a collar.

        The same goes for a no-data value that GDAL does not look at.
        """
        top, bottom = pixels_around(window.row_off, window.height, self.height)
        left, right = pixels_around(window.col_off, window.width, self.width)
        whole = Window(left, top, right - left, bottom - top)
        down = resampling_weights(window.row_off, window.height, size[0], top, bottom)
        across = resampling_weights(window.col_off, window.width, size[1], left, right)
        pixels, valid = self._values(whole, (bottom - top, right - left))
        pixels, valid = resample(_as_float32(pixels), valid, down, across)
        return pixels, valid

    def _mask(self, window: Window, size: tuple[int, int], pixels: np.ndarray | None = None) -> np.ndarray:
        """Read the declared mask of a window.

        Args:
            window, size: see :meth:`read`.
            pixels: (bands, *size) the values of the window, if they are not interpolated, which the mask then fits.
                Otherwise it is shrunk so that a pixel counts if it contains data.
        """
        if self._flags == _ALL_VALID:
            return np.ones(size, bool)
        if pixels is not None and self._flags == _VALUE:
            values = np.array([self._dataset.nodatavals[band - 1] for band in self.bands[: len(pixels)]])
            values = values.astype(pixels.dtype) if self._floats else values
            without = pixels == values[:, None, None]
            if self._floats:
                without |= np.isnan(pixels) & np.isnan(values)[:, None, None]
            return (~without).any(axis=0)
        # The mask of a dataset is the same for all bands.
        bands = [self.bands[0]] if all(MaskFlags.per_dataset in flags for flags in self._flags) else list(self.bands)
        smaller = size[0] < window.height or size[1] < window.width
        options = {
            "window": window,
            "out_shape": (len(bands), *size),
            "resampling": Resampling.average if smaller and pixels is None else Resampling.nearest,
        }
        masks = self._from_file(lambda dataset: dataset.read_masks(bands, **options))
        return masks.max(axis=0) > 0

    def _collars(self, window: Window) -> list[Collar]:
        return [collar for collar in self.no_data.collars if collar.touches(window)]

    def _colors(self) -> np.ndarray | None:
        """Return the (256, 3) uint8 colours of the palette; None if the raster has no palette."""
        band = self.bands[0]
        if self._dataset.colorinterp[band - 1] != ColorInterp.palette or self.dtypes[band - 1] != "uint8":
            return None
        colors = self._dataset.colormap(band)
        return np.array([colors.get(index, (0, 0, 0, 0))[:3] for index in range(256)], np.uint8)

    def _check_orientation(self) -> None:
        if (turned := self._dataset.tags().get("EXIF_Orientation", "1")) not in ("0", "1"):
            raise InputError(
                f"{self.name}: has EXIF orientation {turned}, which is not supported for rasters; rotate the "
                "pixels and remove the tag, for example with 'exiftran -ai'"
            )

    def _find_no_data(self, wanted: str | float | NoData) -> NoData:
        if isinstance(wanted, NoData):
            return wanted
        return find_no_data(
            self._dataset,
            self.bands,
            wanted,
            palette=self._palette is not None,
            sample=lambda: self._sample,
            valid=lambda: self._mask(self._whole, self._sample.shape[1:], self._sample),
        )

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
        valid = self._unresampled(self._whole, self._sample)
        if not valid.any():
            raise InputError(f"{self.name}: no pixel with data; is the no-data value {self.nodata} right?")
        return self._sample[:, valid]

    @cached_property
    def _sample(self) -> np.ndarray:
        """The thumbnail: (bands, h, w) pixels of the whole raster without interpolation."""
        size = min(self.height, SAMPLE), min(self.width, SAMPLE)
        return self._read(self._whole, out_shape=(len(self.bands), *size), resampling=Resampling.nearest)

    @property
    def _whole(self) -> Window:
        return Window(0, 0, self.width, self.height)


def _as_float32(pixels: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # no-data values of 64 bits
        return pixels.astype(np.float32)
