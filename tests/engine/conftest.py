"""Detectron2 keeps one logger a process, with handlers on files and streams of the first run; tests have many runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from detectron2.utils.logger import _cached_log_stream, setup_logger


@pytest.fixture(autouse=True)
def fresh_loggers() -> Iterator[None]:
    yield
    for name in ("detectron2", "fvcore", "sgovss"):
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
    setup_logger.cache_clear()
    _cached_log_stream.cache_clear()
