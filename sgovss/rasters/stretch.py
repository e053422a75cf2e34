"""One stretch for several scenes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sgovss.errors import InputError
from sgovss.rasters.gdal import gdal_environment
from sgovss.rasters.options import SceneOptions
from sgovss.rasters.source import PERCENTILES, RasterSource

_PIXELS = 8_000_000  # of all scenes together
_MOST = 65_536  # of one scene


def shared_stretch(names: Sequence[str], options: SceneOptions) -> tuple[tuple[float, float], ...] | None:
    """Compute one stretch for several scenes, from the same number of pixels of each.

    Args:
        names: the scenes.
        options: bands, percentiles and others.

    Returns:
        (low, high) of each band; None if there is no scene.

    Raises:
        InputError: a scene cannot be read, or two scenes differ in their data types.
    """
    if not names:
        return None
    limit = max(1, min(_MOST, _PIXELS // len(names)))
    found, first = [], ""
    with gdal_environment():
        for name in names:
            with RasterSource.from_options(name, options) as source:
                kind = source.dtypes[source.bands[0] - 1]
                if kind != (first := first or kind):
                    raise InputError(
                        f"--stretch shared: {name} is {kind} and {names[0]} is {first}; segment them in separate runs"
                    )
                found.append(source.values(limit))
    low, high = np.percentile(np.concatenate(found, axis=1).astype(np.float64), options.stretch or PERCENTILES, axis=1)
    return tuple((float(a), float(b) if b > a else float(a) + 1.0) for a, b in zip(low, high, strict=True))
