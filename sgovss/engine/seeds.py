"""Random seeds that are derived from the run's seed and their purpose, so that no generator state has to be saved."""

from __future__ import annotations

import secrets
from enum import IntEnum

import numpy as np
from detectron2.config import CfgNode
from detectron2.utils import comm

from sgovss.engine.environment import recorded_seed


class Purpose(IntEnum):
    """Purpose of a derived seed; seeds of different purposes are independent."""

    ORDER = 0
    SAMPLE = 1
    STEP = 2


def derived_seed(seed: int, purpose: Purpose, *position: int) -> int:
    """Derive a seed for one purpose at one position of the run.

    Args:
        seed: the run's seed.
        position: any number of integers, such as the step and the index of a batch in it.

    Returns:
        an integer below 2**32; seeds of neighbouring positions are unrelated.
    """
    return int(np.random.SeedSequence((seed, purpose, *position)).generate_state(1)[0])


def adopt_seed(cfg: CfgNode, resume: bool) -> None:
    """Set the same ``SEED`` in all processes, in place.

    A negative seed of the config is replaced by that of the run to be resumed, if there is one, or by a random one.

    Args:
        cfg: a frozen config; it is frozen again afterwards.
        resume: whether the run in OUTPUT_DIR is to be resumed.
    """
    seed = cfg.SEED
    if seed < 0 and resume:
        seed = recorded_seed(cfg.OUTPUT_DIR)
    if seed < 0:
        seed = secrets.randbelow(2**31)
    cfg.defrost()
    cfg.SEED = comm.all_gather(seed)[0]
    cfg.freeze()
