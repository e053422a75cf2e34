"""When a CUDA graph is recorded, replayed and forgotten. That graphs give equal results is tested on a device."""

from __future__ import annotations

import copy

import pytest
import torch

import sgovss
from sgovss.modeling import cuda_graphs
from sgovss.modeling.cuda_graphs import CudaGraphs


class Recorder:
    """Doubles x plus a weight; notes each recording and each replay."""

    def __init__(self) -> None:
        self.module = torch.nn.Linear(1, 1, bias=False)
        self.recorded: list[tuple[int, ...]] = []
        self.replayed = 0
        self.fails = False

    def function(self, inputs):
        return {"y": 2 * inputs["x"] + self.module.weight.detach().sum()}

    def record(self, function, inputs):
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.recorded.append(tuple(inputs["x"].shape))

        def replay(inputs):
            self.replayed += 1
            return function(inputs)

        return replay


@pytest.fixture
def recorder(monkeypatch):
    monkeypatch.setattr(cuda_graphs, "_can_be_recorded", lambda inputs: True)
    return Recorder()


def call(graphs, *shape, settings=()):
    x = torch.randn(*shape)
    return graphs({"x": x}, *settings)["y"] - 2 * x


def test_the_third_call_with_one_shape_is_recorded_and_replayed_from_then_on(recorder):
    graphs = CudaGraphs(recorder.function, recorder.module, recorder.record)
    for number in range(5):
        torch.testing.assert_close(call(graphs, 2, 3), recorder.module.weight.detach().expand(2, 3))
        assert recorder.replayed == max(0, number - 1)
    assert recorder.recorded == [(2, 3)]


def test_other_shapes_strides_types_and_settings_have_their_own_graph(recorder):
    graphs = CudaGraphs(recorder.function, recorder.module, recorder.record)
    x = torch.randn(2, 3)
    for inputs, settings in ((x, ()), (x.t(), ()), (torch.randn(3, 2), ()), (x.double(), ()), (x, ("bfloat16",))):
        before = len(recorder.recorded)
        for _ in range(4):
            graphs({"x": inputs}, *settings)
        assert len(recorder.recorded) == before + 1


def test_only_the_graphs_of_the_last_shapes_are_kept(recorder):
    graphs = CudaGraphs(recorder.function, recorder.module, recorder.record)
    for size in range(1, 7):
        for _ in range(3):
            call(graphs, size)
    before = len(recorder.recorded)
    call(graphs, 6)
    call(graphs, 3)
    assert len(recorder.recorded) == before == 6
    replayed = recorder.replayed
    call(graphs, 1)  # forgotten
    assert recorder.replayed == replayed


def test_many_shapes_once_each_are_not_recorded(recorder):
    graphs = CudaGraphs(recorder.function, recorder.module, recorder.record)
    for size in (*range(1, 100), *range(1, 100), *range(1, 100)):
        call(graphs, size)
    assert not recorder.recorded


def test_what_cannot_be_recorded_is_called_and_not_tried_again(recorder):
    recorder.fails = True
    graphs = CudaGraphs(recorder.function, recorder.module, recorder.record)
    for _ in range(5):
        torch.testing.assert_close(call(graphs, 2), recorder.module.weight.detach().expand(1, 2)[0])
    recorder.fails = False
    call(graphs, 2)
    assert not recorder.recorded and not recorder.replayed
    graphs.clear()
    for _ in range(3):
        call(graphs, 2)
    assert recorder.recorded


def test_weights_in_other_memory_need_another_graph(recorder):
    graphs = CudaGraphs(recorder.function, recorder.module, recorder.record)
    for _ in range(4):
        call(graphs, 2)
    with torch.no_grad():
        recorder.module.weight.add_(1)
    call(graphs, 2)
    assert recorder.replayed == 3
    recorder.module.weight.data = recorder.module.weight.data.clone()
    call(graphs, 2)
    assert recorder.replayed == 3


def test_a_model_forgets_its_graphs_when_weights_are_loaded(monkeypatch):
    monkeypatch.setattr(cuda_graphs, "_can_be_recorded", lambda inputs: True)
    recorded = []

    def record(function, inputs):
        recorded.append(1)
        return function

    monkeypatch.setattr("sgovss.modeling.meta_arch.record_graph", record)
    predictor = sgovss.Predictor(options=("MODEL.DEVICE", "cpu"))
    image = torch.zeros(64, 64, 3, dtype=torch.uint8).numpy()
    first = predictor(image, "road, tree").scores
    for _ in range(3):
        assert (predictor(image, "road, tree").scores == first).all()
    assert len(recorded) == 2  # encoder and head
    predictor.model.precision = "bfloat16"
    for _ in range(3):
        predictor(image, "road, tree")
    assert len(recorded) == 4  # the precision decides which kernels run
    predictor.model.precision = "float32"
    copied = copy.deepcopy(predictor.model)
    assert copied.cuda_graphs and copied.state_dict().keys() == predictor.model.state_dict().keys()
    predictor.model.load_state_dict(predictor.model.state_dict())
    for _ in range(3):
        predictor(image, "road, tree")
    assert len(recorded) == 6  # anew, since the weights may be others
    plain = sgovss.Predictor(options=("MODEL.DEVICE", "cpu", "TEST.CUDA_GRAPHS", "False"))
    for _ in range(4):
        plain(image, "road, tree")
    assert len(recorded) == 6


def test_early_rejection_reads_values_back_and_has_no_graphs():
    options = ("MODEL.DEVICE", "cpu", "TEST.EARLY_REJECTION", "2")
    assert not sgovss.Predictor(options=options).model.cuda_graphs


def test_on_a_processor_nothing_is_recorded():
    recorder = Recorder()
    graphs = CudaGraphs(recorder.function, recorder.module, recorder.record)
    for _ in range(4):
        call(graphs, 2)
    assert not recorder.recorded
