"""Reading of the weights in a TorchScript archive without running its code."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from sgovss.errors import InputError
from sgovss.modeling.open_clip_models import load_weights_file
from sgovss.modeling.torchscript import read_torchscript
from tests.modeling.test_clip_models import small_clip

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning", "ignore:.torch.jit:DeprecationWarning")


class Several(torch.nn.Module):
    """Tensors of several types, shared, transposed and empty, and attributes that are not tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
        self.again = self.first[0]
        self.words, self.numbers, self.by_name, self.share = ["a"], [1, 2], {"k": 1}, 1.5
        for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.int32, torch.uint8, torch.bool):
            self.register_buffer(f"of_{str(dtype)[6:]}", torch.ones(2, 3, dtype=dtype).t())
        self.register_buffer("empty", torch.zeros(0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.first(x) + self.numbers[0] + self.by_name["k"] + len(self.words) * self.share


def test_tensors_are_those_of_the_state_dict(tmp_path):
    torch.jit.script(Several()).save(tmp_path / "several.pt")
    found, expected = read_torchscript(tmp_path / "several.pt"), torch.jit.load(tmp_path / "several.pt").state_dict()
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].dtype == value.dtype and torch.equal(found[key], value), key


class Sly(torch.nn.Module):
    """A module whose code writes to a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))
        self.path = str(path)

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, str, bool]:
        return (self.weight, self.path, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, str, bool]) -> None:
        torch.save(state[0], state[1])
        self.weight = state[0]
        self.path = state[1]
        self.training = state[2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


def test_no_program_runs(tmp_path):
    trace = tmp_path / "trace"
    torch.jit.script(Sly(trace)).save(tmp_path / "sly.pt")
    torch.jit.load(tmp_path / "sly.pt")
    assert trace.exists(), "the trap is no trap, and the test proves nothing"
    trace.unlink()
    with pytest.raises(InputError, match=r"sly\.pt: a TorchScript archive of more than weights"):
        load_weights_file(small_clip(), tmp_path / "sly.pt")
    assert not trace.exists()


class Shell:
    """Pickled, it creates a file when it is read."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return (Path.touch, (self.trace,))


@pytest.mark.parametrize("archive", [False, True])
def test_no_pickled_object_is_built(tmp_path, archive):
    trace, path = tmp_path / "trace", tmp_path / "clip.pt"
    if archive:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("clip/data.pkl", pickle.dumps(Shell(trace)))
            file.writestr("clip/constants.pkl", b"")
    else:
        torch.save({"state_dict": small_clip().state_dict(), "hook": Shell(trace)}, path)
        torch.load(path, weights_only=False)
        assert trace.exists(), "the trap is no trap, and the test proves nothing"
        trace.unlink()
    wanted = r"clip\.pt: a TorchScript archive of more" if archive else r"clip\.pt: damaged, or holds Python objects"
    with pytest.raises(InputError, match=wanted) as caught:
        load_weights_file(small_clip(), path)
    assert "\n" not in str(caught.value)
    assert not trace.exists()


def test_damage_anywhere_is_noticed_or_harmless(tmp_path):
    """Every byte of the description, and every tensor by its checksum."""
    torch.jit.script(torch.nn.Linear(2, 3)).save(tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    expected = read_torchscript(tmp_path / "whole.pt")
    path = tmp_path / "damaged.pt"
    for position in range(0, len(whole), 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        try:
            found = read_torchscript(path)
        except Exception:
            continue
        assert all(torch.equal(found[key], value) for key, value in expected.items())
