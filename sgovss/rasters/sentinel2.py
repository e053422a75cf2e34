"""Products of Sentinel-2: folders of single-band files, which GDAL joins by their resolution."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from functools import cache
from pathlib import Path, PurePosixPath

import rasterio

from sgovss.errors import InputError
from sgovss.rasters.opening import reason

_DESCRIPTION = "MTD_MSI*.xml"
_COLOURS = ":10m:"  # part of the name of the raster with red, green, blue and near infrared


def is_description(name: str) -> bool:
    """Whether a name is that of the description of a product, ``MTD_MSIL1C.xml`` or ``MTD_MSIL2A.xml``."""
    return fnmatch(PurePosixPath(name).name, _DESCRIPTION)


def title_of(description: str) -> Path:
    """The name of the product of a description, without ``.SAFE``."""
    folder = Path(description).parent
    return Path((folder.resolve() if folder.is_dir() else folder).name.removesuffix(".SAFE"))


def scene_of(description: str) -> str:
    """The name for GDAL of the bands of 10 m of a product.

    Raises:
        InputError: the description cannot be read, or the product has no such bands, or those of several zones.
    """
    try:
        with rasterio.open(description) as product:
            parts = [name for name in product.subdatasets if _COLOURS in name]
    except rasterio.errors.RasterioError as error:
        raise InputError(
            f"{description}: not a Sentinel-2 product that can be read ({reason(error)}); give its files of red, green "
            "and blue with --stack"
        ) from error
    if len(parts) != 1:
        found = "has no bands of 10 m; give its files of red, green and blue with --stack"
        if parts:
            found = f"has several zones; give the name of one: {', '.join(parts)}"
        raise InputError(f"{description}: {found}")
    return parts[0]


def joined_products(files: Mapping[str, Path], folder: Path) -> dict[str, Path]:
    """Put one scene in the place of all files of a product.

    Args:
        files: image -> relative path of its outputs.
        folder: in which they were found.

    Raises:
        InputError: see :func:`scene_of`.
    """
    found: dict[str, Path] = {}
    scenes: dict[Path, str] = {}
    described = cache(_descriptions)  # each folder is listed once, not for each of its files
    for name, title in files.items():
        product = next((each for each in _around(name, folder) if described(each)), None)
        if product is None:
            found[name] = title
        elif product not in scenes:
            description = str(described(product)[0])
            scenes[product] = scene_of(description)
            found[scenes[product]] = product.relative_to(folder).parent / title_of(description)
    return found


def _descriptions(folder: Path) -> list[Path]:
    return sorted(folder.glob(_DESCRIPTION))


def _around(name: str, folder: Path) -> list[Path]:
    """The folders around a file, up to the given one."""
    parents = Path(name).parents
    return [*parents[: [*parents].index(folder) + 1]] if folder in parents else []
