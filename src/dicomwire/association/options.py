"""What can be set about associations (PS3.8 9.1.4, 9.1.5; PS3.7 D): values only.

Times are seconds, lengths bytes. `node` maps its settings to these; nothing here reads a file or an
environment."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from dicomwire.upper_layer.items import (
    RoleSelection,
    SOPClassCommonExtendedNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityRq,
)
from dicomwire.upper_layer.negotiation import AcceptorPolicy


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long is waited for what.

    Attributes:
        connect: for the TCP connection, as requestor.
        tls: for the whole TLS handshake.
        artim: for the whole A-ASSOCIATE-RQ, its answer, and for a peer that should close (PS3.8 9.1.5).
        dimse: for each answer to a request, the next pending one included.
        idle: without a byte either way while no operation is in progress, as acceptor.
        release: for the peer's A-RELEASE-RP.
        write: for a peer that takes nothing of what waits to be sent.
        progress: how often a peer in the middle of a message is looked at; it must send `progress_bytes` in
            between.
        progress_bytes: the floor; less than this is a peer that trickles.
        linger: for a foreign client to read its answer.
    """

    connect: float = 10.0
    tls: float = 10.0
    artim: float = 30.0
    dimse: float = 60.0
    idle: float = 300.0
    release: float = 30.0
    write: float = 60.0
    progress: float = 30.0
    progress_bytes: int = 1024
    linger: float = 2.0

    def shortest_running(self) -> float:
        """The shortest of the times that start over and over while an association lasts."""
        return min(self.dimse, self.idle, self.write, self.progress)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one process takes on.

    Attributes:
        associations: in all; the next one is rejected 2/3/2 (local limit exceeded).
        associations_per_peer: from one host; 0 is no limit.
        half_open: connections without an association, those that end included; beyond it the oldest of the
            host that has most of them is closed.
        evictable_after: seconds without an operation after which an association gives way to a new one at
            the limit.
        performed: requests of one association performed at once, where its window is larger or unlimited.
        held_bytes: of requests beyond the window that are kept before reading pauses.
        response_bytes: the longest data set of a response that is put together in memory.
    """

    associations: int = 2000
    associations_per_peer: int = 0
    half_open: int = 512
    evictable_after: float = 30.0
    performed: int = 64
    held_bytes: int = 262_144
    response_bytes: int = 64 << 20


class Check(Enum):
    """Whether an AE title must be one we know."""

    OFF = "off"
    LIST = "list"
    AUTO = "auto"  # calling only: off for a loopback address, list for any other


@dataclass(frozen=True, slots=True)
class PeerRules:
    """What holds for one known device, in place of what holds for everybody.

    Attributes:
        hosts: numeric addresses it may come from; empty for any.
        policy: negotiation rules; None for the local AE's.
        timeouts: None for the acceptor's.
        associations: at most so many at once; 0 for no limit of its own.
        tls: it must come over TLS.
        character_set: Specific Character Set (0008,0005) of what it asks, where that names none.
    """

    hosts: frozenset[str] = frozenset()
    policy: AcceptorPolicy | None = None
    timeouts: Timeouts | None = None
    associations: int = 0
    tls: bool = False
    character_set: str | None = None


@dataclass(frozen=True, slots=True)
class LocalEntity:
    """One AE title of ours and its rules.

    Attributes:
        policy: what is negotiated.
        calling: the check of calling AE titles.
        peers: known calling AE titles.
    """

    ae_title: str
    policy: AcceptorPolicy
    calling: Check = Check.AUTO
    peers: Mapping[str, PeerRules] = field(default_factory=dict)


class ProxyProtocol(Enum):
    """Whether a load balancer tells the client's address first (PROXY protocol, version 1 or 2)."""

    OFF = "off"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class AcceptorOptions:
    """A listening port and the AE titles behind it.

    Attributes:
        entities: our AE titles; the first is the default.
        called: whether the called AE title must be one of them; if not, the default answers for unknown ones.
        tls: a server context from `tls.server_context`, or None.
        maximum_pdu: cap on any received PDU but P-DATA.
        backlog: connections the kernel keeps waiting for us.
        memo: A-ASSOCIATE answers remembered; 0 for none.
    """

    entities: tuple[LocalEntity, ...]
    host: str = "127.0.0.1"
    port: int = 11112
    called: Check = Check.OFF
    tls: ssl.SSLContext | None = None
    proxy_protocol: ProxyProtocol = ProxyProtocol.OFF
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    maximum_pdu: int = 1 << 20
    backlog: int = 1024
    memo: int = 512


@dataclass(frozen=True, slots=True)
class RequestorOptions:
    """How associations are requested.

    Attributes:
        tls: a client context from `tls.client_context`, or None.
        server_hostname: the name the peer's certificate must have; "" for the host connected to.
        maximum_length: announced: bytes of a P-DATA variable field, 0 for any.
        maximum_pdu: cap on any received PDU but P-DATA.
        window: operations that we want to invoke and are ready to perform at once, (invoked, performed);
            None does not propose the sub-item, which makes some devices drop the connection.
        roles: proposals of the sub-item 54H.
        extended: proposals of the sub-items 56H and 57H.
        identity: of the user, see `identity`.
    """

    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    tls: ssl.SSLContext | None = None
    server_hostname: str = ""
    maximum_length: int = 262_144
    maximum_pdu: int = 1 << 20
    window: tuple[int, int] | None = None
    roles: tuple[RoleSelection, ...] = ()
    extended: tuple[SOPClassExtendedNegotiation | SOPClassCommonExtendedNegotiation, ...] = ()
    identity: UserIdentityRq | None = None
