"""Values of the pixels of a raster, and which of them have data."""

from __future__ import annotations

import numpy as np
from rasterio.enums import MaskFlags, Resampling
from rasterio.windows import Window

from sgovss.rasters.collars import Collar
from sgovss.rasters.handle import RasterHandle
from sgovss.rasters.no_data import NoData
from sgovss.rasters.resampling import pixels_around, resample, resampling_weights

_ALL_VALID = {frozenset([MaskFlags.all_valid])}
_VALUE = {frozenset([MaskFlags.nodata])}


class MaskedPixels:
    """Reads bands of a raster as they are, and the pixels with data.

    Args:
        handle: the open raster.
        bands: 1-based numbers of the bands in use.
        no_data: what is left out.

    Attributes:
        compared: the no-data value of ``no_data`` if the pixels are compared with it here; None if GDAL does so. GDAL
            does not look at the value in a file that has a mask or an alpha band.
    """

    def __init__(self, handle: RasterHandle, bands: tuple[int, int, int], no_data: NoData) -> None:
        self._handle, self._bands, self._no_data = handle, bands, no_data
        dataset = handle.dataset
        self._height, self._width = dataset.height, dataset.width
        self._floats = any(np.dtype(dataset.dtypes[band - 1]).kind == "f" for band in bands)  # these can hold NaN
        of_file = {frozenset(dataset.mask_flag_enums[band - 1]) for band in bands}
        self._flags = of_file if no_data.masked else _ALL_VALID
        self.compared = None if of_file <= _ALL_VALID | _VALUE else no_data.value
        self._compares = self.compared is not None or bool(no_data.fillers)
        self._misled = not of_file <= self._flags  # GDAL resamples by a mask that is not to count

    def read(self, window: Window, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Read the values of a window, interpolated to a size, and which of the pixels have data.

        Returns:
            (bands, *size) of the raster's type, or float32; (*size) bool.
        """
        same, collars = (window.height, window.width) == size, self._collars(window)
        if not same and (self._floats or collars or self._compares or self._misled):
            return self._resampled(window, size)
        smaller = size[0] <= window.height and size[1] <= window.width
        # If one side shrinks and the other grows, GDAL's bilinear kernel still covers all pixels.
        resampling = Resampling.average if smaller else Resampling.bilinear
        pixels = self._handle.read(window, self._bands, out_shape=(len(self._bands), *size), resampling=resampling)
        return pixels, self.valid_among(window, pixels) if same else self.mask(window, size)

    def read_numbers(self, window: Window, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Read the numbers of colours of the first band without interpolation, and which of the pixels have data.

        Returns:
            (*size) of the raster's type; (*size) bool.
        """
        options = {"out_shape": (1, *size), "resampling": Resampling.nearest}
        numbers = self._handle.read(window, self._bands[:1], **options)[0]
        valid = self.mask(window, size, numbers[None] if self._flags == _VALUE else None)
        return numbers, valid if self.compared is None else valid & (numbers != self.compared)

    def valid(self, window: Window) -> np.ndarray:
        """Compute which pixels of a window in whole pixels have data, (height, width) bool."""
        size = int(window.height), int(window.width)
        compares = self._flags == _VALUE or self._compares
        from_pixels = self._floats or compares or self._collars(window)
        return self.read(window, size)[1] if from_pixels else self.mask(window, size)

    def valid_among(self, window: Window, pixels: np.ndarray) -> np.ndarray:
        """Compute which of a window's pixels (bands, h, w), which are not interpolated, have data: (h, w)."""
        valid = self.mask(window, (pixels.shape[1], pixels.shape[2]), pixels)
        if self._floats:
            valid &= np.isfinite(pixels).all(axis=0)
        dtype = pixels.dtype if self._floats else np.float64
        if self.compared is not None:
            # As with a declared value, a pixel has data if one of its bands has another value.
            valid &= (pixels != np.array(self.compared, dtype)).any(axis=0)
        for filler in self._no_data.fillers:
            valid &= (pixels != np.array(filler, dtype)).all(axis=0)
        for collar in self._collars(window):
            valid &= ~collar(pixels, window)
        return valid

    def mask(self, window: Window, size: tuple[int, int], pixels: np.ndarray | None = None) -> np.ndarray:
        """Read the declared mask of a window, (*size) bool.

        Args:
            window: in pixels; the numbers need not be whole.
            size: (height, width) of the result.
            pixels: (bands, *size) the values of the window, if they are not interpolated, which the mask then fits.
                Otherwise it is shrunk so that a pixel counts if it contains data.
        """
        if self._flags == _ALL_VALID:
            return np.ones(size, bool)
        if pixels is not None and self._flags == _VALUE:
            return self._unlike_no_data(pixels)
        # The mask of a dataset is the same for all bands.
        bands = self._bands[:1] if all(MaskFlags.per_dataset in flags for flags in self._flags) else self._bands
        smaller = size[0] < window.height or size[1] < window.width
        resampling = Resampling.average if smaller and pixels is None else Resampling.nearest
        masks = self._handle.read_masks(window, bands, out_shape=(len(bands), *size), resampling=resampling)
        return masks.max(axis=0) > 0

    def _unlike_no_data(self, pixels: np.ndarray) -> np.ndarray:
        """Compute which pixels (bands, h, w) differ from the no-data value in a band: (h, w)."""
        values = np.array([self._handle.dataset.nodatavals[band - 1] for band in self._bands[: len(pixels)]])
        values = values.astype(pixels.dtype) if self._floats else values
        without = pixels == values[:, None, None]
        if self._floats:
            without |= np.isnan(pixels) & np.isnan(values)[:, None, None]
        return (~without).any(axis=0)

    def _resampled(self, window: Window, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Resample here, because GDAL would spread each NaN over its neighbourhood, and blur the border of a collar.

        The same goes for a no-data value that GDAL does not look at, and for a mask that it should not look at.
        """
        top, bottom = pixels_around(window.row_off, window.height, self._height)
        left, right = pixels_around(window.col_off, window.width, self._width)
        whole = Window(left, top, right - left, bottom - top)
        down = resampling_weights(window.row_off, window.height, size[0], top, bottom)
        across = resampling_weights(window.col_off, window.width, size[1], left, right)
        pixels, valid = self.read(whole, (bottom - top, right - left))
        pixels, valid = resample(as_float32(pixels), valid, down, across)
        return pixels, valid

    def _collars(self, window: Window) -> list[Collar]:
        return [collar for collar in self._no_data.collars if collar.touches(window)]


def as_float32(pixels: np.ndarray) -> np.ndarray:
    """Convert pixels; no-data values of 64 bits become infinite."""
    with np.errstate(over="ignore"):
        return pixels.astype(np.float32)
