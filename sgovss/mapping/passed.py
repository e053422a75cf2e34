"""What Python code passes as an image, as a file: arrays, PIL images and ``xarray.DataArray``."""

from __future__ import annotations

import filecmp
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from PIL import Image

from sgovss.errors import InputError
from sgovss.files import atomic_path
from sgovss.inference.inputs import rgb_pixels
from sgovss.mapping.libraries import library

if TYPE_CHECKING:
    import xarray

Source: TypeAlias = "str | Path | np.ndarray | Image.Image | xarray.DataArray | list[str | Path]"
"""What :func:`sgovss.segment` takes."""

FOLDER = ".passed"
"""Folder of the outputs for the files of what was passed."""

_WANTED = (
    "give a file, a name that GDAL opens, a folder or a list of these; an array (H, W, 3) uint8 RGB, a PIL image, or "
    "an xarray.DataArray with dimensions (band, y, x)"
)


def names_of(source: Any, output: Path) -> list[str]:
    """Return the names that stand for a source: those given, or that of a file that is written.

    Args:
        source: see :data:`Source`.
        output: folder of the outputs. What is no file is written below it, in ``.passed``.

    Raises:
        InputError: the source is none of these, or cannot be used.
    """
    if isinstance(source, list | tuple):
        if not source or not all(isinstance(item, str | Path) for item in source):
            raise InputError(f"segment: a list of images must hold names of files, one or more; {_WANTED}")
        return [_name(item) for item in source]
    if isinstance(source, str | Path):
        return [_name(source)]
    if _is_data_array(source):
        return [_write_raster(source, output / FOLDER / f"{_title(source.name) or 'raster'}.tif")]
    if isinstance(source, np.ndarray | Image.Image):
        file = getattr(source, "filename", "")  # None for some arrays, bytes for some images
        title = _title(Path(file).stem) if isinstance(file, str | Path) else ""
        return [_write_picture(rgb_pixels(source), output / FOLDER / f"{title or 'image'}.png")]
    raise InputError(f"segment: cannot segment a {type(source).__name__}; {_WANTED}")


def _name(name: str | Path) -> str:
    text = str(name)
    if not text.strip():
        raise InputError(f"segment: the name of an image is empty; {_WANTED}")
    return str(Path(text).expanduser()) if text.startswith("~") else text


def _title(name: object) -> str:
    """Return what a name has of letters, digits, hyphens and underscores, for the names of files."""
    return "" if name is None else re.sub(r"[^\w-]+", "_", str(name)).strip("_")[:100]


def _is_data_array(source: Any) -> bool:
    loaded = sys.modules.get("xarray")  # a DataArray cannot be there without it
    return loaded is not None and isinstance(source, loaded.DataArray)


@contextmanager
def _rewritten(path: Path) -> Iterator[Path]:
    """As :func:`atomic_path`; equal content keeps its time, so that an earlier run on the same array is continued."""
    with atomic_path(path) as partial:
        yield partial
        if path.is_file() and filecmp.cmp(partial, path, shallow=False):
            shutil.copystat(path, partial)


def _write_picture(pixels: np.ndarray, path: Path) -> str:
    with _rewritten(path) as partial:
        Image.fromarray(pixels).save(partial, compress_level=1)
    return str(path)


def _write_raster(array: xarray.DataArray, path: Path) -> str:
    """Write a GeoTIFF with the CRS, the transform and the no-data value of the array, without a mirror image.

    Raises:
        InputError: its dimensions are no bands, rows and columns, or its values no numbers.
    """
    library("rioxarray", "an xarray.DataArray")
    library("rasterio", "an xarray.DataArray", "geo")
    kind = array.dtype.kind
    if kind not in "buif":
        raise InputError(
            f"segment: the values of the DataArray are {array.dtype}, not numbers; convert them with .astype()"
        )
    try:
        rows, columns = array.rio.y_dim, array.rio.x_dim
    except Exception as error:  # rioxarray's own classes
        raise InputError(f"segment: the DataArray has dimensions {array.dims}; name them (band, y, x)") from error
    if not array.size:
        raise InputError(f"segment: the DataArray of shape {array.shape} has no pixel; give one that has")
    others = [name for name in array.dims if name not in (rows, columns)]
    if len(others) > 1:
        array = array.squeeze([name for name in others if array.sizes[name] == 1][: len(others) - 1])
        others = [name for name in array.dims if name not in (rows, columns)]
    if len(others) > 1:
        raise InputError(f"segment: the DataArray has dimensions {array.dims}; choose one {others[0]}, as by .isel()")
    array = array.transpose(*others, rows, columns)
    place = array.rio.transform(recalc=True)
    if array.rio.crs is not None and place.determinant > 0:  # a mirror image, which is another picture for the model
        array = array.isel({rows: slice(None, None, -1)})
        mirror = type(place)(1, 0, 0, 0, -1, array.sizes[rows])
        array = array.rio.write_transform(place @ mirror)  # a turned raster has no coordinates that tell it
    if kind == "b" or array.dtype == np.float16:
        array = array.astype("uint8" if kind == "b" else "float32")
    with _rewritten(path) as partial:
        array.rio.to_raster(partial, driver="GTiff", tiled=True)
    return str(path)
