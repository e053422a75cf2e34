"""Training: trainer, checkpoints, and the processes of a training or evaluation run."""

import sgovss._detectron2  # noqa: F401
