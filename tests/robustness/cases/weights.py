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


def clip(build, *options: str):
    """Train from CLIP weights."""
    return lambda place: place.train("MODEL.CLIP.NAME", "ViT-S-32-alt", "MODEL.CLIP.WEIGHTS", build(place), *options)


def clip_file(place: Place, suffix: str = ".pt", **more: object) -> Path:
    """A state dict of another, small architecture."""
    path = place.folder / f"clip{suffix}"
    state = {key: value.contiguous() for key, value in open_clip.CLIP(32, VISION["vit"], TEXT).state_dict().items()}
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state, **more}, path)
    return path


def pointer(place: Place) -> Path:
    """What git leaves in place of a large file that was not fetched."""
    path = place.folder / "clip.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0a1b\nsize 598641023\n")
    return path


def program(place: Place) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Sly(place.folder / "trace")).save(place.folder / "clip.pt")
    return place.folder / "clip.pt"


CASES: list[Case] = [
    refused(
        "checkpoint that does not exist",
        "train_net",
        fine_tuned(lambda place: place.folder / "none.pth"),
        "MODEL.WEIGHTS: no file or folder …/none.pth; give a checkpoint of 'sgovss train', a model folder, or a model "
        "of the hub (owner/name)",
    ),
    refused(
        "empty checkpoint file",
        "train_net",
        fine_tuned(lambda place: emptied(checkpoint(place))),
        "MODEL.WEIGHTS: …/mine.pth is an empty file, not a checkpoint of sgovss; copy it again",
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
        "over (x); give the config of its training",
    ),
    refused(
        "checkpoint with a pickled object that would run a program (it does not run)",
        "train_net",
        fine_tuned(lambda place: checkpoint(place, hook=Shell(place.folder / "trace"))),
        "MODEL.WEIGHTS: …/mine.pth is damaged, or holds more than tensors and plain values, which is not read because "
        "it can run code; copy it again, or train again; for CLIP weights, set MODEL.CLIP.WEIGHTS",
        proves=no_trace,
    ),
    refused(
        "CLIP weights that are neither a file nor a tag of open_clip",
        "train_net",
        clip(lambda _: "openia"),
        "MODEL.CLIP.WEIGHTS: 'openia' is neither a file nor one of open_clip's tags for ViT-S-32-alt; it "
        "has none; give the path of a file",
    ),
    refused(
        "empty file of CLIP weights",
        "train_net",
        clip(lambda place: emptied(clip_file(place))),
        "MODEL.CLIP.WEIGHTS: …/clip.pt: an empty file, not weights of torch; copy it again",
    ),
    refused(
        "truncated CLIP weights",
        "train_net",
        clip(lambda place: cut(clip_file(place, ".safetensors"))),
        "MODEL.CLIP.WEIGHTS: …/clip.safetensors: cannot be read as weights (…); it may be cut short: copy it again",
    ),
    refused(
        "CLIP weights of another architecture",
        "train_net",
        clip(clip_file, "MODEL.CLIP.ACTIVATION", "gelu"),
        "MODEL.CLIP.WEIGHTS: …/clip.pt: these weights belong to another architecture; set MODEL.CLIP.NAME to "
        "that one (…)",
    ),
    refused(
        "CLIP weights of unknown activation",
        "train_net",
        clip(clip_file),
        "MODEL.CLIP.ACTIVATION: 'auto', but the activation of clip.pt is not known; set quick_gelu if its weights "
        "come from OpenAI's, gelu if from LAION's or trained from scratch; or write it into the file with "
        "'sgovss convert --activation' (tools/convert_weights.py)",
    ),
    refused(
        "pointer of Git LFS in place of CLIP weights",
        "train_net",
        clip(pointer),
        "MODEL.CLIP.WEIGHTS: …/clip.safetensors: the pointer of Git LFS to a file, not weights of torch; fetch the "
        "file itself with 'git lfs pull', or download it again",
    ),
    refused(
        "CLIP weights as a checkpoint",
        "train_net",
        fine_tuned(lambda place: clip_file(place, ".safetensors")),
        "MODEL.WEIGHTS: …/clip.safetensors is a safetensors file, not a checkpoint of sgovss; set MODEL.CLIP.WEIGHTS "
        "for CLIP weights",
    ),
    refused(
        "CLIP weights with a pickled object that would run a program (it does not run)",
        "train_net",
        clip(lambda place: clip_file(place, hook=Shell(place.folder / "trace"))),
        "MODEL.CLIP.WEIGHTS: …/clip.pt: damaged, or holds Python objects beside tensors, which are not read because "
        "they can run code; copy it again, get a file of weights only from its authors, or, if you trust them, give "
        "--trust-pickle to 'sgovss convert'",
        proves=no_trace,
    ),
    refused(
        "CLIP weights in a TorchScript archive with a program that would write to a file (it does not run)",
        "train_net",
        clip(program),
        "MODEL.CLIP.WEIGHTS: …/clip.pt: a TorchScript archive of more than weights, or damaged; copy it again",
        proves=no_trace,
    ),
]
