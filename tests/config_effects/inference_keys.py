"""The keys of TEST: views, precision, evaluation, scenes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch

from sgovss.data import register_datasets
from sgovss.engine.preparation import argument_parser, prepare_config
from sgovss.engine.trainer import Trainer
from sgovss.modeling.views import build_view
from sgovss.view_set import ViewSet
from tests.config_effects.model_keys import WORDS, built
from tests.config_effects.row import Case, Row, refusal
from tests.config_effects.scenes import unit_columns, windows
from tests.config_effects.solver_keys import train

WINDOWS = ("TEST.SLIDING_WINDOW.ENABLED", True)
MIRRORED = ("TEST.AUG.ENABLED", True)


def view(part: Callable[[Any], Any]) -> Callable[[Case], Any]:
    """A property of the way an image is scored."""
    return lambda case: part(build_view(case.cfg))


def precision_of_encoder(case: Case) -> torch.dtype:
    """The dtype of the image encoder's last layer at inference."""
    model, seen = built(case.options), []
    last = model.image_encoder.tower.projection
    handle = last.register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    with torch.no_grad():
        model.train(False)([{"image": torch.zeros(3, 64, 64), "vocabulary": WORDS}])
    handle.remove()
    model.train()
    return seen[0]


def evaluation(case: Case) -> dict[str, Any]:
    """The arguments of the evaluator of the test set."""
    cfg = Case((*case.fields, *case.options), case.folder, ()).cfg
    register_datasets(cfg.DATASETS.SPECIFICATIONS)
    with patch("sgovss.engine.trainer.OpenVocabularyEvaluator", lambda name, **arguments: arguments):
        return Trainer.build_evaluator(cfg, "fields_test")


def prepared(case: Case) -> tuple[str, ...]:
    """The test sets that are left when a run starts."""
    options = [*case.fields, "MODEL.CLIP.WEIGHTS", "random", "MODEL.CLIP.ACTIVATION", "gelu", *case.options]
    return prepare_config(argument_parser("").parse_args(["--config-file", "sgovss_tiny.yaml", *options])).DATASETS.TEST


ABSENT = ("DATASETS.TEST", "('fields_test','potsdam_test')")


def left(case: Case) -> tuple[str, ...] | str:
    return refusal(prepared)(case) or prepared(case)


def evaluations(case: Case) -> int:
    """How often the model is evaluated in four steps."""
    done = []
    with patch.object(Trainer, "test", classmethod(lambda cls, cfg, model: done.append(1) or {})):
        train(case, steps=4)
    return len(done)


ROWS = {
    "TEST.PRECISION": Row("bfloat16", precision_of_encoder, torch.bfloat16),
    "TEST.TF32": Row(True, lambda case: built(case.options).tf32, True),
    "TEST.CUDA_GRAPHS": Row(False, lambda case: built(case.options).cuda_graphs, False),
    "TEST.EARLY_REJECTION": Row(2, lambda case: built(case.options).head.early_rejection, 2),
    "TEST.SKIP_ABSENT": Row(True, left, ("fields_test",), ABSENT),
    "TEST.PUBLISHED": Row("nothing", refusal(prepared), "TEST.PUBLISHED"),
    "TEST.SEEN": Row(("river",), lambda case: evaluation(case)["seen"], ("river",)),
    "TEST.SAVE_PREDICTIONS": Row(True, lambda case: evaluation(case)["save_predictions"], True),
    "TEST.EVAL_PERIOD": Row(2, evaluations, 2, ("SOLVER.MAX_ITER", 4)),
    "TEST.AUG.ENABLED": Row(True, view(lambda v: type(v).__name__), "Augmented"),
    "TEST.AUG.MIN_SIZES": Row((64, 128), view(lambda v: tuple(v.sizes)), (64, 128), MIRRORED),
    "TEST.AUG.FLIP": Row(False, view(lambda v: v.views.mirror), False, MIRRORED),
    "TEST.VIEWS": Row(("turns", 1.5), view(lambda v: getattr(v, "views", None)), ViewSet(turns=True, scales=(1.5,))),
    "TEST.SLIDING_WINDOW.ENABLED": Row(True, view(lambda v: type(v).__name__), "SlidingWindow"),
    "TEST.SLIDING_WINDOW.WINDOW": Row(320, view(lambda v: v.window), 320, WINDOWS),
    "TEST.SLIDING_WINDOW.STRIDE": Row(200, view(lambda v: v.stride), 200, WINDOWS),
    "TEST.SLIDING_WINDOW.WORKING_SIZE": Row(500, view(lambda v: v.working_size), 500, WINDOWS),
    "TEST.SLIDING_WINDOW.GLOBAL_VIEW": Row(0, view(lambda v: v.global_view), 0, WINDOWS),
    "TEST.SLIDING_WINDOW.ANTIALIAS": Row(False, view(lambda v: v.antialias), False, WINDOWS),
    "TEST.SCENE.WINDOW": Row(64, lambda case: windows(case)[0][2:], (64, 64)),
    "TEST.SCENE.STRIDE": Row(32, lambda case: sum(shape[0] for shape in windows(case))),
    "TEST.SCENE.BATCH": Row(2, lambda case: windows(case)[0][0], 2),
    "TEST.SCENE.MEMORY": Row(0, unit_columns, 512),
}

UNREAD = """
    TEST.AUG.MAX_SIZE TEST.EXPECTED_RESULTS TEST.KEYPOINT_OKS_SIGMAS TEST.DETECTIONS_PER_IMAGE TEST.PRECISE_BN
    """
"""Detectron2's keys that sgovss does not read. EXPECTED_RESULTS is checked by Detectron2's trainer."""
