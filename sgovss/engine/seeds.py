"""Randomness as a function of the run's seed and of what it is for, so that nothing hidden has to be saved."""

from __future__ import annotations

import secrets
from enum import IntEnum

import numpy as np
from detectron2.config import CfgNode
from detectron2.utils import comm

from sgovss.engine.environment import recorded_seed


class Purpose(IntEnum):
    """What a derived seed is for; two purposes never share one."""

    ORDER = 0
    SAMPLE = 1
    STEP = 2


def derived_seed(seed: int, purpose: Purpose, *place: int) -> int:
    """A seed below 2**32 for one purpose at one place of the run, unrelated to its neighbours'."""
    return int(np.random.SeedSequence((seed, purpose, *place)).generate_state(1)[0])


def adopt_seed(cfg: CfgNode, resume: bool) -> None:
    """Give all processes one seed, in place: the config's, else that of the run to be resumed, else a new one."""
    seed = cfg.SEED
    if seed < 0 and resume:
        seed = recorded_seed(cfg.OUTPUT_DIR)
    if seed < 0:
        seed = secrets.randbelow(2**31)
    cfg.defrost()
    cfg.SEED = comm.all_gather(seed)[0]
    cfg.freeze()
