"""Find the rasters of a STAC item."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from sgovss.errors import InputError

_TIMEOUT = 30  # seconds
_LARGEST = 16 * 2**20  # bytes of an item
_RASTERS = ("image/tiff", "image/jp2", "image/vnd.stac.geotiff", "application/vnd.gdal")
_BUCKETS = {"s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/"}


def is_item(name: str) -> bool:
    """Whether a name is that of a STAC item, by its suffix."""
    return urlsplit(name).path.lower().endswith((".json", ".geojson"))


def rasters_of(name: str, wanted: Sequence[str] = ()) -> tuple[str, list[str]]:
    """Find the rasters of an item.

    Args:
        name: path or URL of the item, a JSON file.
        wanted: names of its assets; empty for its only raster, or the one called "visual".

    Returns:
        the item's id, and a name for GDAL for each asset.

    Raises:
        InputError: not an item, or it has no such asset.
    """
    item = _read(name)
    assets = item.get("assets")
    described = isinstance(assets, Mapping) and all(isinstance(asset, Mapping) for asset in assets.values())
    if "stac_version" not in item or not described or not assets:
        raise InputError(
            f"{name}: a JSON file, but no STAC item with assets; give the URL of an item, not of a catalogue"
        )
    keys = list(wanted) or _default(name, assets)
    if missing := [key for key in keys if key not in assets]:
        raise InputError(f"--asset: {name} has no asset '{missing[0]}'; it has {', '.join(assets)}")
    return str(item.get("id", "item")), [_location(name, str(assets[key].get("href", ""))) for key in keys]


def _default(name: str, assets: Mapping[str, Any]) -> list[str]:
    rasters = [key for key, asset in assets.items() if str(asset.get("type", "")).startswith(_RASTERS)]
    if len(rasters) == 1:
        return rasters
    if "visual" in assets:
        return ["visual"]
    raise InputError(
        f"{name}: a STAC item with {len(rasters)} rasters; choose by --asset among {', '.join(rasters or assets)}"
    )


def _read(name: str) -> dict[str, Any]:
    try:
        if urlsplit(name).scheme in ("http", "https"):
            with urllib.request.urlopen(name, timeout=_TIMEOUT) as answer:
                content = answer.read(_LARGEST)
        else:
            content = Path(name).read_bytes()
        item = json.loads(content)
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise InputError(f"{name}: cannot be read as JSON ({error}); give the file or URL of a STAC item") from error
    if not isinstance(item, dict):
        raise InputError(f"{name}: a JSON file, but no STAC item; give the file or URL of one")
    return item


def _location(item: str, href: str) -> str:
    """Return the name for GDAL of an asset, whose address may be relative to the item's."""
    scheme = urlsplit(href).scheme
    if scheme in _BUCKETS:
        return _BUCKETS[scheme] + href.split("://", 1)[1]
    if scheme or href.startswith("/"):
        return href
    return urljoin(item, href) if "://" in item else str(Path(item).parent / href)
