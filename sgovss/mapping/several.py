"""Segment rasters in several processes: local workers, those of a Dask scheduler, or shares of a job array."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from sgovss.errors import InputError
from sgovss.inference.segmentation import Segmentation
from sgovss.mapping.options import SegmentOptions
from sgovss.mapping.shares import Segmenter, Share, parse_share

if TYPE_CHECKING:
    from distributed import Client

    from sgovss.rasters.scene import SceneMapper

Outcome = tuple[str, Path, "Segmentation | BaseException"]
"""An image, folder and beginning of the names of its outputs, and its result or what went wrong."""


class SeveralOptions(NamedTuple):
    """Where the parts of rasters are filled.

    Attributes:
        workers: number of local workers; None for this process.
        scheduler: address of a Dask scheduler.
        shared_folder: whether the workers of the scheduler see the folder of the outputs.
        share: this process fills only a share of the parts.
        finish: write the outputs of what shares have filled.
    """

    workers: int | None
    scheduler: str | None
    shared_folder: bool
    share: Share | None
    finish: bool

    @classmethod
    def of(cls, args: SegmentOptions) -> SeveralOptions:
        """Check the options.

        Raises:
            InputError: an option is wrong, or its libraries are not installed.
        """
        flag = "--scheduler" if args.scheduler else "--workers" if args.workers is not None else None
        alone = "--share" if args.share else "--finish" if args.finish else None
        ways = (args.workers is not None, args.scheduler is not None, args.share is not None, args.finish)
        if sum(ways) > 1:
            raise InputError("--workers, --scheduler, --share and --finish exclude each other; give one of them")
        if args.workers is not None and args.workers < 1:
            raise InputError(f"--workers {args.workers}: give the number of processes, 1 or more")
        if args.scheduler and not _is_address(args.scheduler):
            raise InputError(f"--scheduler {args.scheduler}: not an address; give one such as tcp://host:8786")
        if args.shared_folder == "no" and not args.scheduler:
            raise InputError(
                "--shared-folder no: is for --scheduler only, since all other processes write to --output; leave it out"
            )
        if args.restart and alone:
            raise InputError(
                f"{alone} and --restart exclude each other, because it would remove what other shares have filled; "
                "give --restart to a single process, or remove the folders *.parts in --output"
            )
        needed = [("distributed", "cluster", flag), ("rasterio", "geo", flag or alone)]
        for library, extra, option in needed:
            if option and importlib.util.find_spec(library) is None:
                raise InputError(f"{option}: needs further libraries: pip install 'sgovss[{extra}]'")
        share = parse_share(args.share, os.environ) if args.share else None
        return cls(args.workers, args.scheduler, args.shared_folder == "yes", share, args.finish)

    @property
    def lock(self) -> str:
        """Name of the lock file in the folder of the outputs. Different shares run at the same time."""
        return f".lock-{self.share.number}-of-{self.share.of}" if self.share else ".lock"


def outcomes(
    segmenter: Segmenter,
    images: Sequence[tuple[str, Path]],
    several: SeveralOptions,
    load: Callable[[], SceneMapper],
) -> Iterator[Outcome]:
    """Segment images: photographs in this process, rasters where the options say.

    Args:
        segmenter: of this process.
        images: each with folder and beginning of the names of its outputs.
        several: checked options.
        load: loads the mapper of rasters in a worker.

    Yields:
        one outcome for each image.
    """
    scenes = [image for image in images if segmenter.is_scene(image[0])] if _divides(several) else []
    divided = {path for path, _ in scenes}
    others = [image for image in images if image[0] not in divided]
    if _divides(several) and others:
        print(f"note: photographs: {len(others)}, segmented in this process one by one", file=sys.stderr)
    for path, target in others:
        yield path, target, _attempt(segmenter, path, target)
    if several.finish:
        for path, target in scenes:
            yield path, target, _attempt(lambda *image: _finished(segmenter.mapper, *image), path, target)
    elif scenes:
        from sgovss.rasters.cluster_mapper import ClusterMapper

        with _workers(several) as client:
            yield from ClusterMapper(client, segmenter.mapper, load, several.shared_folder)(scenes)


def _divides(several: SeveralOptions) -> bool:
    return several.finish or several.workers is not None or several.scheduler is not None


def _attempt(segment: Callable[[str, Path], Segmentation], path: str, target: Path) -> Segmentation | Exception:
    try:
        return segment(path, target)
    except Exception as error:
        return error


def _finished(mapper: SceneMapper, path: str, target: Path) -> Segmentation:
    plan = mapper.plan(path, target)
    return mapper.finished(plan) or mapper.finish(plan)


def _workers(several: SeveralOptions) -> AbstractContextManager[Client]:
    from sgovss.rasters.cluster import local_workers, remote_workers

    return remote_workers(several.scheduler) if several.scheduler else local_workers(several.workers or 1)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("tcp", "tls", "ws", "wss", "ucx") and bool(parts.hostname and parts.port)
    except ValueError:
        return False
