"""Imports Detectron2 once, without the noise that its import makes with a recent torch."""

import logging
import warnings

from sgovss.errors import InputError

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=".*torch.jit.script.* is deprecated", category=FutureWarning)
    warnings.filterwarnings("ignore", message="No CUDA runtime is found")
    try:
        import detectron2.engine
        import detectron2.modeling  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "detectron2":
            raise
        raise ImportError(
            "sgovss extends Detectron2, which is not installed; run 'make setup' or 'python "
            "tools/install_detectron2.py', or install it from its own repository"
        ) from error


def _is_not_the_users(record: logging.LogRecord) -> bool:
    """Whether a traceback helps anybody: of what a user has to mend, the command says one line."""
    return not (record.exc_info and isinstance(record.exc_info[1], InputError))


logging.getLogger("detectron2.engine.train_loop").addFilter(_is_not_the_users)
