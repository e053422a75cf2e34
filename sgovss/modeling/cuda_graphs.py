"""Start all kernels of a function on a GPU at once, as a CUDA graph.

For a small input, starting the kernels one by one from Python takes longer than computing them.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping

import torch
from torch import Tensor, nn

Tensors = dict[str, Tensor]
Function = Callable[[Mapping[str, Tensor]], Tensors]

MOST_ELEMENTS = 2**23
"""Inputs or outputs with more elements keep a GPU busy while Python starts the kernels, and need more memory."""
_MOST_GRAPHS = 4
_MOST_KEYS = 32
_CALLS_BEFORE = 2
"""Calls with inputs of one shape before a graph is recorded, which takes as long as some calls."""


class CudaGraphs:
    """Run a function of tensors; repeated calls with inputs of the same shapes replay a CUDA graph.

    Only inference on CUDA is recorded. A graph keeps its memory, so only the graphs of a few shapes are kept. Functions
    that cannot be recorded are called as they are. Threads that replay a graph wait for each other.

    Args:
        function: tensors by name -> tensors by name, of any shapes, without reading a value back from the device.
        module: the module whose weights it reads. New values in the same memory are seen by a graph; if the memory is
            another one, the graph is not used.
        record: inputs -> a function that replays the graph, see :func:`record_graph`.
    """

    def __init__(
        self, function: Function, module: nn.Module, record: Callable[[Function, Mapping[str, Tensor]], Function]
    ) -> None:
        self.function = function
        self._module = module
        self._record = record
        self._calls: OrderedDict[Hashable, int] = OrderedDict()
        self._graphs: OrderedDict[Hashable, _Graph] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, inputs: Mapping[str, Tensor], *settings: Hashable) -> Tensors:
        """Call the function.

        Args:
            inputs: its inputs.
            settings: all else that the result depends on, besides inputs and weights.

        Returns:
            its outputs, in memory that later calls leave alone.
        """
        if not _can_be_recorded(inputs):
            return self.function(inputs)
        key = (settings, torch.is_inference_mode_enabled(), *map(_form, inputs.items()))
        with self._lock:
            graph = self._graphs.get(key)
            if graph is None or not graph.is_current():
                graph = self._recorded(key, inputs)
            if graph is not None:
                return graph.replay(inputs)
        return self.function(inputs)

    def clear(self) -> None:
        """Forget all graphs, for instance because the module has got other weights."""
        with self._lock:
            self._graphs.clear()
            self._calls.clear()

    def __reduce__(self) -> tuple:
        return type(self), (self.function, self._module, self._record)

    def _recorded(self, key: Hashable, inputs: Mapping[str, Tensor]) -> _Graph | None:
        """Record a graph if there were enough calls with this key, and it can be recorded."""
        self._graphs.pop(key, None)
        calls = self._calls.pop(key, 0)
        if calls < 0:  # it could not be recorded
            self._calls[key] = calls
            return None
        if calls < _CALLS_BEFORE:
            self._calls[key] = calls + 1
            _keep_last(self._calls, _MOST_KEYS)
            return None
        try:
            graph = _Graph(self._record(self.function, inputs), self._module)
        except RuntimeError:  # such as too little memory, or a layer that waits for the device
            self._calls[key] = -1
            return None
        self._graphs[key] = graph
        _keep_last(self._graphs, _MOST_GRAPHS)
        return graph


class _Graph:
    """A recorded function, and the memory of the weights that it reads."""

    def __init__(self, replay: Function, module: nn.Module) -> None:
        self.replay = replay
        self._weights = [*module.parameters(), *module.buffers()]
        self._memory = self._pointers()

    def is_current(self) -> bool:
        return self._pointers() == self._memory

    def _pointers(self) -> list[int]:
        return [weight.data_ptr() for weight in self._weights]


def record_graph(function: Function, inputs: Mapping[str, Tensor]) -> Function:
    """Record the kernels of a function on CUDA.

    Args:
        function: see :class:`CudaGraphs`.
        inputs: tensors on one CUDA device.

    Returns:
        A function that copies its inputs, which have the same shapes, to the graph's memory and starts the kernels. Its
        results do not change with later calls.

    Raises:
        RuntimeError: the function waits for the device, or there is too little memory.
    """
    device = next(iter(inputs.values())).device
    with torch.cuda.device(device):
        static = {name: tensor.clone() for name, tensor in inputs.items()}
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # libraries prepare themselves in the first call on a stream
            function(static)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Other threads may use the device meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            outputs = function(static)

    def replay(inputs: Mapping[str, Tensor]) -> Tensors:
        for name, tensor in inputs.items():
            static[name].copy_(tensor)
        graph.replay()
        return {name: tensor.clone() for name, tensor in outputs.items()}

    return replay


def _can_be_recorded(inputs: Mapping[str, Tensor]) -> bool:
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    # A context outside would keep weights that autocast has cast, and a graph would read them after their end.
    on_cuda = all(tensor.is_cuda for tensor in inputs.values())
    return on_cuda and torch.cuda.is_available() and not torch.is_autocast_enabled("cuda")


def _form(named: tuple[str, Tensor]) -> Hashable:
    name, tensor = named
    return name, tensor.shape, tensor.stride(), tensor.dtype, tensor.device


def _keep_last(entries: OrderedDict, most: int) -> None:
    while len(entries) > most:
        entries.popitem(last=False)
