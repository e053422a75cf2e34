"""Digests of weights, to tell whether two models are the same."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


def fingerprint(*parts: nn.Module) -> str:
    """SHA-256 digest of the state dicts of modules, as a hexadecimal string."""
    digest = hashlib.sha256()
    for part in parts:
        for key, value in part.state_dict().items():
            digest.update(key.encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
