"""Open files: a limit of the process that the configured connections must fit into (RLIMIT_NOFILE)."""

from __future__ import annotations

import sys

import structlog

from dicomwire.node.settings import Settings

OWN = 256  # segments, catalogue connections, the log, sockets that listen; what a node has beside connections

log = structlog.get_logger()


def wanted(settings: Settings) -> int:
    """File descriptors that a node of these settings may have open at once."""
    limits = settings.dimse.limits
    # Twice half_open: connections that are not yet associations, and those that wait for their end.
    return limits.associations + 2 * limits.half_open + settings.web.connections + OWN


def raise_limit(wanted: int) -> None:
    """Let this process open as many files as wanted, or as it may; a log line says where that is less."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _enough(soft, wanted):
        return
    possible = wanted if _enough(hard, wanted) else hard
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
    except (OSError, ValueError) as error:
        possible = soft
        log.info("open files stay limited", limit=soft, reason=str(error))
    if possible < wanted:
        log.warning(
            "too few open files for the configured limits",
            possible=possible,
            wanted=wanted,
            advice="raise the hard limit (ulimit -Hn, LimitNOFILE) or lower dimse.limits and web.connections",
        )


def _enough(limit: int, wanted: int) -> bool:
    return limit < 0 or limit >= wanted  # RLIM_INFINITY is -1
