"""Find the images and rasters of a folder. GDAL is asked about files whose suffix says nothing."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import rasterio
from rasterio import Env
from rasterio.errors import RasterioError

from sgovss.errors import InputError
from sgovss.inference.inputs import IMAGE_OR_RASTER, SIDECARS, is_image
from sgovss.rasters.opening import SeveralRasters, open_raster

logger = logging.getLogger(__name__)

# Text, documents, tables and vectors. GDAL would read points from some of them, and a header makes any file a raster.
_NO_RASTERS = frozenset((
    *SIDECARS,
    ".txt", ".csv", ".tsv", ".json", ".geojson", ".html", ".htm", ".md", ".log", ".pdf", ".doc", ".docx", ".xls",
    ".xlsx", ".yaml", ".yml", ".ini", ".py", ".zip", ".tar", ".gz", ".tgz", ".7z", ".prj", ".wld", ".tab", ".cpg",
    ".dbf", ".shp", ".shx", ".sbn", ".sbx", ".qix", ".kml", ".gml", ".fgb", ".parquet", ".qml", ".qmd", ".qgz",
))  # fmt: skip
_WORLD_FILE = re.compile(r"\.(?!raw|rsw)[a-z]{2,4}w")


def is_dataset(folder: Path) -> bool:
    """Whether a folder as a whole is what GDAL opens, such as a Zarr store or an ArcInfo grid."""
    try:
        open_raster(folder).close()
    except SeveralRasters:
        return True
    except InputError:
        return False
    return True


def images_among(files: Sequence[Path], top: Path) -> list[Path]:
    """Return the images and rasters among the files below a folder, and folders that are rasters as a whole.

    Left out are files that belong to another raster, such as its header. Files that hold several rasters are left out
    with a line in the log. Another line says which files a VRT shows again.
    """
    found: set[Path] = set()
    parts: set[Path] = set()
    headers: dict[Path, Path] = {}  # a header describes one file, but GDAL takes it for that of any file of its name
    there = set(files)
    for file in _with_stores(files, top):
        named = file.suffix.lower() in IMAGE_OR_RASTER
        if named and not there & {file.with_suffix(".hdr"), file.with_name(f"{file.name}.hdr")}:
            found.add(file)
            continue
        if not named and _belongs_to_another(file, there):
            continue
        others = _other_files(file)
        if others is None:
            continue
        found.add(file)
        parts |= others
        for header in (other for other in others if other.suffix.lower() == ".hdr"):
            claims = {headers.get(header, file), file}
            headers[header] = max(claims, key=lambda each: each.stat().st_size)
            found -= claims - {headers[header]}
    images = sorted(file for file in found if file.absolute() not in parts)
    _tell_twice(images)
    return images


def _tell_twice(images: Sequence[Path]) -> None:
    """Say which files would be segmented twice: by themselves, and as parts of a VRT."""
    there = {os.path.normpath(image.absolute()): image for image in images}
    for file in (image for image in images if image.suffix.lower() == ".vrt"):
        read = {os.path.normpath(other) for other in _other_files(file) or ()}
        again = [image for name, image in there.items() if name in read]
        if again:
            logger.warning(
                "%s: shows %d of the other files in its folder, such as %s, which are segmented by themselves, too; to "
                "segment it only, give its own name, and to segment them only, move it away",
                file, len(again), again[0].name,
            )  # fmt: skip


def _with_stores(files: Sequence[Path], top: Path) -> Iterator[Path]:
    """Yield the files, but in place of those in a folder that is a raster as a whole, that folder."""
    ask = cache(is_dataset)

    @cache
    def store_of(folder: Path) -> Path | None:
        inside = [each for each in reversed((folder / "file").parents) if top in each.parents]
        return next((each for each in inside if ask(each)), None)

    stores = set()
    for file in files:
        store = store_of(file.parent)
        if store is None:
            yield file
        elif store not in stores:
            stores.add(store)
            yield store


def _other_files(file: Path) -> set[Path] | None:
    """Return the files besides it that GDAL reads for a raster; None if it is none, or several."""
    try:
        # GDAL would list the whole folder for each file.
        with Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE"), rasterio.open(file.absolute()):
            pass
        with open_raster(file) as dataset:
            return {Path(each) for each in dataset.files} - {file.absolute()}
    except SeveralRasters as error:
        logger.warning("%s; it is left out", error)
        return None
    except (InputError, RasterioError):  # a damaged image is told where it is segmented
        return set() if is_image(file) else None


def _belongs_to_another(file: Path, there: set[Path]) -> bool:
    """Whether a file is no raster by its suffix, or holds the pixels or index of an MRF, which does not list them."""
    suffix = file.suffix.lower()
    description = file.with_suffix(".mrf")
    is_part = description in there and file != description
    return suffix in _NO_RASTERS or _WORLD_FILE.fullmatch(suffix) is not None or is_part
