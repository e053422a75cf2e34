"""Detectron2's default trainer, extended to open vocabularies, any device, bfloat16 and gradient accumulation."""

from __future__ import annotations

import functools
import logging
import warnings
import weakref
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader, build_detection_train_loader, get_detection_dataset_dicts
from detectron2.engine import DefaultTrainer, HookBase, TrainerBase, hooks
from detectron2.solver.build import get_default_optimizer_params
from detectron2.utils import comm
from detectron2.utils.events import CommonMetricPrinter, TensorboardXWriter
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sgovss.data.labels import load_labels
from sgovss.data.mapper import SegmentationMapper
from sgovss.data.registration import dataset_metadata, training_vocabulary
from sgovss.data.unlabelled import list_unlabelled, repeat_factors
from sgovss.engine.balance import labelled_factors, training_weights
from sgovss.engine.checkpoint import SGOVSSCheckpointer
from sgovss.engine.hooks import Evaluation, InferenceCheckpoint
from sgovss.engine.interruption import Interruption, UndisturbedMapper, training_listener
from sgovss.engine.metrics_file import MetricsFile, trim_metrics
from sgovss.engine.step import StepTrainer
from sgovss.engine.stream import SeededMapper, TrainingBatch, TrainingStream
from sgovss.engine.trackers import trackers
from sgovss.evaluation.evaluator import OpenVocabularyEvaluator
from sgovss.modeling import SGOVSS, build_model
from sgovss.precision import cuda_kernels

logger = logging.getLogger(__name__)

_ENCODER = "image_encoder."
"""Start of the names of the image encoder's parameters."""

# Names of parameters that are scales, offsets or embeddings: weight decay would only pull them to zero.
_NO_DECAY = ("scale", "log_scale", "logit_bias", "class_embedding", "positional_embedding", "queries")


class Trainer(DefaultTrainer):
    """Trains and evaluates the model of a config.

    Args:
        cfg: a frozen config whose datasets are registered.
    """

    iter: int

    def __init__(self, cfg: CfgNode) -> None:
        # DefaultTrainer.__init__ is not called: it passes device ids to DistributedDataParallel, which fails on CPU,
        # and supports neither bfloat16 nor gradient accumulation.
        TrainerBase.__init__(self)
        cfg = DefaultTrainer.auto_scale_workers(cfg, comm.get_world_size())
        model = self.build_model(cfg)
        if (weights := training_weights(cfg)) is not None:
            assert isinstance(model, SGOVSS)
            model.objective.weigh(weights)
        optimizer = self.build_optimizer(cfg, model)
        clipping = cfg.SOLVER.CLIP_GRADIENTS
        listener = training_listener()
        self._trainer = StepTrainer(
            _distributed(model),
            None,  # the loader is built in train(), when the first step is known
            optimizer,
            precision=cfg.SOLVER.AMP.DTYPE if cfg.SOLVER.AMP.ENABLED else "float32",
            accumulate=cfg.SOLVER.ACCUMULATE,
            max_norm=clipping.CLIP_VALUE if clipping.ENABLED else None,
            seed=cfg.SEED,
            patience=cfg.SOLVER.NONFINITE_PATIENCE,
            encoder=[each for name, each in model.named_parameters() if name.startswith(_ENCODER)],
            signal=lambda: listener.received,
        )
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.checkpointer = SGOVSSCheckpointer(model, cfg, trainer=weakref.proxy(self))
        self.start_iter = 0
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.cfg = cfg
        self.interruption = Interruption(self.checkpointer, listener, self._trainer)
        self.register_hooks(self.build_hooks())

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        """Build the model, and log its size instead of every layer as Detectron2 does."""
        model = build_model(cfg)
        total = sum(parameter.numel() for parameter in model.parameters())
        trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        logger.info("%s: %.2f M parameters, %.2f M trainable", cfg.MODEL.CLIP.NAME, total / 1e6, trainable / 1e6)
        return model

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        """Build AdamW; the image encoder's learning rate is MODEL.CLIP.LR_MULTIPLIER times that of the rest."""
        parameters = get_default_optimizer_params(
            model,
            base_lr=cfg.SOLVER.BASE_LR,
            weight_decay=cfg.SOLVER.WEIGHT_DECAY,
            weight_decay_norm=cfg.SOLVER.WEIGHT_DECAY_NORM,
            weight_decay_bias=cfg.SOLVER.WEIGHT_DECAY_BIAS,
            lr_factor_func=lambda name: cfg.MODEL.CLIP.LR_MULTIPLIER if name.startswith(_ENCODER) else 1.0,
            overrides={name: {"weight_decay": 0.0} for name in _NO_DECAY},
        )
        return torch.optim.AdamW(
            parameters,
            lr=cfg.SOLVER.BASE_LR,
            weight_decay=cfg.SOLVER.WEIGHT_DECAY,
            eps=cfg.SOLVER.EPS,
            # One kernel for many tensors. On a CPU it would change the last digits.
            fused=True if next(model.parameters()).device.type == "cuda" else None,
        )

    @classmethod
    def build_train_loader(cls, cfg: CfgNode, start_iter: int = 0) -> Any:
        """Build the loader of labelled images, and of unlabelled ones if compensation is enabled.

        Args:
            cfg: the config.
            start_iter: the first step to load images for.
        """
        labelled = get_detection_dataset_dicts(cfg.DATASETS.TRAIN, filter_empty=False)
        unlabelled, factors = [], labelled_factors(cfg, labelled)
        if cfg.DATASETS.UNLABELLED and cfg.MODEL.SGOVSS.COMPENSATION.ENABLED:
            unlabelled = list_unlabelled(cfg.DATASETS.UNLABELLED, cfg.DATASETS.TRAIN[0])
            factors = repeat_factors(factors, len(unlabelled), cfg.DATASETS.UNLABELLED_SHARE)
            logger.info("%d images with labels, %d without", len(labelled), len(unlabelled))
        stream = TrainingStream(
            [*labelled, *unlabelled],
            factors,
            seed=cfg.SEED,
            batch=cfg.SOLVER.IMS_PER_BATCH,
            start=start_iter * cfg.SOLVER.ACCUMULATE * cfg.SOLVER.IMS_PER_BATCH,
            rank=comm.get_rank(),
            processes=comm.get_world_size(),
        )
        mapper = UndisturbedMapper(SeededMapper(SegmentationMapper(cfg, is_train=True)))
        return build_detection_train_loader(
            stream,
            mapper=mapper,
            total_batch_size=cfg.SOLVER.IMS_PER_BATCH,
            aspect_ratio_grouping=False,  # all crops have the same size
            num_workers=cfg.DATALOADER.NUM_WORKERS,
            collate_fn=TrainingBatch,
            pin_memory=torch.device(cfg.MODEL.DEVICE).type == "cuda",
        )

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Any:
        """Build the loader of one test set."""
        mapper = UndisturbedMapper(SegmentationMapper(cfg, is_train=False, labels_only=True))
        return build_detection_test_loader(cfg, dataset_name, mapper=mapper)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> OpenVocabularyEvaluator:
        """Build the evaluator of one test set, with the vocabulary of that set."""
        metadata = dataset_metadata(dataset_name)
        trained_on = training_vocabulary(cfg.DATASETS.TRAIN, cfg.DATASETS.UNSEEN) if cfg.DATASETS.TRAIN else None
        return OpenVocabularyEvaluator(
            dataset_name,
            vocabulary=metadata.vocabulary,
            training_vocabulary=trained_on,
            seen=tuple(cfg.TEST.SEEN) or None,
            output_dir=cfg.OUTPUT_DIR,
            sem_seg_loading_fn=functools.partial(load_labels, labels=metadata.label_map),
            settings=_settings(cfg),
            save_predictions=cfg.TEST.SAVE_PREDICTIONS,
        )

    def build_hooks(self) -> list[HookBase]:
        """Build the hooks, ordered so that the checkpoint of a step is written after all other actions of that step."""
        built = [Evaluation(self.cfg.TEST.EVAL_PERIOD, self._evaluate), hooks.IterationTimer(), hooks.LRScheduler()]
        if comm.is_main_process():
            built += [
                InferenceCheckpoint(self.checkpointer.model, self.cfg),
                hooks.PeriodicWriter([MetricsFile(self._metrics_file)], period=1),
                hooks.PeriodicWriter(
                    [
                        CommonMetricPrinter(self.max_iter),
                        TensorboardXWriter(self.cfg.OUTPUT_DIR),
                        *trackers(self.cfg, resumed=lambda: self.start_iter > 0),
                    ]
                ),
                hooks.PeriodicCheckpointer(self.checkpointer, self.cfg.SOLVER.CHECKPOINT_PERIOD),
            ]
        return [*built, self.interruption]

    def resume_or_load(self, resume: bool = True) -> None:
        """Resume from the newest undamaged checkpoint if ``resume`` is set, else start from MODEL.WEIGHTS.

        Raises:
            InputError: see :meth:`SGOVSSCheckpointer.resume_or_load`.
        """
        super().resume_or_load(resume)
        if resume and comm.is_main_process():
            self._report_resumed()
        if self.start_iter >= max(self.max_iter, 1) and comm.is_main_process():
            # An earlier process may have ended after writing its last numbered checkpoint and before this file.
            self.checkpointer.save("model_final", iteration=self.iter)

    def _report_resumed(self) -> None:
        folder = self.cfg.OUTPUT_DIR
        if not self.checkpointer.has_checkpoint():
            logger.info("--resume: no checkpoint in %s, so training starts with the first step", folder)
        elif self.start_iter >= self.max_iter:
            logger.warning(
                "--resume: nothing left to train, because %s has a checkpoint after step %d and SOLVER.MAX_ITER is %d; "
                "raise SOLVER.MAX_ITER to train on, or leave out --resume to start again",
                folder,
                self.start_iter,
                self.max_iter,
            )

    def train(self) -> Any:
        """Train from ``start_iter`` to ``max_iter``; return the results of the last evaluation."""
        self._trainer.reset_data_loader(lambda: self.build_train_loader(self.cfg, self.start_iter))
        if comm.is_main_process():
            self.checkpointer.remove_partial()
            trim_metrics(self._metrics_file, self.start_iter)
        device = torch.device(self.cfg.MODEL.DEVICE)
        with cuda_kernels(device, tf32=self.cfg.SOLVER.TF32, benchmark=self.cfg.CUDNN_BENCHMARK):
            return super().train()

    def run_step(self) -> None:
        """Make a step. If a checkpoint is written after it, its numbers are read at once: the checkpoint has the counts
        of skipped steps, and a resumed run continues metrics.json after it."""
        super().run_step()
        done = self.iter + 1
        if self._trainer.received or done == self.max_iter or done % self.cfg.SOLVER.CHECKPOINT_PERIOD == 0:
            self._trainer.read_numbers()

    def before_train(self) -> None:
        super().before_train()
        self.interruption.listener.listen()

    def after_train(self) -> None:
        self.interruption.listener.leave()
        # Resuming a finished run sets the counter one step too high.
        self.iter = min(self.iter, self.max_iter)
        super().after_train()

    @property
    def _metrics_file(self) -> str:
        return str(Path(self.cfg.OUTPUT_DIR) / "metrics.json")

    def _evaluate(self) -> dict[str, Any]:
        self._last_eval_results = self.test(self.cfg, self.model)
        return self._last_eval_results


def _distributed(model: nn.Module) -> nn.Module:
    if comm.get_world_size() == 1:
        return model
    device = next(model.parameters()).device
    with warnings.catch_warnings():
        # The new name, forward_sync_buffers, does not exist in older versions of PyTorch.
        warnings.filterwarnings("ignore", message=".*broadcast_buffers.* is deprecated", category=FutureWarning)
        return DistributedDataParallel(
            model,
            device_ids=None if device.type == "cpu" else [device],
            broadcast_buffers=False,  # training changes none
            gradient_as_bucket_view=True,
        )


def _settings(cfg: CfgNode) -> dict[str, Any]:
    """Return the settings that are recorded with an evaluation's results."""
    window = cfg.TEST.SLIDING_WINDOW
    return {
        "model": cfg.MODEL.CLIP.NAME,
        "clip_weights": cfg.MODEL.CLIP.WEIGHTS,
        "weights": cfg.MODEL.WEIGHTS,
        "templates": cfg.MODEL.CLIP.TEMPLATES,
        "synonyms": cfg.MODEL.CLIP.SYNONYMS,
        "activation": cfg.MODEL.CLIP.ACTIVATION,
        "dense": cfg.MODEL.CLIP.DENSE,
        "ignored_pixels": cfg.MODEL.SGOVSS.IGNORED_PIXELS,
        "view": {key.lower(): window[key] for key in window if key != "ENABLED"} if window.ENABLED else "whole image",
        "min_size": cfg.INPUT.MIN_SIZE_TEST,
        "flip_and_scale": cfg.TEST.AUG.ENABLED,
        "views": [str(item) for item in cfg.TEST.VIEWS],
        "precision": cfg.TEST.PRECISION,
        "tf32": cfg.TEST.TF32,
        "seed": cfg.SEED,
        "max_iter": cfg.SOLVER.MAX_ITER,
    }
