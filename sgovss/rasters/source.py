"""Read a raster as three 8-bit bands, and a mask of the pixels with data."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.io import DatasetReader
from rasterio.windows import Window

from sgovss.data.mapper import IMAGE_PAD_VALUE
from sgovss.errors import InputError
from sgovss.rasters.bands import choose_bands
from sgovss.rasters.georeference import RasterGeoreference
from sgovss.rasters.no_data import SAMPLE, find_no_data
from sgovss.rasters.opening import declared, identity, open_anew, open_raster, read_pixels
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
        no_data, fit_gcps: see :class:`sgovss.rasters.options.SceneOptions`.

    Attributes:
        name: as given.
        path: the name as a path, for titles.
        identity: what changes when the raster changes, for settings of a run.
        height, width: in pixels.
        crs, transform: as rasterio's; ``crs`` may be None.
        georeference: these, ground control points and RPCs.
        bands: 1-based numbers of the bands in use.
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
        no_data: str | float = AUTO,
        fit_gcps: bool = False,
    ) -> None:
        self.name, self.path = str(name), Path(name)
        self._opened = ExitStack()
        with self._opened:
            self._dataset = self._opened.enter_context(open_raster(name))
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
            self._no_data = find_no_data(self._dataset, self.bands, no_data, palette=self._palette is not None)
            self.remarks = [line for line in (self.georeference.remark, *self._no_data.remarks) if line]
            if self._no_data.value is not None:
                self._dataset = self._opened.enter_context(declared(self._dataset, self._no_data.value))
            self.nodata = self._dataset.nodata
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
        valid = np.ones(size, bool)
        if self._no_data.masked:
            masks = read_pixels(
                lambda dataset: dataset.read_masks(list(self.bands), window=window, out_shape=shape),
                self._dataset,
                self._open_again,
            )
            valid = masks.max(axis=0) > 0
        collars = [collar for collar in self._no_data.collars if collar.touches(window)]
        floats = any(np.dtype(self.dtypes[band - 1]).kind == "f" for band in self.bands)
        if collars or floats:
            pixels = self._read(window, out_shape=shape)
            if floats:
                valid &= np.isfinite(pixels).all(axis=0)
            for collar in collars:
                valid &= ~collar(pixels, window)
        return valid

    def close(self) -> None:
        """Close the file."""
        self._opened.close()

    def __enter__(self) -> RasterSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, window: Window, **options: object) -> np.ndarray:
        return read_pixels(
            lambda dataset: dataset.read(list(self.bands), window=window, **options), self._dataset, self._open_again
        )

    def _open_again(self) -> DatasetReader:
        self._opened.close()
        self._dataset = self._opened.enter_context(open_anew(self.name))
        if self._no_data.value is not None:
            self._dataset = self._opened.enter_context(declared(self._dataset, self._no_data.value))
        return self._dataset

    @property
    def ground(self) -> tuple[CRS | None, Affine]:
        """CRS and affine transform for sizes of pixels: the exact ones, or those fitted to control points or RPCs."""
        return self.georeference.ground or (self.crs, self.transform)

    def values(self, limit: int) -> np.ndarray:
        """Return values of about ``limit`` pixels with data, evenly spread over the raster: (bands, n) float32."""
        pixels, valid = self._thumbnail()
        found = pixels[:, valid].astype(np.float32)
        return found[:, :: max(1, found.shape[1] // limit)]

    def _check_orientation(self) -> None:
        if (turned := self._dataset.tags().get("EXIF_Orientation", "1")) not in ("0", "1"):
            raise InputError(
                f"{self.name}: has EXIF orientation {turned}, which is not supported for rasters; rotate the "
                "pixels and remove the tag, for example with 'exiftran -ai'"
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
            return [*ranges] * 3 if len(ranges) == 1 else [*ranges]
        if percentiles is None and all(self.dtypes[band - 1] == "uint8" for band in self.bands):
            return None
        return self._percentiles(percentiles or PERCENTILES)

    def _colors(self) -> np.ndarray | None:
        """Return the (256, 3) uint8 colours of the palette; None if the raster has no palette."""
        band = self.bands[0]
        if self._dataset.colorinterp[band - 1] != ColorInterp.palette or self.dtypes[band - 1] != "uint8":
            return None
        colors = self._dataset.colormap(band)
        return np.array([colors.get(index, (0, 0, 0, 0))[:3] for index in range(256)], np.uint8)

    def _percentiles(self, percentiles: Sequence[float]) -> list[tuple[float, float]]:
        """Return (low, high) of each band, computed on a thumbnail of the whole raster and used for all windows."""
        pixels, valid = self._thumbnail()
        ranges = []
        for band in pixels:
            low, high = np.percentile(band[valid].astype(np.float64), percentiles)
            ranges.append((float(low), float(high) if high > low else float(low) + 1.0))
        return ranges

    def _thumbnail(self) -> tuple[np.ndarray, np.ndarray]:
        """Read the whole raster at a small size: (bands, h, w), and its mask (h, w)."""
        size = min(self.height, SAMPLE), min(self.width, SAMPLE)
        whole = Window(0, 0, self.width, self.height)
        pixels, valid = self._read(whole, out_shape=(len(self.bands), *size)), self.valid(whole, size)
        if not valid.any():
            raise InputError(f"{self.name}: no pixel with data; is the no-data value {self.nodata} right?")
        return pixels, valid
