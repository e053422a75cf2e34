"""The endless stream of training images, the same for every number of processes and after every interruption."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from detectron2.data.common import DatasetFromList
from detectron2.utils.env import seed_all_rng
from torch.utils.data import IterableDataset, get_worker_info

from sgovss.engine.seeds import Purpose, derived_seed


class TrainingStream(IterableDataset):
    """Records in random order, epoch after epoch, each with a seed for its augmentation.

    Order and seeds follow from ``seed`` and the position in the stream alone. So a resumed run goes on as if it had
    never stopped, and processes and loader workers divide the stream without changing it: a step's positions are
    dealt out to the processes in turn, whole batches to the workers.

    Args:
        records: dicts, as Detectron2's datasets hold them.
        factors: (N,) how often each record comes up in an epoch; a fraction is a probability.
        seed: of the run.
        batch: how many records all processes take at once.
        start: position of the first record wanted, a multiple of ``batch``.
        rank, processes: which part is this process', of how many.
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
            ours = position >= self.start and position % self.processes == self.rank
            if ours and (position - self.start) // self.batch % workers == turn:
                yield self.records[index], derived_seed(self.seed, Purpose.SAMPLE, position)

    def _indices(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(derived_seed(self.seed, Purpose.ORDER))
        every, whole = torch.arange(len(self.factors)), self.factors.floor()
        while True:
            extra = torch.rand(len(self.factors), generator=generator) < self.factors - whole
            indices = every.repeat_interleave((whole + extra).long())
            yield from indices[torch.randperm(len(indices), generator=generator)].tolist()


class SeededMapper:
    """A dataset mapper for :class:`TrainingStream`: each record is augmented under the seed that comes with it."""

    def __init__(self, mapper: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
        self.mapper = mapper

    def __call__(self, sample: tuple[Mapping[str, Any], int]) -> dict[str, Any]:
        record, seed = sample
        seed_all_rng(seed)
        return self.mapper(record)
