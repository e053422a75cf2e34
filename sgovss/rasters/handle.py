"""An open raster: it is read again where a connection breaks, and may have another no-data value than its file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import numpy as np
from rasterio.io import DatasetReader
from rasterio.windows import Window

from sgovss.rasters.opening import declared, open_anew, open_raster, read_pixels


class RasterHandle:
    """An open raster, for one thread.

    Args:
        name: a file, or anything else that GDAL opens.
        no_data: no-data value for the whole file in place of its own; None to leave it as it is.

    Attributes:
        name: as given.
        dataset: the raster.

    Raises:
        InputError: it cannot be opened.
    """

    dataset: DatasetReader

    def __init__(self, name: str, no_data: float | None = None) -> None:
        self.name = name
        self._no_data = no_data
        self._open(open_raster)

    def declare(self, no_data: float) -> None:
        """Give the raster another no-data value; see :func:`sgovss.rasters.opening.declared`."""
        self._no_data = no_data
        self.dataset = self._opened.enter_context(declared(self.dataset, no_data))

    def read(self, window: Window, bands: Sequence[int], **options: object) -> np.ndarray:
        """Read pixels (bands, h, w); the options are those of rasterio.

        Raises:
            InputError: they cannot be read.
        """
        return self._from_file(lambda dataset: dataset.read(list(bands), window=window, **options))

    def read_masks(self, window: Window, bands: Sequence[int], **options: object) -> np.ndarray:
        """Read the masks (bands, h, w), as :meth:`read`."""
        return self._from_file(lambda dataset: dataset.read_masks(list(bands), window=window, **options))

    def another(self) -> RasterHandle:
        """Open the same raster again, for use in another thread."""
        return RasterHandle(self.name, self._no_data)

    def close(self) -> None:
        """Close the file."""
        self._opened.close()

    def _open(self, opener: Callable[[str], DatasetReader]) -> DatasetReader:
        with ExitStack() as opened:
            self.dataset = opener(self.name)
            opened.callback(self.dataset.close)  # in any thread; its context manager must end where it began
            self._opened = opened
            if self._no_data is not None:
                self.declare(self._no_data)
            self._opened = opened.pop_all()
        return self.dataset

    def _open_again(self) -> DatasetReader:
        self.close()
        return self._open(open_anew)

    def _from_file(self, read: Callable[[DatasetReader], np.ndarray]) -> np.ndarray:
        return read_pixels(read, self.dataset, self._open_again)
