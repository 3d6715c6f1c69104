"""What can be set about the HTTP door: values only.

Times are seconds, sizes bytes. `node` maps its settings to these; nothing here reads a file or an
environment.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

from dicomwire.uids import PRIVATE_STORAGE_SOP_CLASSES, STORAGE_TRANSFER_SYNTAXES, storage_sop_classes
from dicomwire.work.ups_rules import Policy


def _default_sop_classes() -> frozenset[str]:
    return frozenset((*storage_sop_classes(), *PRIVATE_STORAGE_SOP_CLASSES))


@dataclass(frozen=True, slots=True)
class WebOptions:
    """How DICOMweb requests are taken and answered.

    Attributes:
        public_url: base of the URLs in answers; without it they follow the request's Host.
        trust_forwarded: take X-Forwarded-Proto, -Host and -Prefix from a proxy into account.
        delete: studies, series and instances may be deleted.
        cors_origins: origins whose pages may use the node; none by default.
        sop_classes: storage SOP classes taken; None takes any.
        transfer_syntaxes: transfer syntaxes taken.
        maximum_instances: parts of one store request; the one after it is answered 413.
        maximum_body: bytes of one store request, 0 for no limit.
        progress_timeout: an upload must bring `progress_bytes` in each such span.
        progress_bytes: the floor; less than this is a client that trickles.
        drain_timeout: for room in the archive's budget while an upload waits.
        commit_timeout: for the archive's verdict after the last byte of a request.
        maximum_results: results of one search page at most.
        ups: what the site allows with Unified Procedure Steps.
    """

    public_url: str | None = None
    trust_forwarded: bool = False
    delete: bool = False
    cors_origins: tuple[str, ...] = ()
    sop_classes: frozenset[str] | None = field(default_factory=_default_sop_classes)
    transfer_syntaxes: frozenset[str] = frozenset(STORAGE_TRANSFER_SYNTAXES)
    maximum_instances: int = 100_000
    maximum_body: int = 0
    progress_timeout: float = 30.0
    progress_bytes: int = 1024
    drain_timeout: float = 60.0
    commit_timeout: float = 120.0
    maximum_results: int = 1_000
    ups: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How HTTP connections are taken.

    Attributes:
        idle: how long a kept-alive connection stays open without a request.
        head_timeout: for the whole head of a request; a connection that has not yet sent one included.
        write_timeout: for a client that takes nothing of what waits to be sent.
        linger: for the rest of a body that was refused, before the connection is closed on it.
        head_limit: bytes of request line and headers.
        connections: open at once; beyond it 503.
        grace: for requests under way when the server stops.
        tls: context of a door that speaks TLS.
    """

    idle: float = 75.0
    head_timeout: float = 30.0
    write_timeout: float = 60.0
    linger: float = 30.0
    head_limit: int = 64 << 10
    connections: int = 2_000
    grace: float = 10.0
    tls: ssl.SSLContext | None = None
