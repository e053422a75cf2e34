"""Find the scenes and photographs that a user names, and prepare what GDAL is to open for each."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyproj

from sgovss import paths
from sgovss.errors import InputError
from sgovss.files import atomic_path
from sgovss.inference.inputs import RASTER_SUFFIXES, files_of, named_apart
from sgovss.rasters.folders import images_among, is_dataset
from sgovss.rasters.gdal import gdal_environment
from sgovss.rasters.georeference import RasterGeoreference
from sgovss.rasters.names import is_local, without_permits
from sgovss.rasters.opening import NoSingleRaster, open_raster
from sgovss.rasters.options import AUTO
from sgovss.rasters.sentinel2 import is_description, joined_products, scene_of, title_of
from sgovss.rasters.source import RasterSource
from sgovss.rasters.stac import is_item, rasters_of
from sgovss.rasters.tiles import describe_tiles, is_tile_server, side_of_tiles
from sgovss.rasters.virtual import Bounds, Tile, mosaic, overlapping, stack

logger = logging.getLogger(__name__)

_PHOTOGRAPHS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "BIGGIF", "PNM", "SGI", "TGA", "XPM")
_FOLDER = ".scenes"  # of the outputs; holds the descriptions of scenes that are no single file


@dataclass(frozen=True)
class InputOptions:
    """How the names of a user become scenes. Messages name an option by its flag of ``sgovss segment``.

    Args:
        mosaic: all files are tiles of one scene.
        stack: all files are bands of one scene.
        asset: assets of a STAC item to use; several are the bands of a scene.
        bounds: (west, south, east, north) in degrees, the part of each scene to segment.
        gsd: metres per pixel, which chooses the level of a server of map tiles.
        no_data: see :class:`sgovss.rasters.options.SceneOptions`; what a tile of a mosaic leaves to the tiles below.

    Raises:
        InputError: the options contradict each other, or the bounds are none.
    """

    mosaic: bool = False
    stack: bool = False
    asset: tuple[str, ...] = ()
    bounds: tuple[float, ...] | None = None
    gsd: float = 0.0
    no_data: str | float = AUTO

    def __post_init__(self) -> None:
        if self.mosaic and self.stack:
            raise InputError(
                "--mosaic and --stack exclude each other; give --mosaic for tiles, or --stack for bands, of one scene"
            )
        if self.bounds is None:
            return
        if len(self.bounds) != 4:
            raise InputError("--bounds: give 4 numbers with commas: west,south,east,north in degrees")
        west, south, east, north = self.bounds
        if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
            raise InputError(f"--bounds: {west:g},{south:g},{east:g},{north:g} is not west,south,east,north in degrees")


def find_inputs(names: Sequence[str], output: str | Path, options: InputOptions | None = None) -> dict[str, Path]:
    """Find the images that a user names, and name the outputs of each.

    Args:
        names: files, folders that are searched with their subfolders, and anything else that GDAL opens: URLs, files in
            archives (``/vsizip/``), subdatasets, servers of map tiles (``xyz:``) and STAC items. A Sentinel-2 product
            (``.SAFE``) is one scene of its bands of 10 m.
        output: folder of the outputs; scenes that are no single file are described there in ``.scenes``.
        options: how they become scenes; None for each by itself.

    Returns:
        name that GDAL or Pillow opens -> relative path of the outputs, without suffix.

    Raises:
        InputError: there is no such file, or the outputs of two images have the same name.
    """
    options = options or InputOptions()
    folder = Path(output) / _FOLDER
    found: dict[str, Path] = {}
    with gdal_environment():
        for name in names:
            found |= _images(name, folder, options)
        if options.mosaic or options.stack:
            found = _joined(names, found, folder, options)
        elif options.bounds is not None:
            found = _parts(named_apart(found), folder, options)
    return named_apart(found)


def is_scene(name: str | Path) -> bool:
    """Whether an image is a scene, that is a raster to be segmented window by window, and not a photograph.

    What GDAL finds georeferenced is a scene, whatever the name of the file; so is a file in a format of rasters.
    """
    if not is_local(name):
        return True
    try:
        with gdal_environment(), open_raster(name) as dataset:
            return dataset.driver not in _PHOTOGRAPHS or RasterGeoreference.of(dataset).exists
    except NoSingleRaster:
        return True
    except InputError:
        return Path(name).suffix.lower() in RASTER_SUFFIXES


def _images(name: str, folder: Path, options: InputOptions) -> dict[str, Path]:
    """Return the images of one name of the user."""
    local = is_local(name)
    if not local and is_tile_server(name):
        return _tiles(name, folder, options)
    if (not local or paths.is_file(name)) and is_item(name):
        title, rasters = rasters_of(name, options.asset)
        return {_stacked(rasters, title, folder) if len(rasters) > 1 else rasters[0]: Path(_file_name(title))}
    if is_description(name):
        return {scene_of(name): title_of(name)}
    if not local and _is_gdal_name(name):
        return {name: Path(_title(name))}
    if paths.is_folder(name) and is_dataset(Path(name)):
        return {name: Path(Path(name).resolve().stem)}
    return joined_products(files_of(Path(name), images_among), Path(name))


def _is_gdal_name(name: str) -> bool:
    """Whether a name that is no file begins like those of GDAL: /vsi..., a URL, or the name of a driver."""
    return name.startswith(("/vsi", "<")) or re.match(r"[A-Za-z][A-Za-z0-9_+]+:.", name) is not None


def _title(name: str) -> str:
    """Return a name for the outputs of a raster that is no file of its own."""
    driver, _, rest = name.partition(":")
    if "://" in name or not rest or name.startswith("/vsi"):
        return _file_name(Path(unquote(urlsplit(name).path)).stem or urlsplit(name).netloc)
    # A subdataset, such as GPKG:folder/file.gpkg:table or NETCDF:"file.nc":variable
    parts = [part.strip('"') for part in rest.split(":")]
    return _file_name("_".join(Path(part).stem for part in parts if part) or driver)


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "_", text).strip("._")[:100] or "scene"


def _tiles(name: str, folder: Path, options: InputOptions) -> dict[str, Path]:
    """Describe a server of map tiles in a file."""
    if options.bounds is None or not options.gsd:
        raise InputError(f"{name}: a server of map tiles needs --bounds west,south,east,north and --gsd metres")
    west, south, east, north = options.bounds
    longitude, latitude = (west + east) / 2, (south + north) / 2
    side = side_of_tiles(name, options.gsd, longitude, latitude)
    title = _file_name(urlsplit(name.removeprefix("xyz:")).hostname or "tiles")
    return {_write(folder, f"{title}.xml", describe_tiles(name, options.gsd, latitude, side)): Path(title)}


def _parts(found: dict[str, Path], folder: Path, options: InputOptions) -> dict[str, Path]:
    """Describe the part of each scene within the bounds. Photographs stay as they are."""
    parts = {}
    for name, title in found.items():
        tile = _tile_or_photograph(name)
        parts[name if tile is None else _cut(tile, title, folder, options)] = title
    return parts


def _joined(names: Sequence[str], found: dict[str, Path], folder: Path, options: InputOptions) -> dict[str, Path]:
    """Describe all images as one scene. Photographs among tiles stay as they are."""
    title = _file_name(Path(names[0]).resolve().name if len(names) == 1 else "mosaic" if options.mosaic else "stack")
    if options.mosaic:
        tiles = {name: _tile_or_photograph(name) for name in found}
        photographs = {name: found[name] for name, tile in tiles.items() if tile is None}
        kept = [tile for tile in tiles.values() if tile is not None]
        if not kept:
            return photographs
        kept = _with_fillers(kept, options.no_data)
        content = mosaic(kept, None if options.bounds is None else _projected(options.bounds, kept[0]))
        return {_write(folder, f"{title}.vrt", content): Path(title), **photographs}
    scene = _stacked(list(found), title, folder) if len(found) > 1 else next(iter(found))
    return {scene if options.bounds is None else _cut(_tile(scene), Path(title), folder, options): Path(title)}


def _with_fillers(tiles: Sequence[Tile], no_data: str | float) -> list[Tile]:
    """Find the collars and fillers that tiles do not declare, so that they do not cover the data of other tiles."""
    if isinstance(no_data, str) and no_data != AUTO:
        return list(tiles)
    fillers = {}
    for tile in overlapping(tiles):
        filler = _filler_of(tile) if isinstance(no_data, str) else (float(no_data),) * len(tile.meanings)
        if filler:
            fillers[tile.name] = filler
    if fillers and isinstance(no_data, str):
        name = next(iter(fillers))
        values = ", ".join(f"{value:g}" for value in fillers[name] if value is not None)
        logger.warning(
            "--mosaic: %d of %d tiles have a constant border or filler that they do not declare, such as %s (%s); "
            "other tiles are shown there. To keep it, give --no-data declared",
            len(fillers), len(tiles), name, values,
        )  # fmt: skip
    return [replace(tile, filler=fillers.get(tile.name, ())) for tile in tiles]


def _filler_of(tile: Tile) -> tuple[float | None, ...]:
    """Return the value of each band in the largest collar or filler that a tile does not declare; empty if none."""
    try:
        with RasterSource(tile.name) as source:
            bands, found = source.bands, source.no_data
    except InputError:  # nothing but filler, or damaged, which is told where it is segmented
        return ()
    if found.fillers:
        return found.fillers[:1] * len(tile.meanings)  # GDAL takes one value for each source
    if not found.collars:
        return ()
    colour = max(found.collars, key=lambda collar: collar.share).colour
    by_band = dict(zip(bands, colour, strict=True))
    others = colour[0] if len(set(colour)) == 1 else None  # bands that are not in use most likely have it, too
    return tuple(by_band.get(band, others) for band in range(1, len(tile.meanings) + 1))


def _stacked(names: Sequence[str], title: str, folder: Path) -> str:
    return _write(folder, f"{title}.vrt", stack([_tile(name) for name in names]))


def _cut(tile: Tile, title: Path, folder: Path, options: InputOptions) -> str:
    """Describe the part of a scene within the bounds."""
    assert options.bounds is not None
    return _write(folder, f"{title}_part.vrt", mosaic([tile], _projected(options.bounds, tile)))


def _tile(name: str) -> Tile:
    with open_raster(name) as dataset:
        return Tile.of(name, dataset)


def _tile_or_photograph(name: str) -> Tile | None:
    """Return None for a photograph, for which options of rasters are not used; that is said where it is segmented."""
    try:
        return _tile(name)
    except InputError:
        if is_scene(name):
            raise
        return None


def _projected(bounds: tuple[float, ...], tile: Tile) -> Bounds:
    """Return bounds in degrees in the coordinates of a raster."""
    if tile.crs is None:
        raise InputError(f"--bounds: {tile.name} has no coordinate reference system; leave out --bounds")
    across = pyproj.Transformer.from_crs("EPSG:4326", tile.crs.to_wkt(), always_xy=True)
    west, south, east, north = bounds
    left, bottom, right, top = across.transform_bounds(west, south, east, north)
    return left, bottom, right, top


def _write(folder: Path, name: str, content: str) -> str:
    """Write a description, unless it is there already: an unfinished run must find its own unchanged.

    Its name has a digest of the content, so that no other description takes its place: one of a file of the same name
    in another folder, of other tiles or of other bounds.
    """
    digest = hashlib.blake2b(without_permits(content).encode(), digest_size=5).hexdigest()
    path = folder / name
    path = path.with_name(f"{path.stem}-{digest}{path.suffix}")
    if not path.is_file() or path.read_text(encoding="utf-8") != content:
        with atomic_path(path) as partial:
            partial.write_text(content, encoding="utf-8")
    return str(path)
