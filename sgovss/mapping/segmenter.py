"""Segment one image, photograph or raster."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sgovss.errors import InputError
from sgovss.inference.memory import needs_windows
from sgovss.inference.photographs import segment_photograph
from sgovss.inference.predictor import ImagePredictor, Predictor
from sgovss.inference.rejection import Rejection
from sgovss.inference.segmentation import Segmentation
from sgovss.mapping.options import SegmentOptions
from sgovss.rasters.names import absolute_name
from sgovss.rasters.options import SceneOptions
from sgovss.vocabulary import Vocabulary

if TYPE_CHECKING:
    from sgovss.rasters.scene import SceneMapper

Stretch = tuple[tuple[float, float], ...]

logger = logging.getLogger("sgovss.segment")


class ImageSegmenter:
    """Segments one file, photograph or raster; see :class:`sgovss.mapping.shares.Segmenter`.

    Args:
        predictor: the model.
        vocabulary: the classes.
        rejection: rule for labelling pixels as "other".
        options: for rasters; None without the libraries for rasters, which are then read as photographs.
        unused: flags of options that photographs have no use for.
    """

    def __init__(
        self,
        predictor: ImagePredictor,
        vocabulary: Vocabulary,
        rejection: Rejection,
        options: SceneOptions | None,
        unused: Sequence[str] = (),
    ) -> None:
        self._predictor, self._vocabulary, self._rejection = predictor, vocabulary, rejection
        self._unused = unused
        self._options, self._scored = options, rejection.scored(vocabulary)
        # Class names that the text encoder rejects end the run, not each image.
        predictor.model.text_embedder(self._scored)

    @functools.cached_property
    def mapper(self) -> SceneMapper:
        """The mapper of rasters."""
        from sgovss.rasters.scene import SceneMapper  # with the libraries for rasters

        assert self._options is not None
        return SceneMapper(self._predictor, self._vocabulary, self._options)

    def is_scene(self, name: str) -> bool:
        """Whether an image is segmented by :attr:`mapper`, in parts."""
        if self._options is None:
            return False
        if self._options.segments is not None or self._options.edges:
            return True  # what only the scene engine has, for photographs too
        try:
            return is_scene(name) or needs_windows(Path(name), len(self._scored))
        except InputError:  # is raised again where the image is segmented
            return False

    def __call__(self, name: str, target: Path) -> Segmentation:
        """Segment an image; the names of its outputs begin with ``target``, such as ``output/photo``."""
        if self.is_scene(name):
            return self.mapper(name, target)
        if self._options is None and needs_windows(Path(name), len(self._scored)):
            raise InputError(
                f"{name}: too many pixels to be segmented into {len(self._scored)} classes at once; to segment it "
                "window by window: pip install 'sgovss[geo]'"
            )
        if self._unused:
            *others, last = self._unused
            flags = f"{', '.join(others)} and {last} are" if others else f"{last} is"
            logger.warning("%s: a photograph, for which %s not used", name, flags)
        return segment_photograph(self._predictor, Path(name), self._vocabulary, target, self._rejection)


def load_segmenter(
    options: SegmentOptions,
    vocabulary: Vocabulary,
    stretch: Stretch | None = None,
    predictor: ImagePredictor | None = None,
) -> ImageSegmenter:
    """Load the model and make a segmenter.

    Args:
        options: checked options.
        vocabulary: the classes.
        stretch: that of all scenes of a run; None if each has its own.
        predictor: a model that is loaded already.
    """
    unused = options.given_for_rasters()
    model = predictor or load_predictor(options)
    return ImageSegmenter(model, vocabulary, options.rejection, options.scene(stretch), unused)


def load_predictor(options: SegmentOptions) -> ImagePredictor:
    """Load the model that the options name."""
    if options.onnx:
        from sgovss.export.onnx_predictor import OnnxPredictor

        return OnnxPredictor(options.onnx, options.config_options)
    return Predictor(options.model_name, options=options.config_options, precision=options.precision)


def load_mapper(options: SegmentOptions, vocabulary: Vocabulary, stretch: Stretch | None) -> SceneMapper:
    """Load the mapper of rasters in a worker, whose working folder changes afterwards."""
    given = (options.aoi, options.segments, options.cache)
    aoi, segments, cache = (value and _absolute(value) for value in given)
    return load_segmenter(replace(options, aoi=aoi, segments=segments, cache=cache), vocabulary, stretch).mapper


def _absolute(name: str) -> str:
    return absolute_name(name) if name.startswith("/vsi") else str(Path(name).resolve())


def is_scene(name: str) -> bool:
    """See :func:`sgovss.rasters.inputs.is_scene`; needs the libraries for rasters."""
    from sgovss.rasters.inputs import is_scene

    return is_scene(name)
