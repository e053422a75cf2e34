"""Check that Detectron2 is installed, and silence what it prints when it is imported and when a run fails."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from sgovss.errors import InputError, error_line


class Detectron2NotFoundError(InputError, ImportError):
    """Detectron2 is not installed."""


@contextmanager
def quiet_import() -> Iterator[None]:
    """Silence the warnings that an import of Detectron2's larger parts raises with recent versions of PyTorch."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.script.* is deprecated", category=FutureWarning)
        warnings.filterwarnings("ignore", message="No CUDA runtime is found")
        logger = logging.getLogger("torch.utils.cpp_extension")  # recent versions log the same
        logger.addFilter(_is_not_of_the_runtime)
        try:
            yield
        finally:
            logger.removeFilter(_is_not_of_the_runtime)


def _is_not_of_the_runtime(record: logging.LogRecord) -> bool:
    return "No CUDA runtime is found" not in record.getMessage()


def _needs_traceback(record: logging.LogRecord) -> bool:
    """Whether to log a record. The traceback of an error that the command prints in one line is not logged."""
    error = record.exc_info[1] if record.exc_info else None
    return error is None or error_line(error) is None


try:
    import detectron2  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "detectron2":
        raise
    raise Detectron2NotFoundError("Detectron2 is not installed; run 'sgovss install-detectron2'") from error
logging.getLogger("detectron2.engine.train_loop").addFilter(_needs_traceback)
