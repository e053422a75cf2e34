"""Numbers of a training step: exchanged between the processes once, and read without waiting for the device."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.distributed as dist
from detectron2.utils import comm


class StepNumbers:
    """Numbers of one step in all processes.

    On CUDA, exchange and copy to the host are only queued. :meth:`read` waits for them, so it costs nothing if the
    device has gone on to the next step by then.

    Args:
        values: scalars by name, tensors on ``device`` or Python numbers; the same names in all processes.
        device: the device of this process.
    """

    def __init__(self, values: Mapping[str, torch.Tensor | float], device: torch.device) -> None:
        self._names = list(values)
        # Filling does not wait for the device; copying a Python number to it would.
        row = torch.stack(
            [
                value.detach().float()
                if isinstance(value, torch.Tensor)
                else torch.full((), value, dtype=torch.float32, device=device)
                for value in values.values()
            ]
        )
        self._table = _of_all_processes(row)
        on_cuda = device.type == "cuda"
        self._host = self._table.to("cpu", non_blocking=on_cuda)  # into pinned memory
        self._copied = torch.cuda.Event() if on_cuda else None
        if self._copied is not None:
            self._copied.record()

    def finite(self, *names: str) -> torch.Tensor:
        """Whether the numbers of these names are finite in all processes: a bool scalar on the device."""
        columns = [self._names.index(name) for name in names]
        return torch.stack([self._table[:, column] for column in columns]).isfinite().all()

    def read(self) -> dict[str, list[float]]:
        """Wait for the numbers; return those of each process, by name."""
        if self._copied is not None:
            self._copied.synchronize()
        return dict(zip(self._names, self._host.T.tolist(), strict=True))


def _of_all_processes(row: torch.Tensor) -> torch.Tensor:
    """(N,) in each of P processes -> (P, N)."""
    rows = [torch.empty_like(row) for _ in range(comm.get_world_size())]
    if len(rows) == 1:
        return row[None]
    dist.all_gather(rows, row)
    return torch.stack(rows)
