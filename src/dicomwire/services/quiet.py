"""What the library logs in an application that has not said where its log goes."""

from __future__ import annotations

import logging
import sys

import structlog


def keep_quiet() -> None:
    """Without a configuration structlog prints every event on stdout: warnings on stderr are enough then.

    An application that configures structlog, before or behind this, has its way.
    """
    if not structlog.is_configured():
        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        )
