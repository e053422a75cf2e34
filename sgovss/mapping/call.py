"""Segment in one call from Python."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from sgovss import paths
from sgovss.errors import InputError
from sgovss.files import sole_run
from sgovss.inference.photographs import stored
from sgovss.inference.predictor import ImagePredictor
from sgovss.inference.segmentation import Segmentation
from sgovss.mapping.folder import OwnedFolder
from sgovss.mapping.options import SegmentOptions
from sgovss.mapping.passed import Source, names_of
from sgovss.mapping.result import MappedImage
from sgovss.mapping.run import Task, prepare, segment_all
from sgovss.mapping.shares import fill_share
from sgovss.vocabulary import Vocabulary, Words

_OF_MODEL = ("config_file", "onnx", "opts", "precision", "views", "quality")

logger = logging.getLogger("sgovss.segment")


def segment(
    source: Source,
    words: Words,
    output: str | os.PathLike[str] | None = None,
    *,
    predictor: ImagePredictor | None = None,
    **options: Any,
) -> MappedImage | dict[str, MappedImage] | None:
    """Segment a photograph, an array or a raster of any size into classes of your choice.

    Args:
        source: a photograph; a raster, or any other name that GDAL opens, such as a URL; a folder or a list of these;
            an array (H, W, 3) uint8 RGB; a PIL image; or an ``xarray.DataArray``, whose CRS, transform and no-data
            value are taken over.
        words: the classes, such as ``"building, road, tree|forest"``, in any form that :meth:`Vocabulary.of` takes.
        output: folder of the products. By default they are in a temporary folder, which is removed with the result.
        predictor: a model that is loaded already, for several calls; by default the one that the options name.
        **options: the options of the command ``sgovss segment``, with the same names and meanings: ``config_file`` (by
            default the embedded model), ``onnx``, ``opts`` (a dict of config keys), ``precision``, ``threshold``,
            ``background``, ``views``, ``quality``; for rasters ``bands``, ``stretch``, ``no_data``, ``mosaic``,
            ``stack``, ``asset``, ``bounds``, ``fit_gcps``, ``gsd``, ``aoi``, ``min_area``, ``confidence``,
            ``probabilities``, ``polygons``, ``simplify``, ``square``, ``segments``, ``edges``, ``cache``,
            ``overlap``, ``resume``, ``restart``; for several processes ``workers``, ``scheduler``, ``shared_folder``,
            ``share``, ``finish``. A list or number may take the place of its text.

    Returns:
        the result. A dict of results by the names of the images, if the source is a folder or a list and not joined by
        ``mosaic`` or ``stack``; images that failed are logged as errors and left out. None with ``share``, which
        only fills parts.

    Raises:
        InputError: an argument is wrong, or the image (all images; with ``share`` one of them) cannot be segmented.

    Warns:
        UserWarning: the classes may have been read in another way than meant.

    Example::

        result = sgovss.segment("county.tif", "building, road, tree|forest, water", output="county/")
        result.areas
        result.to_geodataframe(simplify=0.5)
    """
    chosen = _options(options, predictor)
    vocabulary = chosen.rejection.classes(words, stacklevel=3)
    if output is not None:
        if not isinstance(output, str | os.PathLike) or not os.fspath(output) or "\0" in os.fspath(output):
            raise InputError(f"segment: output={output!r} is no folder; give its path, or None for a temporary one")
        return _segment(source, vocabulary, Path(output).expanduser(), chosen, predictor, None)
    if chosen.share or chosen.finish:
        raise InputError("segment: shares of a run need a common folder; give output")
    owned = OwnedFolder()
    try:
        return _segment(source, vocabulary, owned.path, chosen, predictor, owned)
    except BaseException:
        owned.remove()
        raise


def _options(given: dict[str, Any], predictor: ImagePredictor | None) -> SegmentOptions:
    if predictor is not None:
        if taken := [name for name in _OF_MODEL if given.get(name) is not None]:
            raise InputError(f"segment: {taken[0]} and predictor exclude each other; the predictor has its own")
        if isinstance(predictor, type) or not (callable(predictor) and hasattr(predictor, "fingerprint")):
            kind = "class" if isinstance(predictor, type) else type(predictor).__name__
            raise InputError(f"segment: predictor is a {kind}; give a sgovss.Predictor, such as sgovss.Predictor()")
        if given.get("workers") is not None or given.get("scheduler") is not None:
            raise InputError("segment: workers load the model themselves; give config_file instead of predictor")
        return SegmentOptions.of(given)
    if given.get("config_file") is not None and given.get("onnx") is not None:
        raise InputError("segment: config_file and onnx exclude each other; give one of them")
    return SegmentOptions.of(given)


def _segment(
    source: Source,
    vocabulary: Vocabulary,
    output: Path,
    options: SegmentOptions,
    predictor: ImagePredictor | None,
    owned: OwnedFolder | None,
) -> MappedImage | dict[str, MappedImage] | None:
    task = prepare(lambda: names_of(source, output), vocabulary, output, options, predictor)
    with sole_run(output, task.several.lock):
        if task.several.share is not None:
            if fill_share(task.segmenter(), task.images, output, task.several.share):
                raise InputError("segment: parts of some rasters were not filled; solve the errors above and repeat")
            return None
        several = not (options.mosaic or options.stack) and _is_several(source)
        return _results(task, _model_name(options, predictor), owned, several)


def _model_name(options: SegmentOptions, predictor: ImagePredictor | None) -> str:
    if predictor is None:
        return options.model_name
    return predictor.cfg.MODEL.WEIGHTS or f"{predictor.cfg.MODEL.CLIP.NAME} {predictor.cfg.MODEL.CLIP.WEIGHTS}"


def _results(task: Task, model: str, owned: OwnedFolder | None, several: bool) -> MappedImage | dict[str, MappedImage]:
    found: dict[str, MappedImage] = {}
    errors: list[str] = []

    def done(name: str, result: Segmentation) -> None:
        found[name] = MappedImage(stored(result) if several else result, owned)

    def failed(line: str, error: BaseException) -> None:
        if not several:
            raise error
        errors.append(line)
        logger.error("%s", line)

    classes = ", ".join("|".join(entry.names) for entry in task.vocabulary)
    settings = {"command": "sgovss.segment()", "classes": classes, "model": model}
    segment_all(task, settings, done, failed)
    if not found:
        raise InputError(f"segment: all {len(errors)} images failed; the first: {errors[0]}")
    return {name: found[name] for name in task.images if name in found} if several else next(iter(found.values()))


def _is_several(source: Source) -> bool:
    return isinstance(source, list | tuple) or (
        isinstance(source, str | Path) and paths.is_folder(Path(source).expanduser())
    )
