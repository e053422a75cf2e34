"""Generated weights files in published layouts: exact keys and nesting, random values."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import open_clip
import torch
from torch import nn

from tests.modeling.conftest import TEXT, VISION

SMALL = {"embed_dim": 32, "vision_cfg": VISION["vit"], "text_cfg": TEXT}


def small_clip(seed: int = 0, quick_gelu: bool = False, **vision) -> nn.Module:
    torch.manual_seed(seed)
    return open_clip.CLIP(32, {**VISION["vit"], **vision}, TEXT, quick_gelu=quick_gelu).eval()


def openai_archive(path: Path, **vision) -> nn.Module:
    """A TorchScript archive in half precision with settings among the weights, OpenAI's format."""
    source = small_clip(seed=1, **vision)
    source.register_buffer("input_resolution", torch.tensor(64))
    texts = torch.zeros(1, TEXT["context_length"], dtype=torch.long)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(source, (torch.zeros(1, 3, 64, 64), texts), check_trace=False).half().save(path)
    return source


def bare(clip: nn.Module, path: Path) -> None:
    """RemoteCLIP, GeoRSCLIP: the state dict alone."""
    torch.save(clip.state_dict(), path)


@torch.enable_grad()
def training_checkpoint(clip: nn.Module, path: Path) -> None:
    """SkyCLIP: a checkpoint of open_clip's training on several GPUs."""
    trained = small_clip()
    optimizer = torch.optim.AdamW(trained.parameters(), lr=1e-3)
    trained.encode_image(torch.zeros(1, 3, 64, 64)).sum().backward()
    optimizer.step()
    content = {
        "epoch": 20,
        "name": "SkyCLIP_ViT_L14_top30pct",
        "state_dict": {f"module.{key}": value for key, value in clip.state_dict().items()},
        "optimizer": optimizer.state_dict(),
        "scaler": torch.amp.GradScaler("cpu").state_dict(),
    }
    torch.save(content, path)


def itra(clip: nn.Module, path: Path) -> None:
    """The layout that GeoRSCLIP's convert_weight.py reads."""
    state = {
        key.replace("visual.", "image_backbone.") if key.startswith("visual.") else f"text_backbone.{key}": value
        for key, value in clip.state_dict().items()
    }
    torch.save({"state_dict": state}, path)


def transformers_clip(path: Path, activation: str = "quick_gelu") -> nn.Module:
    """A CLIPModel of transformers, of the small architecture, with its config.json; returns it."""
    import transformers

    sizes = {"intermediate_size": 4 * 48, "hidden_size": 48, "num_attention_heads": 3, "num_hidden_layers": 4}
    vision = {**sizes, "image_size": 64, "patch_size": 16, "hidden_act": activation}
    sizes = {"intermediate_size": 4 * 32, "hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1}
    text = {**sizes, "vocab_size": 49408, "max_position_embeddings": 16, "hidden_act": activation}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=32)
    model = transformers.CLIPModel(config).eval()
    # Up to transformers 4.30 the position ids stood in the state dict, and older files have them.
    state = {**model.state_dict(), "vision_model.embeddings.position_ids": torch.arange(17)[None]}
    torch.save(state, path)
    path.with_name("config.json").write_text(json.dumps(config.to_dict()))
    return model


LAYOUTS: dict[str, Callable[[nn.Module, Path], None]] = {
    "RemoteCLIP-ViT-B-32.pt": bare,
    "SkyCLIP_ViT_L14_top30pct/epoch_20.pt": training_checkpoint,
    "RS5M_ViT-L-14.pt": itra,
}
