"""Scenes: GeoTIFFs and other deep or georeferenced rasters, segmented by the scene engine into files."""

from __future__ import annotations

import functools
import hashlib
import re
import shutil
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio.windows import Window

from sgovss.errors import InputError
from sgovss.inference.predictor import ImagePredictor
from sgovss.inference.ranking import Ranking, rank_others
from sgovss.inference.segmentation import Segmentation
from sgovss.page.answers import Download, Picture, View, jpeg, shares_csv, shares_json
from sgovss.page.asked import Asked
from sgovss.page.photographs import LONGEST, refuse_large
from sgovss.rasters.gdal import gdal_environment
from sgovss.rasters.options import AUTO, SceneOptions
from sgovss.rasters.scene import SceneMapper
from sgovss.rasters.source import RasterSource

_SUFFIXES = {"GTiff": ".tif", "JP2OpenJPEG": ".jp2", "PNG": ".png"}  # drivers that uploads may be opened with
_MOST_CACHED = 16_000_000  # pixels; the encoded windows of larger scenes would fill the temporary folder
_MOST_SCORES = 1_000_000_000  # pixels times classes: the scores of all classes are files
_MOST_OF_A_BLOCK = 2**30  # bytes of one block of a file, which GDAL decodes in one piece
_MOST_ANSWERS = 4  # sets of products of a scene, one for each set of classes and threshold; they are files
_VIEW = 1536  # longest side in pixels of the labels for the screen


@dataclass(frozen=True)
class _Kept:
    """A scene in its folder, and the folders of its products, the last used at the end.

    Attributes:
        no_data: see :class:`sgovss.rasters.options.SceneOptions`.
    """

    picture: Picture
    file: Path
    preview: bytes
    no_data: str
    answers: dict[str, None] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) for the screen."""
        return _fitting(self.picture.height, self.picture.width, _VIEW)

    def answer(self, name: str) -> Path:
        """Return a folder for products, and delete the one that was not used for longest if there are many."""
        self.answers.pop(name, None)
        self.answers[name] = None
        if len(self.answers) > _MOST_ANSWERS:
            oldest = next(iter(self.answers))
            del self.answers[oldest]
            shutil.rmtree(self.file.parent / oldest, ignore_errors=True)
        return self.file.parent / name


class SceneDesk:
    """Holds scenes and segments them; see :class:`sgovss.page.answers.Desk`.

    Args:
        predictor: the model.
        folder: for the scenes and their products. It belongs to this desk; files of scenes that are not kept any
            longer are deleted.
        lock: held while the model is in use.
        kept: number of scenes to keep.
    """

    def __init__(self, predictor: ImagePredictor, folder: Path, lock: threading.Lock, kept: int = 2) -> None:
        self._predictor = predictor
        self._folder = folder
        self._lock = lock
        self._kept = kept
        self._scenes: OrderedDict[str, _Kept] = OrderedDict()
        self._filled: dict[str, float] = {}  # of scenes that are being segmented

    def holds(self, name: str) -> bool:
        """Whether a name is that of a scene."""
        return name.startswith("scene-")

    def add(self, content: bytes, title: str, no_data: str = AUTO) -> Picture:
        """Keep a scene.

        Args:
            content: of a TIFF, JPEG 2000 or PNG file.
            title: its file name, for messages.
            no_data: see :class:`sgovss.rasters.options.SceneOptions`. All pixels of a photograph have data: its border
                may be sky, snow or shadow.

        Raises:
            InputError: it cannot be read, or has too many pixels.
        """
        name = f"scene-{hashlib.blake2b(content, digest_size=8).hexdigest()}"
        with self._lock:
            if name not in self._scenes:
                self._scenes[name] = self._keep(name, content, title, no_data)
                if len(self._scenes) > self._kept:
                    _, oldest = self._scenes.popitem(last=False)
                    shutil.rmtree(oldest.file.parent)
            self._scenes.move_to_end(name)
            return self._scenes[name].picture

    def preview(self, name: str) -> bytes:
        """Return a JPEG of the scene for the screen."""
        return self._find(name).preview

    def progress(self, name: str) -> float | None:
        """How much of a scene is segmented, 0 to 1; None if none of it is being segmented now."""
        return self._filled.get(name)

    def view(self, asked: Asked) -> View:
        """Segment a scene; the threshold is not applied."""
        asked = asked.without_threshold()
        kept = self._find(asked.picture)
        with self._lock:
            result = self._segment(kept, asked)
            ranking, valid = _read_ranking(result.files, kept.size)
        return View(asked.legend, ranking, result.shares, result.areas, valid, step=0.01)

    def labels(self, asked: Asked) -> Download:
        """Segment a scene and return its label map as GeoTIFF."""
        with self._lock:
            result = self._segment(self._find(asked.picture), asked)
            return Download(result.files["labels"].open("rb"), "labels.tif", "image/tiff")

    def files(self, asked: Asked) -> Download:
        """Segment a scene and return labels, their style for QGIS, polygons, overlay and shares as a zip."""
        with self._lock:
            result = self._segment(self._find(asked.picture), asked)
            archive = result.files["labels"].with_name("files.zip")
            _write_archive(archive, result)
            return Download(archive.open("rb"), "segmentation.zip", "application/zip")

    def _find(self, name: str) -> _Kept:
        kept = self._scenes.get(name)
        if kept is None:
            raise InputError("the image is no longer in memory; drop it again")
        return kept

    def _keep(self, name: str, content: bytes, title: str, no_data: str) -> _Kept:
        folder = self._folder / name
        folder.mkdir()
        try:
            file = folder / f"upload{_checked(content, title)}"
            file.write_bytes(content)
            with _named(file, title), gdal_environment(), RasterSource(file, no_data=no_data) as source:
                preview = _preview(source)
                picture = Picture(name, source.width, source.height, title, _note(source), scene=True)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise InputError(
                f"{title}: cannot write it to {folder.parent} ({error.strerror}); make room, or set TMPDIR"
            ) from error
        except BaseException:
            shutil.rmtree(folder)
            raise
        return _Kept(picture, file, preview, no_data)

    def _segment(self, kept: _Kept, asked: Asked) -> Segmentation:
        """Run the scene engine, unless it has finished with the same classes; the only place that does so."""
        pixels = kept.picture.height * kept.picture.width
        if len(asked.scored) > (most := _MOST_SCORES // pixels):
            raise InputError(f"classes: {len(asked.scored)} are too many for this scene; give at most {most}")
        settings = repr(([entry.names for entry in asked.scored], asked.rejection, asked.gsd))
        digest = hashlib.blake2b(settings.encode(), digest_size=8).hexdigest()
        options = SceneOptions(
            no_data=kept.no_data,
            gsd=asked.gsd,
            confidence=True,
            probabilities=True,
            polygons=True,
            cache=kept.file.with_name("cache") if pixels <= _MOST_CACHED else None,
            rejection=asked.rejection,
        )
        with _named(kept.file, kept.picture.title):
            segment, name = SceneMapper(self._predictor, asked.vocabulary, options), kept.picture.name
            try:
                return segment(kept.file, kept.answer(digest) / "scene", functools.partial(self._tell, name))
            finally:
                self._filled.pop(name, None)

    def _tell(self, name: str, filled: float) -> None:
        self._filled[name] = filled


def _checked(content: bytes, title: str) -> str:
    """Check an upload and return the suffix for its kind of file.

    Only these drivers may open it: others, such as VRT, read the files that it names.

    Raises:
        InputError: it is of no such kind, damaged, or has too many pixels or too large blocks.
    """
    try:
        with gdal_environment(), rasterio.MemoryFile(content) as file, file.open(driver=[*_SUFFIXES]) as raster:
            refuse_large(raster.height, raster.width, title)
            rows, columns = raster.block_shapes[0]
            if rows * columns * raster.count * np.dtype(raster.dtypes[0]).itemsize > _MOST_OF_A_BLOCK:
                raise InputError(
                    f"{title}: its blocks are too large for this page; keep three bands in tiles, with "
                    "'gdal_translate -b 1 -b 2 -b 3 -co TILED=YES'"
                )
            return _SUFFIXES[raster.driver]
    except rasterio.errors.RasterioError as error:
        raise InputError(f"{title}: cannot read this scene; copy it again, it may be damaged or cut off") from error


@contextmanager
def _named(file: Path, title: str) -> Iterator[None]:
    """Name a scene, and the option of its resolution, in messages as the page names them."""
    try:
        yield
    except InputError as error:
        text = str(error).replace(str(file), title).replace("another --gsd", "other metres per pixel under More")
        text = text.replace("give --no-data none", "use 'sgovss segment --no-data none'")
        raise InputError(text) from error


def _place(source: RasterSource) -> str:
    """Name the coordinates of a scene: their code, or the name in their WKT."""
    if source.crs is None:
        return "not georeferenced"
    text = source.crs.to_string()
    return text.split('"')[1] if text.count('"') > 1 else text[:60]


def _note(source: RasterSource) -> str:
    """Name the coordinates of a scene, and what was found out about its pixels, without the options of the command."""
    told = [re.split(r"; | \(--", line)[0] for line in source.remarks]
    return "; ".join([_place(source), *told])


def _fitting(height: int, width: int, longest: int) -> tuple[int, int]:
    factor = min(1.0, longest / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def _preview(source: RasterSource) -> bytes:
    whole = Window(0, 0, source.width, source.height)
    return jpeg(source.read(whole, _fitting(source.height, source.width, LONGEST))[0])


def _read_ranking(files: Mapping[str, Path], size: tuple[int, int]) -> tuple[Ranking, np.ndarray]:
    """Read labels and scores of a scene, shrunk to (height, width) pixels; also the pixels with data."""
    with gdal_environment(), rasterio.open(files["labels"]) as raster:
        labels = raster.read(1, out_shape=size)
        valid = labels != raster.nodata
    with gdal_environment(), rasterio.open(files["probabilities"]) as raster:
        percents = raster.read(out_shape=(raster.count, *size))
    scores = torch.from_numpy(np.where(valid, percents, 0).astype(np.float32) / 100)
    return rank_others(scores, torch.from_numpy(np.where(valid, labels, 0).astype(np.int64))), valid


def _write_archive(path: Path, result: Segmentation) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for kind in ("labels", "style", "polygons", "overlay"):
            file = result.files[kind]
            archive.write(file, file.name.removeprefix("scene_"))
        archive.writestr("shares.json", shares_json(result.shares, result.areas))
        archive.writestr("shares.csv", shares_csv(result.shares, result.areas))
