"""Endless stream of training images that does not depend on the number of processes or on interruptions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from detectron2.data.common import DatasetFromList
from detectron2.utils.env import seed_all_rng
from torch.utils.data import IterableDataset, get_worker_info

from sgovss.engine.seeds import Purpose, derived_seed


class TrainingStream(IterableDataset):
    """Iterates over records in random order, epoch after epoch, each with a seed for its augmentation.

    Order and seeds depend only on ``seed`` and the position in the stream. A resumed run therefore continues as if it
    had not stopped. Processes and loader workers share the stream without changing it: position ``p`` belongs to
    process ``p % processes``, and each worker of a process yields whole batches in turn.

    Args:
        records: N dataset dicts in Detectron2's format.
        factors: (N,) float, the number of times each record occurs per epoch; the fractional part is the probability
            of one more time.
        seed: the run's seed.
        batch: number of records that all processes together take at once.
        start: position of the first record to yield, a multiple of ``batch``.
        rank: index of this process.
        processes: number of processes.
    """

    def __init__(
        self,
        records: Sequence[Mapping[str, Any]],
        factors: torch.Tensor,
        *,
        seed: int,
        batch: int,
        start: int,
        rank: int,
        processes: int,
    ) -> None:
        self.records = DatasetFromList(list(records), copy=False)
        self.factors = factors
        self.seed = seed
        self.batch = batch
        self.start = start
        self.rank = rank
        self.processes = processes

    def __iter__(self) -> Iterator[tuple[dict[str, Any], int]]:
        worker = get_worker_info()
        turn, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        for position, index in enumerate(self._indices()):
            mine = position >= self.start and position % self.processes == self.rank
            if mine and (position - self.start) // self.batch % workers == turn:
                yield self.records[index], derived_seed(self.seed, Purpose.SAMPLE, position)

    def _indices(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(derived_seed(self.seed, Purpose.ORDER))
        every, whole = torch.arange(len(self.factors)), self.factors.floor()
        while True:
            extra = torch.rand(len(self.factors), generator=generator) < self.factors - whole
            indices = every.repeat_interleave((whole + extra).long())
            yield from indices[torch.randperm(len(indices), generator=generator)].tolist()


class TrainingBatch(list[dict[str, Any]]):
    """The inputs of a batch. The data loader calls ``pin_memory``, if asked to pin."""

    def pin_memory(self) -> TrainingBatch:
        """Copy the tensors to pinned memory, which the device reads while the host goes on.

        By default torch would also look for tensors in the vocabulary, and build a new one for every image.
        """
        return TrainingBatch(
            {key: value.pin_memory() if isinstance(value, torch.Tensor) else value for key, value in entry.items()}
            for entry in self
        )


class SeededMapper:
    """Dataset mapper for :class:`TrainingStream`: seeds the random generators with a record's seed, then maps it.

    Args:
        mapper: maps a dataset dict to the model's input, with random augmentation.
    """

    def __init__(self, mapper: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
        self.mapper = mapper

    def __call__(self, sample: tuple[Mapping[str, Any], int]) -> dict[str, Any]:
        record, seed = sample
        seed_all_rng(seed)
        return self.mapper(record)
