"""The embedded model: an image tower from the package's assets, and a text encoder that is built when it is used.

It has the tensors of open_clip's model of the same configuration, under the same names.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from sgovss.modeling.clip_configuration import ASSETS, EMBEDDED_MODEL, embedded_configuration, minilm_folder
from sgovss.modeling.efficientnet import FEATURES, SCALES, EfficientNetLite
from sgovss.modeling.minilm import MiniLM

WEIGHTS = ASSETS / "image_tower.safetensors"

_TEXT = "text."
_UNUSED = ("embeddings.position_ids", "pooler.")
"""Beginnings of the names of tensors in the text encoder's file that the model does not have."""


class EmbeddedImageTower(nn.Module):
    """A convolutional trunk and a linear projection of its pooled features, as in open_clip's ``TimmModel``.

    Args:
        pretrained: whether to load the weights, or to leave them random.
    """

    def __init__(self, pretrained: bool) -> None:
        super().__init__()
        configuration = embedded_configuration()["model_cfg"]
        self.trunk = EfficientNetLite(SCALES[configuration["vision_cfg"]["timm_model_name"]])
        projection = nn.Linear(FEATURES, configuration["embed_dim"], bias=False)
        self.head = nn.Sequential(OrderedDict(drop=nn.Dropout(0.0), proj=projection))
        if pretrained:
            state = load_file(WEIGHTS)
            self.load_state_dict({key: x.float() if x.is_floating_point() else x for key, x in state.items()})

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images (B, 3, H, W) -> embeddings (B, D), not normalised."""
        return self.head(self.trunk(images))


class EmbeddedClip(nn.Module):
    """The embedded model, whose text encoder takes longer to import and build than all the rest.

    ``state_dict`` has the weights of the text encoder before it is built too, and ``load_state_dict`` keeps new ones
    until then.

    Args:
        pretrained: whether the image tower has its weights, or random ones. The text encoder always has its weights.

    Raises:
        InputError: the package with the text encoder is not installed.
    """

    def __init__(self, pretrained: bool) -> None:
        super().__init__()
        self.folder = minilm_folder()
        self.visual: nn.Module | None = EmbeddedImageTower(pretrained)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.register_module("text", None)
        self._text_state: dict[str, torch.Tensor] | None = None
        self.register_state_dict_post_hook(_add_text)
        self.register_load_state_dict_pre_hook(_keep_text)

    def encode_text(self, tokens: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        """Tokens (N, context length) int64 -> embeddings (N, D)."""
        self.build_text()
        features = self.get_submodule("text")(tokens)
        return F.normalize(features, dim=-1) if normalize else features

    def build_text(self) -> None:
        """Build the text encoder unless it is built already."""
        if self._modules["text"] is not None:
            return
        with torch.device("meta"):  # drawing initial weights takes longer than reading the weights, and random numbers
            text = MiniLM(self.folder)
        text.load_state_dict({key: value.float() for key, value in self.text_state().items()}, assign=True)
        self.text = text.requires_grad_(False).eval().to(self.logit_scale.device)
        self._text_state = None

    def text_state(self) -> dict[str, torch.Tensor]:
        """The state dict of the text encoder."""
        text = self._modules["text"]
        if text is not None:
            return text.state_dict()
        if self._text_state is None:
            tensors = load_file(self.folder / "model.safetensors")
            self._text_state = {
                f"transformer.{key}": value for key, value in tensors.items() if not key.startswith(_UNUSED)
            }
        return self._text_state

    def identity(self) -> str:
        """A digest of the text encoder's weights, whether it is built or not."""
        digest = hashlib.sha256()
        for key, value in sorted(self.text_state().items()):
            digest.update(key.encode())
            digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return f"{EMBEDDED_MODEL} {digest.hexdigest()}"


def _add_text(module: nn.Module, state: dict[str, Any], prefix: str, metadata: dict[str, Any]) -> None:
    assert isinstance(module, EmbeddedClip)
    if module._modules["text"] is None:
        state.update({f"{prefix}{_TEXT}{key}": value for key, value in module.text_state().items()})


def _keep_text(
    module: nn.Module,
    state: dict[str, Any],
    prefix: str,
    metadata: dict[str, Any],
    strict: bool,
    missing: list[str],
    unexpected: list[str],
    errors: list[str],
) -> None:
    """Keep the text encoder's part of a state dict until the encoder is built; the arguments are those of torch."""
    assert isinstance(module, EmbeddedClip)
    if module._modules["text"] is not None:
        return
    start, own = f"{prefix}{_TEXT}", module.text_state()
    given = {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}
    missing += [f"{start}{key}" for key in own if key not in given]
    unexpected += [f"{start}{key}" for key in given if key not in own]
    errors += [f"{start}{key}: another shape" for key in own if key in given and given[key].shape != own[key].shape]
    module._text_state = {key: given.get(key, value) for key, value in own.items()}
