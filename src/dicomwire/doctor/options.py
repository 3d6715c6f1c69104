"""Whom to examine, and how (values only)."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Final

from dicomwire.upper_layer.items import UserIdentityRq

STEP_SECONDS: Final = 3.0  # for each step, unless asked for more
STEPS_WAITED: Final = 2.6  # steps' times after which the rest is left out
SECOND_LOOK: Final = 0.6  # of a step's time: a peer that answers at all has answered before, or not at all


@dataclass(frozen=True, slots=True)
class Target:
    """A peer.

    Attributes:
        host: a name or a numeric address.
        called_ae_title: what to call it.
    """

    host: str
    port: int
    called_ae_title: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.called_ae_title}@{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExaminationOptions:
    """How far to go.

    Attributes:
        calling_ae_title: how we call ourselves.
        wait: seconds for each step.
        tls: a client context, where the peer is to speak TLS.
        tls_certificate: that context has a certificate of our own.
        identity: of the user, to log in with.
        query, store: try a C-FIND; a C-STORE of a test object.
        move_port: where to listen, under our calling AE title, for the test object to come back; None for no
            C-MOVE.
        matrix: find out what the peer accepts.
    """

    calling_ae_title: str = "DICOMWIRE"
    wait: float = STEP_SECONDS
    tls: ssl.SSLContext | None = None
    tls_certificate: bool = False
    identity: UserIdentityRq | None = None
    query: bool = False
    store: bool = False
    move_port: int | None = None
    matrix: bool = False
