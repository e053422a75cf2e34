"""Profile of one inference: time of each part and operator, and lower bounds (floors) of the whole time."""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from tabulate import tabulate
from torch import nn
from torch.profiler import ProfilerActivity, profile

from sgovss.engine.workloads import numbered_classes, random_model
from sgovss.evaluation.cost import count_bytes, count_flops
from sgovss.modeling.meta_arch import SGOVSS
from sgovss.precision import PRECISIONS, autocast

_REPEATS = 5
_OPERATORS = 10
_MATRIX = 2048
_COPIED = 2**28  # bytes; more than fits into the caches of the processor


def add_command(commands: Any) -> None:
    """Add ``profile`` to the subcommands of an argument parser."""
    parser = commands.add_parser("profile", help="where an inference spends its time")
    parser.add_argument("--config-file", default="sgovss_tiny.yaml", metavar="FILE")
    parser.add_argument("--size", type=int, default=384, help="side of the image in pixels; default 384")
    parser.add_argument("--classes", type=int, default=17, help="number of classes; default 17")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"), help="default float32")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config options")
    parser.set_defaults(run=profile_inference)


def profile_inference(args: argparse.Namespace) -> None:
    """Print tables of parts, operators and floors for one inference of a model with random weights on the CPU.

    The class names are encoded before the time is measured. A floor is a lower bound of the time. There are two: the
    number of operations divided by the rate at which this machine multiplies matrices, and the number of bytes that all
    operators read and write divided by the rate at which it copies memory. The true time can be below the second one if
    data stay in a cache.
    """
    model, _ = random_model(args.config_file, [*args.opts, "MODEL.DEVICE", "cpu"], args.precision, training=False)
    vocabulary = numbered_classes(args.classes)
    images = torch.randint(0, 256, (1, 3, args.size, args.size), dtype=torch.uint8)

    @torch.no_grad()
    def infer() -> None:
        model.scores(images, vocabulary)

    infer()
    print(tabulate(part_rows(model, infer), headers="keys", floatfmt=".1f", tablefmt="github"), end="\n\n")
    print(tabulate(operator_rows(infer), headers="keys", floatfmt=".1f", tablefmt="github"), end="\n\n")
    print(tabulate(floor_rows(model, args.size, args.classes, args.precision), tablefmt="github"))


def part_rows(model: SGOVSS, infer: Callable[[], None]) -> list[dict[str, Any]]:
    """Measure the median milliseconds of each part of the model, and the rest; return the rows of a table."""
    decoder = model.head.decoder
    parts: dict[str, nn.Module | None] = {"image encoder": model.image_encoder, "refinement": model.head.refinement}
    parts |= {f"guide of {level}": guide for level, guide in model.head.guides.items()}
    if decoder is not None:
        parts |= {"decoder: embedding": decoder.embed}
        parts |= {f"decoder: stage {number}": stage for number, stage in enumerate(decoder.stages, 1)}
    spent: dict[str, list[float]] = defaultdict(list)
    handles = [handle for name, part in parts.items() if part is not None for handle in _clock(part, spent[name])]
    whole = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        infer()
        whole.append(time.perf_counter() - started)
    for handle in handles:
        handle.remove()
    total = statistics.median(whole)
    medians = {name: statistics.median(times) for name, times in spent.items() if times}
    medians["rest: normalising, cost map, resizing, sigmoid"] = total - sum(medians.values())
    rows = [{"part": name, "ms": 1e3 * each, "%": 100 * each / total} for name, each in medians.items()]
    return [*rows, {"part": "all", "ms": 1e3 * total, "%": 100.0}]


def _clock(part: nn.Module, times: list[float]) -> list[Any]:
    def start(*_: Any) -> None:
        times.append(-time.perf_counter())

    def stop(*_: Any) -> None:
        times[-1] += time.perf_counter()

    return [part.register_forward_pre_hook(start), part.register_forward_hook(stop)]


def operator_rows(infer: Callable[[], None]) -> list[dict[str, Any]]:
    """List the operators that take most of the time of one inference; return the rows of a table."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        infer()
    found = sorted(profiler.key_averages(), key=lambda each: -each.self_cpu_time_total)
    total = sum(each.self_cpu_time_total for each in found)
    return [
        {
            "operator": each.key,
            "calls": each.count,
            "ms": each.self_cpu_time_total / 1e3,
            "%": 100 * each.self_cpu_time_total / total,
        }
        for each in found[:_OPERATORS]
    ]


def floor_rows(model: SGOVSS, size: int, classes: int, precision: str) -> list[tuple[str, str]]:
    """Return rows of a table: operations and bytes of encoder and head, rates of this machine, and the floors."""
    images, text = (
        torch.zeros(1, 3, size, size),
        torch.zeros(classes, model.image_encoder.output_shape()["dense"].channels),
    )
    with torch.no_grad(), autocast(precision, torch.device("cpu")):
        encoder = count_flops(model.image_encoder, (images,))
        levels = model.image_encoder(images)
        head = count_flops(model.head, (levels, text))
        encoder_bytes = count_bytes(lambda: model.image_encoder(images))
        head_bytes = count_bytes(lambda: model.head(levels, text))
    rate, bandwidth = matrix_rate(PRECISIONS[precision]), copy_rate()
    return [
        ("operations of the image encoder, G", f"{encoder / 1e9:.1f}"),
        ("operations of the head, G", f"{head / 1e9:.1f}"),
        (f"rate of this machine at {_MATRIX} x {_MATRIX} {precision} matrices, G/s", f"{rate / 1e9:.0f}"),
        ("floor of the image encoder, ms", f"{1e3 * encoder / rate:.0f}"),
        ("floor of the head, ms", f"{1e3 * head / rate:.0f}"),
        ("bytes moved by the image encoder, G", f"{encoder_bytes / 1e9:.1f}"),
        ("bytes moved by the head, G", f"{head_bytes / 1e9:.1f}"),
        ("bandwidth of this machine, copying, G/s", f"{bandwidth / 1e9:.1f}"),
        ("bytes of the image encoder over bandwidth, ms", f"{1e3 * encoder_bytes / bandwidth:.0f}"),
        ("bytes of the head over bandwidth, ms", f"{1e3 * head_bytes / bandwidth:.0f}"),
    ]


def matrix_rate(dtype: torch.dtype) -> float:
    """Measure floating-point operations per second, in the fastest of several products of large matrices."""
    left, right = (torch.randn(_MATRIX, _MATRIX).to(dtype) for _ in range(2))
    return 2 * _MATRIX**3 / _shortest(lambda: left @ right)


def copy_rate() -> float:
    """Measure bytes read and written per second, in the fastest of several copies of a large block of memory."""
    source = torch.ones(_COPIED, dtype=torch.uint8)
    target = torch.zeros_like(source)
    return 2 * _COPIED / _shortest(lambda: target.copy_(source))


def _shortest(compute: Callable[[], Any]) -> float:
    """Seconds of the fastest of several runs."""
    times = []
    for _ in range(2 * _REPEATS):
        started = time.perf_counter()
        compute()
        times.append(time.perf_counter() - started)
    return min(times)
