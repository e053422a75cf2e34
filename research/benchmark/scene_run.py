"""One run of ``scenes``: segments a raster, then scores the same windows from memory. Prints JSON."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

BATCHES = (1, 2, 4, 8)
_WINDOWS = 16  # scored from memory in each batch; more do not change the time of one


def main() -> None:
    """Run the scene of the command line."""
    begun = time.monotonic()
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__)
    for name in ("config", "scene", "output", "vocabulary", "precision"):
        parser.add_argument(name)
    parser.add_argument("gsd", type=float)
    parser.add_argument("--opts", nargs="*", default=[])
    args = parser.parse_args()

    from sgovss.inference.predictor import Predictor
    from sgovss.rasters.options import SceneOptions
    from sgovss.rasters.scene import SceneMapper
    from sgovss.resources import peak_megabytes

    predictor = Predictor(args.config, options=tuple(args.opts), precision=args.precision)
    mapper = SceneMapper(predictor, args.vocabulary, SceneOptions(gsd=args.gsd))
    predictor.model.text_embedder(mapper.scored)
    start = time.monotonic() - begun
    plan = mapper.plan(args.scene, args.output)
    work = Clock()
    mapper(args.scene, args.output)
    worked, peak = work.read(), peak_megabytes()
    print(json.dumps({"start": start, "work": worked, "megabytes": peak, "bare": bare_model(mapper, plan)}))


class Clock:
    """Time since its construction: on the wall, and of the processors in this process."""

    def __init__(self) -> None:
        self._begun = time.monotonic(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Seconds on the wall; seconds of all processors."""
        return time.monotonic() - self._begun[0], time.process_time() - self._begun[1]


def bare_model(mapper: Any, plan: Any) -> tuple[float, float]:
    """Time of encoder and head, to logits, over all windows of a scene from memory, in the best batch.

    Returns:
        seconds on the wall; seconds of all processors.
    """
    import torch

    model, device = mapper.predictor.model, mapper.predictor.model.device
    count = len(plan.down.starts) * len(plan.across.starts)
    images = torch.from_numpy(_windows(plan, min(count, _WINDOWS))).to(device)

    @torch.no_grad()
    def score(part: torch.Tensor) -> None:
        model.score_maps(part, mapper.scored)

    times = []
    for batch in BATCHES:
        if batch > len(images):
            break
        score(images[:batch])
        times.append(_time(score, images.split(batch), device))
    return tuple(min(each[i] for each in times) / len(images) * count for i in range(2))  # type: ignore[return-value]


def _time(score: Callable[[Any], None], parts: Sequence[Any], device: Any) -> tuple[float, float]:
    import torch

    clock = Clock()
    for part in parts:
        score(part)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock.read()


def _windows(plan: Any, count: int) -> Any:
    """The first windows of a scene, (count, 3, H, W) uint8."""
    import numpy as np
    from rasterio.windows import Window

    from sgovss.rasters.gdal import gdal_environment
    from sgovss.rasters.summary import open_source

    def corners() -> Iterator[tuple[int, int]]:
        for top in plan.down.starts:
            for left in plan.across.starts:
                yield top, left

    images = []
    with gdal_environment(), open_source(plan) as source:
        for (top, left), _ in zip(corners(), range(count), strict=False):
            y, height, rows = plan.down.extent(top)
            x, width, columns = plan.across.extent(left)
            pixels, _ = source.read(Window(x, y, width, height), (rows, columns))
            beyond = ((0, plan.down.window - rows), (0, plan.across.window - columns), (0, 0))
            images.append(np.pad(pixels, beyond, mode="edge").transpose(2, 0, 1))
    return np.stack(images)


if __name__ == "__main__":
    main()
