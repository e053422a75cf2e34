"""Read a raster as three 8-bit bands, and a mask of the pixels with data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, Resampling
from rasterio.windows import Window

from sgovss.errors import InputError
from sgovss.label_ids import IMAGE_PAD_VALUE

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
        if percentiles is not None or any(self.dtypes[band - 1] != "uint8" for band in self.bands):
            self.stretch = self._percentiles(percentiles or PERCENTILES)

    def read(self, window: Window, size: tuple[int, int]) -> np.ndarray:
        """Read a window.

        Args:
            window: in pixels.
            size: (height, width) of the result.

        Returns:
            (height, width, 3) uint8 RGB; pixels without data are grey.

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
            with np.errstate(over="ignore"):  # no-data values of 64 bits
                pixels = self._read(window, out_shape=shape, resampling=resampling).astype(np.float32)
        if self.stretch is not None:
            low, high = np.array(self.stretch, np.float32).T[..., None, None]
            pixels = (pixels - low) * (255 / (high - low))
        # Resampling spreads NaN, so the result is checked too.
        valid = self.valid(window, size) & np.isfinite(pixels).all(axis=0)
        pixels[:, ~valid] = IMAGE_PAD_VALUE
        return np.clip(np.rint(pixels), 0, 255).astype(np.uint8).transpose(1, 2, 0)

    def valid(self, window: Window, size: tuple[int, int] | None = None) -> np.ndarray:
        """Compute which pixels of a window have data, from the no-data value, the mask and the alpha band.

        NaN and infinite values are no data.

        Args:
            window: window of the raster in pixels.
            size: (height, width) of the result; by default that of the window.

        Returns:
            (height, width) bool.
        """
        size = size or (int(window.height), int(window.width))
        shape = (len(self.bands), *size)
        masks = self._dataset.read_masks(list(self.bands), window=window, out_shape=shape)
        valid = masks.any(axis=0)
        if any(np.dtype(self.dtypes[band - 1]).kind == "f" for band in self.bands):
            valid &= np.isfinite(self._read(window, out_shape=shape)).all(axis=0)
        return valid

    def close(self) -> None:
        """Close the file."""
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
