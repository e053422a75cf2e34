"""Training: trainer, checkpoints, and the processes of a training or evaluation run."""

from sgovss._detectron2 import quiet_import

with quiet_import():
    import detectron2.engine  # noqa: F401
