"""A raster as the model wants to see it: three 8-bit bands, and which pixels hold data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, Resampling
from rasterio.windows import Window

from sgovss.data.mapper import IMAGE_PAD_VALUE
from sgovss.errors import InputError

_SAMPLE = 1024  # side of the thumbnail that the stretch is computed on
PERCENTILES = (2.0, 98.0)


class RasterSource:
    """An open raster.

    Args:
        path: anything GDAL reads.
        bands: 1-based numbers of the bands shown as red, green and blue; None takes the first three that are not
            alpha, or the one there is for all three.
        percentiles: of the whole scene, mapped to 0 and 255; None leaves 8-bit data as they are and takes
            :data:`PERCENTILES` for all others.

    Attributes:
        height, width: in pixels.
        crs, transform: as rasterio's; ``crs`` may be None.
        bands: the bands taken.
        stretch: (low, high) of each band, or None for 8-bit data taken as they are.

    Raises:
        InputError: not a raster, no such band, or no pixel with data.
    """

    def __init__(
        self,
        path: str | Path,
        bands: Sequence[int] | None = None,
        percentiles: tuple[float, float] | None = None,
    ) -> None:
        self.path = Path(path)
        try:
            self._dataset = rasterio.open(path)
        except rasterio.errors.RasterioError as error:
            raise InputError(f"{path}: not a raster that can be read ({_short(error)})") from error
        if (turned := self._dataset.tags().get("EXIF_Orientation", "1")) not in ("0", "1"):
            raise InputError(
                f"{path}: is to be shown turned (EXIF orientation {turned}); turn its pixels and remove the tag, for "
                "example with 'exiftran -ai'"
            )
        self.height, self.width = self._dataset.height, self._dataset.width
        self.crs, self.transform = self._dataset.crs, self._dataset.transform
        self.nodata, self.dtypes = self._dataset.nodata, self._dataset.dtypes
        self.bands = self._bands(bands)
        if any(np.dtype(self.dtypes[band - 1]).kind == "c" for band in self.bands):
            raise InputError(f"{path}: bands of complex numbers; give a raster of amplitudes")
        self.stretch: list[tuple[float, float]] | None = None
        self._palette = self._colors()
        if self._palette is not None:
            return
        if percentiles is not None or any(self.dtypes[band - 1] != "uint8" for band in self.bands):
            self.stretch = self._percentiles(percentiles or PERCENTILES)

    def read(self, window: Window, size: tuple[int, int]) -> np.ndarray:
        """A window as (height, width, 3) uint8 RGB at another size in pixels; without data it is grey.

        Raises:
            InputError: the file is damaged there.
        """
        shape = (len(self.bands), *size)
        smaller = size[0] < window.height or size[1] < window.width
        resampling = Resampling.average if smaller else Resampling.bilinear
        if self._palette is not None:
            indices = self._read(window, out_shape=shape, resampling=Resampling.nearest)[0]
            pixels = np.moveaxis(self._palette[indices], -1, 0).astype(np.float32)
        else:
            pixels = self._read(window, out_shape=shape, resampling=resampling).astype(np.float32)
        if self.stretch is not None:
            low, high = np.array(self.stretch, np.float32).T[..., None, None]
            pixels = (pixels - low) * (255 / (high - low))
        # Resampling spreads NaN, so what it left is looked at too.
        valid = self.valid(window, size) & np.isfinite(pixels).all(axis=0)
        pixels[:, ~valid] = IMAGE_PAD_VALUE
        return np.clip(np.rint(pixels), 0, 255).astype(np.uint8).transpose(1, 2, 0)

    def valid(self, window: Window, size: tuple[int, int] | None = None) -> np.ndarray:
        """(height, width) bool: where a window holds data, by no-data value, mask, alpha, and for floats NaN."""
        size = size or (int(window.height), int(window.width))
        shape = (len(self.bands), *size)
        masks = self._dataset.read_masks(list(self.bands), window=window, out_shape=shape)
        valid = masks.any(axis=0)
        if any(np.dtype(self.dtypes[band - 1]).kind == "f" for band in self.bands):
            valid &= np.isfinite(self._read(window, out_shape=shape)).all(axis=0)
        return valid

    def close(self) -> None:
        self._dataset.close()

    def __enter__(self) -> RasterSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, window: Window, **options: object) -> np.ndarray:
        try:
            return self._dataset.read(list(self.bands), window=window, **options)
        except rasterio.errors.RasterioError as error:
            raise InputError(f"{self.path}: damaged or cut off ({_short(error)}); get the file again") from error

    def _colors(self) -> np.ndarray | None:
        """(256, 3) uint8 colours of a palette's indices; None where pixels are colours or measurements."""
        band = self.bands[0]
        if self._dataset.colorinterp[band - 1] != ColorInterp.palette or self.dtypes[band - 1] != "uint8":
            return None
        colors = self._dataset.colormap(band)
        return np.array([colors.get(index, (0, 0, 0, 0))[:3] for index in range(256)], np.uint8)

    def _bands(self, bands: Sequence[int] | None) -> tuple[int, int, int]:
        count = self._dataset.count
        if bands is not None:
            if wrong := [band for band in bands if not 1 <= band <= count]:
                raise InputError(f"--bands: {self.path} has {count} bands, band {wrong[0]} is asked for")
            return tuple(bands)
        interpretations = enumerate(self._dataset.colorinterp, 1)
        colors = [band for band, meaning in interpretations if meaning != ColorInterp.alpha] or [1]
        return tuple(colors[:3]) if len(colors) >= 3 else (colors[0],) * 3

    def _percentiles(self, percentiles: tuple[float, float]) -> list[tuple[float, float]]:
        """Of a thumbnail of the whole scene, so that every window gets the same."""
        size = min(self.height, _SAMPLE), min(self.width, _SAMPLE)
        whole = Window(0, 0, self.width, self.height)
        pixels, valid = self._read(whole, out_shape=(len(self.bands), *size)), self.valid(whole, size)
        if not valid.any():
            raise InputError(f"{self.path}: no pixel with data; is the no-data value {self.nodata} right?")
        ranges = []
        for band in pixels:
            low, high = np.percentile(band[valid].astype(np.float64), percentiles)
            ranges.append((float(low), float(high) if high > low else float(low) + 1.0))
        return ranges


def _short(error: Exception) -> str:
    return " ".join(str(error.__cause__ or error).split())[:200]
