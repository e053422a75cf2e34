"""Open what GDAL names: files, URLs, files inside archives, subdatasets and services."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.io import DatasetReader, MemoryFile

from sgovss.errors import InputError
from sgovss.rasters.names import absolute_name, is_local, without_permits

_REMOTE = {  # a server that stalls or drops a connection is asked again, and ends in an error, not in a wait for ever
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "1",
    "GDAL_HTTP_RETRY_CODES": "429,500,502,503,504",
    "CPL_VSIL_CURL_USE_HEAD": "NO",  # signed URLs are for GET only
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_LOW_SPEED_TIME": "60",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
}
_DESCRIPTIONS = ("VRT", "WMS")  # drivers of files that only describe a raster, in XML
_SERVICES = (b"<GDAL_WMS>", b"<GDAL_WMTS>", b"<WCS_GDAL>")
_TAG = re.compile(r"<[!/a-z][^<>]*>", re.IGNORECASE)
_NETWORK = ("/vsicurl", "/vsis3", "/vsigs", "/vsiaz", "/vsiadls", "/vsioss", "/vsiswift", "/vsiwebhdfs")


class NoSingleRaster(InputError):
    """A file that GDAL opens, but that holds no raster, or several."""


class SeveralRasters(NoSingleRaster):
    """A file that holds several rasters."""


def remote_options() -> dict[str, str]:
    """Return options of GDAL for rasters on servers. Those that the user has set in the environment are left out."""
    return {key: value for key, value in _REMOTE.items() if key not in os.environ}


def open_raster(name: str | Path) -> DatasetReader:
    """Open a raster for reading.

    Args:
        name: a path, or any other name that GDAL opens.

    Raises:
        InputError: it cannot be opened.
        NoSingleRaster: it holds no raster.
        SeveralRasters: it holds several.
    """
    local = is_local(name)
    # A GeoTIFF on a server has no files beside it. To look for them takes 40 requests.
    alone = not local and str(name).lower().endswith((".tif", ".tiff"))
    try:
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR" if alone else "FALSE"):
            # A path may hold characters that mean something in a name, such as '!' or ':'.
            dataset = rasterio.open(Path(name).absolute() if local else str(name))
    except rasterio.errors.RasterioError as error:
        raise InputError(
            f"{name}: not a raster that can be read ({reason(error)}); correct the name, or get it again"
        ) from error
    if dataset.count:
        return dataset
    parts = list(dataset.subdatasets)
    dataset.close()
    if len(parts) == 1:
        return open_raster(parts[0])
    if not parts:
        raise NoSingleRaster(f"{name}: holds no band")
    listed = ", ".join(parts[:8]) + (f" and {len(parts) - 8} more" if len(parts) > 8 else "")
    raise SeveralRasters(f"{name}: holds {len(parts)} rasters; give the name of one: {listed}")


def open_anew(name: str | Path) -> DatasetReader:
    """Open a raster on a server without what GDAL has kept of it, which may be cut off."""
    with rasterio.Env(CPL_VSIL_CURL_NON_CACHED="/vsicurl/:/vsis3/:/vsigs/:/vsiaz/"):
        open_raster(name).close()  # GDAL forgets the file when it closes it
    return open_raster(name)


@contextmanager
def declared(dataset: DatasetReader, no_data: float) -> Iterator[DatasetReader]:
    """Open a raster again with another no-data value, which GDAL then applies wherever it reads and resamples.

    GDAL prefers the mask of a file to the value, so this is for rasters without one.
    """
    # No "with" for what is closed later: rasterio ties it to an environment of the thread that opens it.
    with ExitStack() as opened:
        memory = MemoryFile(ext=".vrt")
        opened.callback(memory.close)
        rasterio.shutil.copy(dataset, memory.name, driver="VRT")
        with rasterio.open(memory.name, "r+") as virtual:
            # -3.4028235e38 is the least float32 as people write it, but as a double it is less.
            virtual.nodata = float(np.array(no_data, dataset.dtypes[0]))
        virtual = rasterio.open(memory.name)
        opened.callback(virtual.close)
        yield virtual


def check_no_data(dataset: DatasetReader, no_data: float) -> None:
    """Check that the bands of a raster can hold a no-data value.

    Raises:
        InputError: their data type cannot.
    """
    wrong = [dtype for dtype in dataset.dtypes if not _holds(dtype, no_data)]
    if wrong:
        raise InputError(
            f"--no-data: {no_data:g} is no {wrong[0]} value, as {dataset.name} has; leave it out, or give another value"
        )


def _holds(dtype: str, value: float) -> bool:
    """Whether a data type can hold a value."""
    if np.dtype(dtype).kind not in "iu":
        return True
    return value.is_integer() and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max


def is_remote(dataset: DatasetReader) -> bool:
    """Whether the pixels of a raster come from a server, also through the description of a part of it."""
    files = dataset.files
    return dataset.driver in ("WMS", "WMTS", "WCS") or any(
        file.startswith(_NETWORK) or _is_service(file) for file in files
    )


def identity(name: str | Path, dataset: DatasetReader) -> list[str]:
    """Return what changes when a raster changes: its name, and a digest of names, sizes and times of its files.

    A file has one name, however it is typed, and URLs are without what permits to read them for a while. Of a
    description, such as a VRT, the content counts instead of the time, because it may be written again.
    """
    digest = hashlib.blake2b(digest_size=12)
    for file in [str(name), *dataset.files]:
        digest.update(os.fsencode(_resolved(file)))
        if not is_local(file):
            continue
        stat = Path(file).stat()
        if dataset.driver in _DESCRIPTIONS and _is_xml(file):
            digest.update(without_permits(Path(file).read_text(encoding="utf-8", errors="replace")).encode())
        else:
            digest.update(f"{stat.st_size} {stat.st_mtime_ns}".encode())
    return [_resolved(name), digest.hexdigest()]


def _resolved(name: str | Path) -> str:
    """Return the one name of a file, or of another raster."""
    return str(Path(name).resolve()) if is_local(name) else without_permits(absolute_name(name))


def _is_xml(file: str) -> bool:
    """Whether a file may be a description; those that GDAL reads begin with an element."""
    with Path(file).open("rb") as content:
        return content.read(64).lstrip().startswith(b"<")


def _is_service(file: str) -> bool:
    """Whether a file describes a service for GDAL."""
    if not file.lower().endswith(".xml") or not is_local(file):
        return False
    with Path(file).open("rb") as content:
        return content.read(64).lstrip().startswith(_SERVICES)


def reason(error: Exception) -> str:
    """Return the message of GDAL behind an error as one short line, without the tags of a server's page."""
    return " ".join(_TAG.sub(" ", str(error.__cause__ or error)).split())[:200]


def read_pixels(
    read: Callable[[DatasetReader], np.ndarray],
    dataset: DatasetReader,
    again: Callable[[], DatasetReader] | None = None,
) -> np.ndarray:
    """Read pixels; from a server several times if a connection breaks in the middle, which GDAL takes for the end.

    Args:
        read: reads them.
        dataset: the raster.
        again: opens the raster anew, because GDAL keeps what it has got; None to try once.

    Raises:
        InputError: they cannot be read.
    """
    delays = _delays() if again is not None and is_remote(dataset) else []
    try:
        return read(dataset)
    except rasterio.errors.RasterioError as error:
        failure = error
    for delay in delays:
        time.sleep(delay)
        try:
            return read(again()) if again else read(dataset)
        except (rasterio.errors.RasterioError, InputError):
            continue
    raise _failed_read(dataset.name, delays, failure) from failure


def _delays() -> list[float]:
    """Return the seconds to wait before each further attempt; they double."""
    keys = "GDAL_HTTP_RETRY_DELAY", "GDAL_HTTP_MAX_RETRY"
    first, count = (float(os.environ.get(key, _REMOTE[key])) for key in keys)
    return [first * 2**i for i in range(int(count))]


def _failed_read(name: str, delays: list[float], error: Exception) -> InputError:
    """Return the error for pixels that could not be read."""
    if delays:
        advice = "the server did not send them all; try again later"
        return InputError(f"{name}: pixels are missing ({reason(error)}); {advice}")
    return InputError(f"{name}: damaged or cut off ({reason(error)}); get the file again")
