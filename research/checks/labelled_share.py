"""How much of a dataset's tiles, and of random batches of them, has a label.

    DETECTRON2_DATASETS=DATA python -m research.checks.labelled_share isaid_sample_train isaid_sample_val \\
        --unlabelled background --tile 256 --stride 206

It shows how often MODEL.SGOVSS.LEAST_SHARE applies: to batches with a smaller share of labelled pixels.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

import numpy as np
from detectron2.data import DatasetCatalog
from tabulate import tabulate

from sgovss.data import register_datasets
from sgovss.data.labels import load_labels
from sgovss.data.registration import dataset_metadata, held_out_ids
from sgovss.errors import command
from sgovss.tiling import starts

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75)
_BATCHES = 100_000


def tile_shares(labelled: np.ndarray, tile: int, stride: int) -> Iterator[float]:
    """Share of labelled pixels in each tile of an image.

    Args:
        labelled: (H, W) bool.
        tile, stride: side of the square tiles and distance between their starts in pixels. A smaller image is one tile.
    """
    tops, lefts = (starts(side, tile, stride) for side in labelled.shape)
    for top in tops:
        for left in lefts:
            yield float(labelled[top : top + tile, left : left + tile].mean())


def table(shares: np.ndarray, batch: int) -> str:
    """Quantiles of the shares (N,) of single tiles, and of the mean shares of random batches, as a table."""
    drawn = np.random.default_rng(0).choice(shares, (_BATCHES, batch)).mean(axis=1)
    rows = [
        [name, *(f"{100 * value:.1f}" for value in (values.mean(), *np.quantile(values, QUANTILES)))]
        for name, values in ((f"{len(shares)} tiles", shares), (f"batches of {batch}", drawn))
    ]
    heads = ["labelled pixels, %", "mean", *(f"quantile {quantile:g}" for quantile in QUANTILES)]
    return tabulate(rows, heads, tablefmt="github", disable_numparse=True)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("datasets", nargs="+", help="registered names, such as isaid_train")
    parser.add_argument("--unlabelled", nargs="*", default=(), metavar="CLASS", help="classes that count as unlabelled")
    parser.add_argument("--tile", type=int, default=256, help="side of the tiles in pixels")
    parser.add_argument("--stride", type=int, default=256, help="distance between their starts in pixels")
    parser.add_argument("--batch", type=int, default=4, help="tiles in a batch")
    args = parser.parse_args(argv)
    register_datasets([])
    shares: list[float] = []
    for name in args.datasets:
        labels = dataset_metadata(name).label_map.without(held_out_ids([name], args.unlabelled))
        for record in DatasetCatalog.get(name):
            found = load_labels(record["sem_seg_file_name"], labels)
            shares += tile_shares(found != labels.ignore_label, args.tile, args.stride)
    print(table(np.asarray(shares), args.batch))
    return 0


if __name__ == "__main__":
    sys.exit(main())
