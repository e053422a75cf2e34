"""Import Detectron2 once, and silence the warnings that its import raises with recent versions of PyTorch."""

import logging
import warnings

from sgovss.errors import InputError


class Detectron2NotFoundError(InputError, ImportError):
    """Detectron2 is not installed."""


with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=".*torch.jit.script.* is deprecated", category=FutureWarning)
    warnings.filterwarnings("ignore", message="No CUDA runtime is found")
    try:
        import detectron2.modeling  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "detectron2":
            raise
        raise Detectron2NotFoundError("Detectron2 is not installed; run 'sgovss install-detectron2'") from error


def _needs_traceback(record: logging.LogRecord) -> bool:
    """Whether to log a record. Tracebacks of an InputError are not logged, because the command prints the error."""
    return not (record.exc_info and isinstance(record.exc_info[1], InputError))


logging.getLogger("detectron2.engine.train_loop").addFilter(_needs_traceback)
