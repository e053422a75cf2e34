"""Shares of the parts of rasters, for job arrays: each process fills its own, and a last one writes the outputs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from sgovss.errors import InputError
from sgovss.inference.segmentation import Segmentation

if TYPE_CHECKING:
    from sgovss.rasters.scene import SceneMapper

_ARRAY = "--share: this is no job of an array of Slurm or AWS Batch with several jobs; give I/N, such as 1/8"


class Segmenter(Protocol):
    """Segments one image."""

    @property
    def mapper(self) -> SceneMapper:
        """The mapper of rasters."""

    def is_scene(self, name: str) -> bool:
        """Whether an image is segmented by :attr:`mapper`, in parts."""

    def __call__(self, name: str, target: Path) -> Segmentation:
        """Segment an image."""


class Share(NamedTuple):
    """Share ``number``, from 1, of ``of``."""

    number: int
    of: int


def parse_share(text: str, environment: Mapping[str, str]) -> Share:
    """Parse ``I/N``, or read the share of this job of an array from the environment.

    Args:
        text: ``I/N`` with I from 1 to N, or ``array``.
        environment: that of the process.

    Raises:
        InputError: neither.
    """
    if text == "array":
        return _share_of_array(environment)
    try:
        number, of = map(int, text.split("/"))
    except ValueError as error:
        raise InputError(f"--share {text}: is not I/N, such as 1/8") from error
    if not 1 <= number <= of:
        raise InputError(f"--share {text}: give I/N with I from 1 to N, such as 1/8")
    return Share(number, of)


def _share_of_array(environment: Mapping[str, str]) -> Share:
    try:
        if "SLURM_ARRAY_TASK_ID" in environment:
            number, first, count = (int(environment[f"SLURM_ARRAY_TASK_{name}"]) for name in ("ID", "MIN", "COUNT"))
            index, rest = divmod(number - first, int(environment.get("SLURM_ARRAY_TASK_STEP", 1)))
        else:
            index, count = (int(environment[f"AWS_BATCH_JOB_ARRAY_{name}"]) for name in ("INDEX", "SIZE"))
            rest = 0
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise InputError(_ARRAY) from error
    if rest or not 0 <= index < count:
        raise InputError("--share: the numbers of the array have gaps; number them from 1 to N, or give I/N")
    return Share(index + 1, count)


def fill_share(segmenter: Segmenter, images: Mapping[str, Path], output: Path, share: Share) -> int:
    """Fill a share of the parts of all rasters.

    Args:
        segmenter: of this process.
        images: image -> name of its outputs.
        output: folder of the outputs.
        share: which one.

    Returns:
        the exit status: 0, or 1 if a raster failed.
    """
    from sgovss.rasters.partial import begin

    mapper, filled, failed = segmenter.mapper, 0, 0
    scenes = [(path, output / name) for path, name in images.items() if segmenter.is_scene(path)]
    for first, (path, target) in enumerate(scenes):
        try:
            plan = mapper.plan(path, target)
            if mapper.finished(plan) is not None:
                continue
            plan = begin(plan)
            # Every process divides all parts alike, whatever is filled already.
            parts = [*plan.parallel_order([*plan.units.all()], -(-share.of // len(scenes)))]
            mine = parts[(share.number - 1 - first) % share.of :: share.of]
            for part in mine:
                mapper.fill_files(plan, part)
            filled += len(mine)
        except Exception as error:
            failed += 1
            print(f"error: {problem_line(path, error)}", file=sys.stderr)
    left = len(images) - len(scenes)
    also = f"; photographs are left to --finish: {left}" if left else ""
    print(
        f"share {share.number}/{share.of}: filled {filled} parts of {len(scenes)} rasters{also}. When all shares are "
        "filled, give --finish instead of --share"
    )
    return 1 if failed else 0


def problem_line(path: str, error: BaseException) -> str:
    """What went wrong with an image, in one line."""
    return str(error) if isinstance(error, InputError) else f"{path}: {type(error).__name__}: {error}"
