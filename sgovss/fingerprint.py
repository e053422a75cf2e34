"""Digests of weights and activation functions, to tell whether two models are the same."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

import torch
from torch import nn

_ACTIVATION = re.compile(r"\w*(lu6?|swish|mish|sigmoid|tanh)(activation|tanh)?", re.IGNORECASE)
"""Names of activation functions and their classes, such as gelu, QuickGELU, ReLU6, GELUActivation and GELUTanh."""


def fingerprint(*parts: nn.Module) -> str:
    """The SHA-256 digest of the state dicts of modules, and after a slash the activation functions in them.

    The same weights give other features with another activation, so the weights alone do not identify a model.

    Example::

        "9f86d0...15/GELU(approximate='none')+QuickGELU()"
    """
    digest = hashlib.sha256()
    for part in parts:
        for key, value in part.state_dict().items():
            digest.update(key.encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return f"{digest.hexdigest()}/{'+'.join(activations(*parts))}"


def activations(*parts: nn.Module) -> list[str]:
    """The activation functions in modules, sorted, each once: modules as torch prints them, functions by name."""
    found = set()
    for module in (module for part in parts for module in part.modules()):
        if _ACTIVATION.fullmatch(type(module).__name__) and not [*module.children()]:
            found.add(repr(module))
        names = (getattr(value, "__name__", "") for value in vars(module).values())
        found |= {name for name in names if _ACTIVATION.fullmatch(name)}
    return sorted(found)


def difference(found: str, expected: str) -> Literal["", "weights", "activation"]:
    """What differs between two fingerprints; empty if they are equal.

    Args:
        found: :func:`fingerprint` of a model.
        expected: the one to compare it with; those of older versions are the digest of the weights alone.
    """
    weights, _, functions = expected.partition("/")
    if found.partition("/")[0] != weights:
        return "weights"
    return "activation" if functions and found != expected else ""
