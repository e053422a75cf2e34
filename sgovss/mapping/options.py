"""The options of ``sgovss segment``, which are the keywords of :func:`sgovss.segment`."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from sgovss.config import EMBEDDED_CONFIG
from sgovss.errors import InputError
from sgovss.inference.rejection import Rejection
from sgovss.mapping.values import read_value
from sgovss.precision import AUTO
from sgovss.rasters.options import AUTO as AUTO_NO_DATA
from sgovss.rasters.options import (
    SceneOptions,
    parse_bands,
    parse_min_area,
    parse_no_data,
    parse_stretch,
)
from sgovss.view_set import QUALITIES, parse_views

_SCENE_ONLY = (
    "bands", "stretch", "no_data", "fit_gcps", "gsd", "aoi", "bounds", "mosaic", "stack", "asset", "min_area",
    "confidence", "probabilities", "polygons", "simplify", "square", "segments",
    "edges", "cache", "resume", "restart", "overlap",
)  # fmt: skip


@dataclass(frozen=True)
class SegmentOptions:
    """All options, with the names, values and meanings of the command's flags; see ``sgovss segment --help``."""

    config_file: str | None = None
    onnx: str | None = None
    opts: tuple[str, ...] = ()
    precision: str = AUTO
    background: str | None = None
    threshold: float = 0.0
    views: str | None = None
    quality: str | None = None
    bands: str | None = None
    stretch: str | None = None
    no_data: str = AUTO_NO_DATA
    mosaic: bool = False
    stack: bool = False
    asset: str | None = None
    bounds: str | None = None
    fit_gcps: bool = False
    gsd: float = 0.0
    aoi: str | None = None
    min_area: str | None = None
    confidence: bool = False
    probabilities: bool = False
    polygons: bool | str = False
    simplify: float = 0.0
    square: str | None = None
    segments: str | None = None
    edges: bool = False
    cache: str | None = None
    overlap: float | None = None
    resume: bool = False
    restart: bool = False
    workers: int | None = None
    scheduler: str | None = None
    shared_folder: str = "yes"
    share: str | None = None
    finish: bool = False

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> SegmentOptions:
        """Read the keywords of a call. Lists take the place of texts with commas, and numbers that of their text.

        Raises:
            InputError: there is no such option, or its value is of a wrong type.
        """
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                remedy = f"did you mean '{close[0]}'" if close else "help(sgovss.segment) names all"
                raise InputError(f"segment: there is no option '{name}'; {remedy}")
        return cls(**{name: read_value(name, value) for name, value in given.items() if value is not None})

    @property
    def config_options(self) -> tuple[str, ...]:
        """Alternating config keys and values: ``opts``, and those that ``views`` or ``quality`` stand for.

        Raises:
            InputError: the views are wrong.
        """
        if self.views is not None and self.quality is not None:
            raise InputError("--views and --quality exclude each other, because a quality is a set of views; give one")
        if self.quality:
            if self.quality not in QUALITIES:
                raise InputError(f"--quality: '{self.quality}' is no quality; choose from {', '.join(QUALITIES)}")
            return (*self.opts, "TEST.VIEWS", str(list(QUALITIES[self.quality])))
        if self.views is None:
            return tuple(self.opts)
        parse_views(self.views, "--views")
        return (*self.opts, "TEST.VIEWS", str([item.strip() for item in self.views.split(",")]))

    @property
    def model_name(self) -> str:
        """The file of the model or its config; without one, the config of the embedded model."""
        return self.onnx or self.config_file or EMBEDDED_CONFIG

    @property
    def rejection(self) -> Rejection:
        """The rule for labelling pixels as "other"."""
        return Rejection.parse(self.threshold, self.background)

    @property
    def shares_stretch(self) -> bool:
        """Whether all scenes of a run get the same stretch."""
        return parse_stretch(self.stretch).shared

    def scene(self, shared_stretch: tuple[tuple[float, float], ...] | None = None) -> SceneOptions | None:
        """Return the options for rasters; None without the libraries for rasters, which are then read as photographs.

        Args:
            shared_stretch: that of all scenes of a run.

        Raises:
            InputError: an option is wrong, or needs the libraries.
        """
        if not has_rasterio():
            if wanted := self.given_for_rasters():
                raise InputError(f"{wanted[0]} is for rasters, which need further libraries: pip install 'sgovss[geo]'")
            return None
        if self.resume and self.restart:
            raise InputError("--resume and --restart exclude each other; give one")
        min_area, in_pixels = parse_min_area(self.min_area)
        stretch = parse_stretch(self.stretch)
        return SceneOptions(
            bands=parse_bands(self.bands),
            stretch=stretch.percentiles,
            stretch_range=shared_stretch or stretch.ranges,
            no_data=parse_no_data(self.no_data),
            fit_gcps=self.fit_gcps,
            gsd=self.gsd,
            aoi=self.aoi,
            min_area=min_area,
            min_area_in_pixels=in_pixels,
            confidence=self.confidence,
            probabilities=self.probabilities,
            polygons=self.polygons,
            simplify=self.simplify,
            square=self.square or (),
            segments=self.segments,
            edges=self.edges,
            cache=self.cache,
            restart=self.restart,
            overlap=self.overlap,
            rejection=self.rejection,
        )

    def given_for_rasters(self) -> list[str]:
        """Return the flags of the options for rasters that differ from their defaults."""
        given = {name: getattr(self, name) for name in _SCENE_ONLY}
        without = SegmentOptions()
        return [f"--{name.replace('_', '-')}" for name, value in given.items() if value != getattr(without, name)]


def has_rasterio() -> bool:
    """Whether the libraries for rasters are there."""
    return importlib.util.find_spec("rasterio") is not None
