"""Who is let in: AE titles, limits, and which connection gives way (PS3.8 7.1.1.7-7.1.1.9, 9.3.4).

Pure decisions over values, and a census of connections; nothing here writes to a socket or a log.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from dicomwire.association.association import Association
from dicomwire.association.connection import Connection
from dicomwire.association.options import AcceptorOptions, Check, Limits, LocalEntity, PeerRules, Timeouts
from dicomwire.upper_layer.negotiation import AcceptorPolicy
from dicomwire.upper_layer.pdu import AssociateRj, AssociateRq
from dicomwire.upper_layer.reasons import RejectResult, RejectSource, UserReason

CALLED_NOT_RECOGNIZED = AssociateRj(
    RejectResult.REJECTED_PERMANENT, RejectSource.SERVICE_USER, UserReason.CALLED_AE_TITLE_NOT_RECOGNIZED
)
CALLING_NOT_RECOGNIZED = AssociateRj(
    RejectResult.REJECTED_PERMANENT, RejectSource.SERVICE_USER, UserReason.CALLING_AE_TITLE_NOT_RECOGNIZED
)
NO_REASON = AssociateRj(
    RejectResult.REJECTED_PERMANENT, RejectSource.SERVICE_USER, UserReason.NO_REASON_GIVEN
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An association that is rejected.

    Attributes:
        answer: what the peer is told.
        words: the true reason, for the log.
    """

    answer: AssociateRj
    words: str


@dataclass(frozen=True, slots=True)
class Admission:
    """An association that may be negotiated, and the rules that hold for it.

    Attributes:
        entity: our AE.
        peer: what is known of the calling AE; None where it is unknown and may be.
    """

    entity: LocalEntity
    peer: PeerRules | None
    policy: AcceptorPolicy
    timeouts: Timeouts


def admit(request: AssociateRq, options: AcceptorOptions, *, host: str, tls: bool) -> Admission | Refusal:
    """Check the AE titles: the called one first, and the first failing check decides.

    Args:
        host: numeric address of the peer.
        tls: the connection is encrypted.
    """
    entity = _called(request.called_ae_title, options)
    if isinstance(entity, Refusal):
        return entity
    peer = entity.peers.get(request.calling_ae_title)
    strange = _strange(request.calling_ae_title, entity, peer, host)
    if strange and _checked(entity.calling, host):
        return Refusal(CALLING_NOT_RECOGNIZED, strange)
    if strange:
        peer = None
    if peer is None:
        return Admission(entity, None, entity.policy, options.timeouts)
    if peer.tls and not tls:
        return Refusal(NO_REASON, f"calling AE title {request.calling_ae_title} may only come over TLS")
    return Admission(entity, peer, peer.policy or entity.policy, peer.timeouts or options.timeouts)


def _called(ae_title: str, options: AcceptorOptions) -> LocalEntity | Refusal:
    for entity in options.entities:
        if entity.ae_title == ae_title:
            return entity
    if options.called is not Check.LIST:
        return options.entities[0]
    titles = [entity.ae_title for entity in options.entities]
    words = f"called AE title {ae_title!r} is none of ours ({', '.join(titles)})"
    return Refusal(CALLED_NOT_RECOGNIZED, words + _same_but_case(ae_title, titles))


def _strange(ae_title: str, entity: LocalEntity, peer: PeerRules | None, host: str) -> str:
    """Why a calling AE title is not recognised, "" if it is."""
    if peer is None:
        known = _same_but_case(ae_title, entity.peers)
        return f"calling AE title {ae_title!r} is none of the configured peers{known}"
    if peer.hosts and host not in peer.hosts:
        return (
            f"calling AE title {ae_title!r} comes from {host}, configured is {', '.join(sorted(peer.hosts))}"
        )
    return ""


def _same_but_case(ae_title: str, titles: Iterable[str]) -> str:
    for title in titles:
        if title.casefold() == ae_title.casefold():
            return f"; {title!r} differs only in case, and AE titles are case-sensitive (PS3.5 6.2)"
    return ""


def _checked(check: Check, host: str) -> bool:
    return check is Check.LIST or (check is Check.AUTO and not is_loopback(host))


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Whether a numeric address is one of this machine alone."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


class Census:
    """The connections and associations of one acceptor."""

    def __init__(self) -> None:
        self.associations: dict[str, Association] = {}
        self._half_open: dict[str, dict[Connection, None]] = {}  # by host, oldest first
        self._host_of: dict[Connection, str] = {}  # as it was on arrival, before a PROXY header told another
        self._closing: dict[Connection, None] = {}  # oldest first
        self._per_host: Counter[str] = Counter()
        self._per_title: Counter[str] = Counter()

    @property
    def half_open(self) -> list[Connection]:
        """Connections without an association: not yet, or no longer."""
        return [*self._host_of, *self._closing]

    def arrived(self, connection: Connection, limit: int) -> Connection | None:
        """Count a connection in.

        Returns: the one that has to give way: the oldest of the host that has most, so that a host that opens
        many harms itself first.
        """
        self._half_open.setdefault(connection.peer_host, {})[connection] = None
        self._host_of[connection] = connection.peer_host
        if len(self._host_of) <= limit:
            return None
        most = max(self._half_open.values(), key=len)
        victim = next(iter(most))
        self.left(victim)
        return victim

    def closing(self, connection: Connection, limit: int) -> Connection | None:
        """Count a connection in whose association is over or will not be, until the peer closes it.

        Returns: the one that has to give way, the oldest of these.
        """
        self.left(connection)
        self._closing[connection] = None
        if len(self._closing) <= limit:
            return None
        victim = next(iter(self._closing))
        del self._closing[victim]
        return victim

    def left(self, connection: Connection) -> None:
        """A connection is gone or has its association; twice does no harm."""
        self._closing.pop(connection, None)
        host = self._host_of.pop(connection, None)
        if host is None:
            return
        group = self._half_open[host]
        del group[connection]
        if not group:
            del self._half_open[host]

    def room(self, limits: Limits, now: float) -> Association | bool:
        """Whether one more association fits.

        Returns: True or False, or the association that has been idle longest and gives way.
        """
        if len(self.associations) < limits.associations:
            return True
        idle = [
            association
            for association in self.associations.values()
            if not association.busy and now - association.last_active >= limits.evictable_after
        ]
        return min(idle, key=lambda association: association.last_active) if idle else False

    def of_host(self, host: str) -> int:
        """Associations from one host."""
        return self._per_host[host]

    def of_title(self, calling_ae_title: str) -> int:
        """Associations with one calling AE title."""
        return self._per_title[calling_ae_title]

    def began(self, association: Association) -> None:
        """Count an association in."""
        self.associations[association.id] = association
        self._per_host[association.peer_host] += 1
        self._per_title[association.calling_ae_title] += 1

    def ended(self, association: Association) -> None:
        """Count an association out."""
        if self.associations.pop(association.id, None) is None:
            return
        for counter, key in (
            (self._per_host, association.peer_host),
            (self._per_title, association.calling_ae_title),
        ):
            counter[key] -= 1
            if not counter[key]:
                del counter[key]
