"""The stream of training images does not depend on the number of processes and workers, or on interruptions."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from sgovss.engine.stream import SeededMapper, TrainingStream

RECORDS = [{"file_name": f"{index}.png"} for index in range(5)]


def stream(batch: int = 6, start: int = 0, rank: int = 0, processes: int = 1, seed: int = 1, factors=None):
    factors = torch.ones(len(RECORDS)) if factors is None else torch.tensor(factors)
    return TrainingStream(RECORDS, factors, seed=seed, batch=batch, start=start, rank=rank, processes=processes)


def batches(part: TrainingStream, size: int, workers: int, count: int = 4) -> list[list[tuple[str, int]]]:
    loader = DataLoader(part, batch_size=size, num_workers=workers, collate_fn=list)
    return [[(record["file_name"], seed) for record, seed in batch] for batch in itertools.islice(loader, count)]


def test_every_epoch_has_every_record_in_another_order():
    names = [record["file_name"] for record, _ in itertools.islice(stream(), 50)]
    epochs = [names[start : start + 5] for start in range(0, 50, 5)]
    assert all(sorted(epoch) == sorted(epochs[0]) for epoch in epochs)
    assert len(set(map(tuple, epochs))) > 5


def test_every_position_has_another_seed_and_another_run_has_other_seeds():
    seeds = [seed for _, seed in itertools.islice(stream(), 100)]
    assert len(set(seeds)) == 100
    assert not set(seeds) & {seed for _, seed in itertools.islice(stream(seed=2), 100)}


def test_records_are_repeated_by_their_factors_on_average():
    drawn = Counter(record["file_name"] for record, _ in itertools.islice(stream(factors=[1, 1, 2.0, 0.5, 0.25]), 9500))
    repeats = [drawn[record["file_name"]] / 2000 for record in RECORDS]
    assert repeats == pytest.approx([1, 1, 2, 0.5, 0.25], rel=0.06)


@pytest.mark.parametrize(("processes", "workers"), [(1, 2), (2, 0), (2, 2), (3, 1)])
def test_processes_and_workers_take_the_same_batches_together(processes, workers):
    alone = batches(stream(), 6, 0)
    parts = [batches(stream(rank=rank, processes=processes), 6 // processes, workers) for rank in range(processes)]
    together = [list(itertools.chain(*(part[number] for part in parts))) for number in range(4)]
    assert [sorted(batch) for batch in together] == [sorted(batch) for batch in alone]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_later_start_gives_the_rest(workers):
    assert batches(stream(start=18), 6, workers, 2) == batches(stream(), 6, 0, 5)[3:]


def test_augmentation_depends_on_the_seed_only():
    mapper = SeededMapper(lambda record: {"drawn": (np.random.rand(), torch.rand(1).item())})  # noqa: NPY002
    first = mapper(({}, 7))
    mapper(({}, 8))
    assert mapper(({}, 7)) == first != mapper(({}, 8))
