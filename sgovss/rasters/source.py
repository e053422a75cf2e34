"""Read a raster as three 8-bit bands, and a mask of the pixels with data."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.windows import Window

from sgovss.errors import InputError
from sgovss.label_ids import IMAGE_PAD_VALUE
from sgovss.rasters.gdal import cache_size
from sgovss.rasters.resampling import pixels_around, resample, resampling_weights

_SAMPLE = 1024  # side of the thumbnail that the stretch is computed on
PERCENTILES = (2.0, 98.0)


class RasterSource:
    """An open raster. It is a context manager.

    Args:
        path: a file that GDAL reads.
        bands: 1-based numbers of the bands to use as red, green and blue; None takes the first three that are not
            alpha, or the first one three times if there are fewer.
        percentiles: lower and upper percentile of the whole raster, which are mapped to 0 and 255. None stretches only
            data that are not 8-bit, with :data:`PERCENTILES`.
        stretch: (low, high) values of each band that are mapped to 0 and 255, if they are known already; percentiles
            are then not computed.

    Attributes:
        height, width: in pixels.
        crs, transform: as rasterio's; ``crs`` may be None.
        bands: 1-based numbers of the bands in use.
        stretch: (low, high) values of each band that are mapped to 0 and 255; None if the data are not stretched.

    Raises:
        InputError: not a raster, no such band, or no pixel with data.
    """

    def __init__(
        self,
        path: str | Path,
        bands: Sequence[int] | None = None,
        percentiles: Sequence[float] | None = None,
        stretch: Sequence[Sequence[float]] | None = None,
    ) -> None:
        self.path = Path(path)
        try:
            self._dataset = rasterio.open(path)
        except rasterio.errors.RasterioError as error:
            raise InputError(f"{path}: not a raster that can be read ({_short(error)})") from error
        if (turned := self._dataset.tags().get("EXIF_Orientation", "1")) not in ("0", "1"):
            raise InputError(
                f"{path}: has EXIF orientation {turned}, which is not supported for rasters; rotate the "
                "pixels and remove the tag, for example with 'exiftran -ai'"
            )
        self.height, self.width = self._dataset.height, self._dataset.width
        self.crs, self.transform = self._dataset.crs, self._dataset.transform
        self.nodata, self.dtypes = self._dataset.nodata, self._dataset.dtypes
        self.bands = self._bands(bands)
        if any(np.dtype(self.dtypes[band - 1]).kind == "c" for band in self.bands):
            raise InputError(f"{path}: its bands hold complex numbers; give a raster of amplitudes")
        self.stretch: list[tuple[float, float]] | None = None
        self._palette = self._colors()
        if self._palette is not None:
            return
        if stretch is not None:
            self.stretch = [(low, high) for low, high in stretch]
        elif percentiles is not None or any(self.dtypes[band - 1] != "uint8" for band in self.bands):
            self.stretch = self._percentiles(percentiles or PERCENTILES)

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
            pixels, valid = np.moveaxis(self._palette[indices], -1, 0), self._mask(window, size, indices[None])
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
        if self._always_valid:
            return np.ones(size, bool)
        return self._values(window, size)[1] if self._needs_pixels else self._mask(window, size)

    def cache_size(self, rows: int) -> int:
        """Size in bytes of GDAL's block cache for windows of so many rows; see :mod:`sgovss.rasters.gdal`."""
        return cache_size(self._dataset, self.bands, rows)

    def another(self) -> RasterSource:
        """Open the same raster again, for use in another thread."""
        other = copy.copy(self)
        other._dataset = rasterio.open(self.path)
        return other

    def close(self) -> None:
        """Close the file."""
        self._dataset.close()

    def __enter__(self) -> RasterSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, window: Window, bands: Sequence[int] | None = None, **options: object) -> np.ndarray:
        try:
            return self._dataset.read(list(bands or self.bands), window=window, **options)
        except rasterio.errors.RasterioError as error:
            raise InputError(f"{self.path}: damaged or cut off ({_short(error)}); get the file again") from error

    @cached_property
    def _floats(self) -> bool:
        """Whether the bands in use can hold NaN."""
        return any(np.dtype(self.dtypes[band - 1]).kind == "f" for band in self.bands)

    @cached_property
    def _flags(self) -> set[frozenset[MaskFlags]]:
        """The kinds of mask of the bands in use."""
        return {frozenset(self._dataset.mask_flag_enums[band - 1]) for band in self.bands}

    @cached_property
    def _always_valid(self) -> bool:
        return not self._floats and self._flags == {frozenset([MaskFlags.all_valid])}

    @cached_property
    def _needs_pixels(self) -> bool:
        """Whether the mask is computed from the pixels."""
        return self._floats or self._flags == {frozenset([MaskFlags.nodata])}

    def _values(self, window: Window, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Read (bands, *size) values, not stretched yet, and which pixels have data."""
        if (window.height, window.width) == size or not self._floats:
            smaller = size[0] <= window.height and size[1] <= window.width
            # If one side shrinks and the other grows, GDAL's bilinear kernel still covers all pixels.
            resampling = Resampling.average if smaller else Resampling.bilinear
            pixels = self._read(window, out_shape=(len(self.bands), *size), resampling=resampling)
            valid = self._mask(window, size, pixels if (window.height, window.width) == size else None)
            return pixels, valid & np.isfinite(pixels).all(axis=0) if self._floats else valid
        return self._resampled(window, size)

    def _resampled(self, window: Window, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Resample floats here, because GDAL would spread each NaN over its neighbourhood."""
        top, bottom = pixels_around(window.row_off, window.height, self.height)
        left, right = pixels_around(window.col_off, window.width, self.width)
        whole = Window(left, top, right - left, bottom - top)
        down = resampling_weights(window.row_off, window.height, size[0], top, bottom)
        across = resampling_weights(window.col_off, window.width, size[1], left, right)
        pixels, valid = self._values(whole, (bottom - top, right - left))
        pixels, valid = resample(_as_float32(pixels), valid, down, across)
        return pixels, valid

    def _mask(self, window: Window, size: tuple[int, int], pixels: np.ndarray | None = None) -> np.ndarray:
        """Read the mask of a window, shrunk so that a pixel counts if it contains data.

        Args:
            window, size: see :meth:`read`.
            pixels: (bands, *size) the values of the window, if they are not resampled.
        """
        if self._flags == {frozenset([MaskFlags.all_valid])}:
            return np.ones(size, bool)
        if pixels is not None and self._flags == {frozenset([MaskFlags.nodata])}:
            values = np.array([self._dataset.nodatavals[band - 1] for band in self.bands[: len(pixels)]])
            values = values.astype(pixels.dtype) if self._floats else values
            return (pixels != values[:, None, None]).any(axis=0)
        # The mask of a dataset is the same for all bands.
        bands = [self.bands[0]] if all(MaskFlags.per_dataset in flags for flags in self._flags) else list(self.bands)
        smaller = size[0] < window.height or size[1] < window.width
        resampling = Resampling.average if smaller else Resampling.nearest
        shape = (len(bands), *size)
        try:
            return self._dataset.read_masks(bands, window=window, out_shape=shape, resampling=resampling).any(axis=0)
        except rasterio.errors.RasterioError as error:
            raise InputError(f"{self.path}: damaged or cut off ({_short(error)}); get the file again") from error

    def _colors(self) -> np.ndarray | None:
        """Return the (256, 3) uint8 colours of the palette; None if the raster has no palette."""
        band = self.bands[0]
        if self._dataset.colorinterp[band - 1] != ColorInterp.palette or self.dtypes[band - 1] != "uint8":
            return None
        colors = self._dataset.colormap(band)
        return np.array([colors.get(index, (0, 0, 0, 0))[:3] for index in range(256)], np.uint8)

    def _bands(self, bands: Sequence[int] | None) -> tuple[int, int, int]:
        count = self._dataset.count
        if bands is not None:
            if wrong := [band for band in bands if not 1 <= band <= count]:
                raise InputError(f"--bands: {self.path} has {count} bands, so there is no band {wrong[0]}")
            red, green, blue = bands
            return red, green, blue
        interpretations = enumerate(self._dataset.colorinterp, 1)
        colors = [band for band, meaning in interpretations if meaning != ColorInterp.alpha] or [1]
        return (colors[0], colors[1], colors[2]) if len(colors) >= 3 else (colors[0], colors[0], colors[0])

    def _percentiles(self, percentiles: Sequence[float]) -> list[tuple[float, float]]:
        """Return (low, high) of each band, computed on a thumbnail of the whole raster and used for all windows."""
        size = min(self.height, _SAMPLE), min(self.width, _SAMPLE)
        whole = Window(0, 0, self.width, self.height)
        # The cache holds several rows of blocks, so each block is decoded once.
        with rasterio.Env(GDAL_CACHEMAX=self.cache_size(1)):
            pixels = self._read(whole, out_shape=(len(self.bands), *size), resampling=Resampling.nearest)
            nearest = self._flags == {frozenset([MaskFlags.nodata])}
            valid = self._mask(whole, size, pixels if nearest else None)
        valid &= np.isfinite(pixels).all(axis=0)
        if not valid.any():
            raise InputError(f"{self.path}: no pixel with data; is the no-data value {self.nodata} right?")
        ranges = []
        for band in pixels:
            low, high = np.percentile(band[valid].astype(np.float64), percentiles)
            ranges.append((float(low), float(high) if high > low else float(low) + 1.0))
        return ranges


def _short(error: Exception) -> str:
    return " ".join(str(error.__cause__ or error).split())[:200]


def _as_float32(pixels: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # no-data values of 64 bits
        return pixels.astype(np.float32)
