"""Weights that are truncated, belong to another model or would run a program."""

from __future__ import annotations

import warnings
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

from sgovss.config import load_config
from tests.modeling.conftest import TEXT, VISION
from tests.modeling.test_torchscript import Shell, Sly
from tests.robustness.case import Case, refused
from tests.robustness.cases.configs import no_trace
from tests.robustness.place import Place


def checkpoint(place: Place, **changes: object) -> Path:
    """A file with the content of a checkpoint, but with the weights of no real model."""
    path = place.folder / "mine.pth"
    content = {"kind": "inference", "config": load_config("sgovss_tiny.yaml").dump(), "model": {"x": torch.zeros(5000)}}
    torch.save(content | changes, path)
    return path


def emptied(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def cut(path: Path, fraction: float = 0.6) -> Path:
    path.write_bytes(path.read_bytes()[: int(fraction * path.stat().st_size)])
    return path


def fine_tuned(build):
    """Evaluate a checkpoint."""
    return lambda place: ["--eval-only", *place.train("MODEL.WEIGHTS", build(place))]


def clip(build):
    """Train from CLIP weights."""
    return lambda place: place.train("MODEL.CLIP.NAME", "ViT-S-32-alt", "MODEL.CLIP.WEIGHTS", build(place))


def clip_file(place: Place, suffix: str = ".pt", **more: object) -> Path:
    """A state dict of another, small architecture."""
    path = place.folder / f"clip{suffix}"
    state = {key: value.contiguous() for key, value in open_clip.CLIP(32, VISION["vit"], TEXT).state_dict().items()}
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state, **more}, path)
    return path


def program(place: Place) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Sly(place.folder / "trace")).save(place.folder / "clip.pt")
    return place.folder / "clip.pt"


_PICKLED = "damaged, or holds more than tensors"

CASES: list[Case] = [
    refused(
        "checkpoint that does not exist",
        "train_net",
        fine_tuned(lambda place: place.folder / "none.pth"),
        "MODEL.WEIGHTS: no file …/none.pth; give a checkpoint of 'sgovss train'",
    ),
    refused(
        "empty checkpoint file",
        "train_net",
        fine_tuned(lambda place: emptied(checkpoint(place))),
        "MODEL.WEIGHTS: …/mine.pth is damaged or cut short (…); copy it again",
    ),
    refused(
        "truncated checkpoint",
        "demo",
        lambda place: place.demo(None, "road", "--opts", "MODEL.WEIGHTS", str(cut(checkpoint(place)))),
        "MODEL.WEIGHTS: …/mine.pth is damaged or cut short (…); copy it again",
    ),
    refused(
        "checkpoint of another program",
        "train_net",
        fine_tuned(lambda place: checkpoint(place, kind="other")),
        "MODEL.WEIGHTS: …/mine.pth is not a checkpoint of sgovss; set MODEL.CLIP.WEIGHTS for CLIP weights",
    ),
    refused(
        "checkpoint of another architecture",
        "train_net",
        fine_tuned(checkpoint),
        "MODEL.WEIGHTS: …/mine.pth belongs to another architecture or config: … tensors missing (…); 1 tensors left "
        "over (x)",
    ),
    refused(
        "checkpoint with a pickled object that would run a program (it does not run)",
        "train_net",
        fine_tuned(lambda place: checkpoint(place, hook=Shell(place.folder / "trace"))),
        f"MODEL.WEIGHTS: …/mine.pth is {_PICKLED} and plain values, which is not read because it can run "
        "code; copy it again, or train again",
        proves=no_trace,
    ),
    refused(
        "CLIP weights that are neither a file nor a tag of open_clip",
        "train_net",
        clip(lambda _: "openia"),
        "MODEL.CLIP.WEIGHTS: 'openia' is neither a file nor one of open_clip's tags for ViT-S-32-alt (none)",
    ),
    refused(
        "empty file of CLIP weights",
        "train_net",
        clip(lambda place: emptied(clip_file(place))),
        "MODEL.CLIP.WEIGHTS: …/clip.pt cannot be read as weights (…); it may be cut short: copy it again",
    ),
    refused(
        "truncated CLIP weights",
        "train_net",
        clip(lambda place: cut(clip_file(place, ".safetensors"))),
        "MODEL.CLIP.WEIGHTS: …/clip.safetensors cannot be read as weights (…); it may be cut short: copy it again",
    ),
    refused(
        "CLIP weights of another architecture",
        "train_net",
        clip(clip_file),
        "MODEL.CLIP.WEIGHTS: …/clip.pt: these weights belong to another architecture; set MODEL.CLIP.NAME to "
        "that one (…)",
    ),
    refused(
        "CLIP weights with a pickled object that would run a program (it does not run)",
        "train_net",
        clip(lambda place: clip_file(place, hook=Shell(place.folder / "trace"))),
        f"MODEL.CLIP.WEIGHTS: …/clip.pt is {_PICKLED}, which is not read because it can run code; copy it again, "
        "or see 'sgovss convert --trust-pickle'",
        proves=no_trace,
    ),
    refused(
        "CLIP weights in a TorchScript archive with a program that would write to a file (it does not run)",
        "train_net",
        clip(program),
        f"MODEL.CLIP.WEIGHTS: …/clip.pt is {_PICKLED}, which is not read because it can run code; copy it again, "
        "or see 'sgovss convert --trust-pickle'",
        proves=no_trace,
    ),
]
