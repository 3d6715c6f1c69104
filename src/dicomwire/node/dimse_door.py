"""The DIMSE door's options from the settings: what each AE title takes, and from whom."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType

from dicomwire.association.options import (
    AcceptorOptions,
    Check,
    Limits,
    LocalEntity,
    PeerRules,
    ProxyProtocol,
    Timeouts,
)
from dicomwire.association.tls import server_context
from dicomwire.node.section import Operation
from dicomwire.node.settings import (
    AETitleSettings,
    DimseSettings,
    PeerSettings,
    PeerTimeoutSettings,
    Settings,
    TimeoutSettings,
    TLSSettings,
)
from dicomwire.services import find, procedure_step, selection, unified_procedure_step
from dicomwire.services.instance_availability import INSTANCE_AVAILABILITY
from dicomwire.services.retrieval import levels_are_free
from dicomwire.services.storage_commitment import STORAGE_COMMITMENT
from dicomwire.services.worklist import WORKLIST
from dicomwire.uids import (
    PRIVATE_STORAGE_SOP_CLASSES,
    STORAGE_SERVICE_CLASS,
    STORAGE_TRANSFER_SYNTAXES,
    UNCOMPRESSED_TRANSFER_SYNTAXES,
    VERIFICATION,
    storage_sop_classes,
)
from dicomwire.upper_layer.items import AsynchronousOperationsWindow
from dicomwire.upper_layer.negotiation import AcceptorPolicy, RolePolicy

ANY_SOP_CLASS = "*"  # in extra_sop_classes: every SOP class that the registry does not know

SOP_CLASSES_OF = {
    "echo": (VERIFICATION,),
    "find": (*sorted(find.FIND), WORKLIST),
    "move": tuple(sorted(selection.MOVE)),
    "get": tuple(sorted(selection.GET)),
    "mpps": procedure_step.SCP_CLASSES,
    "ups": unified_procedure_step.SOP_CLASSES,
    "commit": (STORAGE_COMMITMENT,),
    "notify": (INSTANCE_AVAILABILITY,),
}
"""SOP classes that are there for one operation each; in uncompressed transfer syntaxes."""

REPORTERS = {STORAGE_COMMITMENT: RolePolicy(scu=True, scp=True)}
"""SOP classes whose SCP may open the association, to report (PS3.4 J.3.3)."""

EXTENDED_NEGOTIATION = MappingProxyType(
    dict.fromkeys(selection.RELATIONAL, levels_are_free)
    | dict.fromkeys((*find.FIND, WORKLIST), find.answered)
)
"""What item 56H is answered with, per SOP class."""


def acceptor_options(settings: Settings) -> AcceptorOptions:
    """Options of the DIMSE door.

    Raises: ConfigurationError, when a certificate or key cannot be read.
    """
    dimse = settings.dimse
    return AcceptorOptions(
        entities=tuple(_entity(entry, settings) for entry in ae_titles(settings)),
        host=dimse.host,
        port=dimse.port,
        called=Check.LIST if dimse.called_ae_title == "own" else Check.OFF,
        tls=tls_context(dimse.tls),
        proxy_protocol=ProxyProtocol.REQUIRED if dimse.proxy_protocol else ProxyProtocol.OFF,
        timeouts=timeouts(dimse),
        limits=Limits(
            associations=dimse.limits.associations,
            associations_per_peer=dimse.limits.associations_per_peer,
            half_open=dimse.limits.half_open,
        ),
        maximum_pdu=dimse.limits.pdu,
        backlog=dimse.backlog,
    )


def tls_context(tls: TLSSettings) -> ssl.SSLContext | None:
    """Context of a listening port, None where it speaks no TLS.

    Raises: ConfigurationError, when a file cannot be read.
    """
    if tls.certificate is None:
        return None
    versions = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
    return server_context(
        tls.certificate,
        tls.key,
        password=tls.key_password.get_secret_value() if tls.key_password else None,
        client_ca=tls.client_ca,
        client_certificate=tls.client_ca is not None,
        minimum_version=versions[tls.minimum_version],
    )


def timeouts(dimse: DimseSettings) -> Timeouts:
    """How long everybody is waited for."""
    return timed(Timeouts(progress_bytes=dimse.limits.progress), dimse.timeouts)


def storage_classes(dimse: DimseSettings) -> frozenset[str]:
    """Every SOP class that is stored."""
    extra = [uid for uid in dimse.extra_sop_classes if uid != ANY_SOP_CLASS]
    classes = {*storage_sop_classes(), *PRIVATE_STORAGE_SOP_CLASSES, *extra}
    return frozenset(classes.difference(dimse.refused_sop_classes))


def ae_titles(settings: Settings) -> tuple[AETitleSettings, ...]:
    """Every AE title of ours, the node's own first, those of gateways last."""
    own = AETitleSettings(ae_title=settings.node.ae_title)
    return (own, *settings.ae_titles, *_of_gateways(settings))


def _of_gateways(settings: Settings) -> Iterator[AETitleSettings]:
    """To one in front of a peer only that peer sends what it was asked for."""
    for gateway in settings.gateways:
        if gateway.ae_title is None:
            continue
        if gateway.peer is not None:
            yield AETitleSettings(ae_title=gateway.ae_title, peers=(gateway.peer,), allow=("echo", "store"))
        else:
            yield AETitleSettings(ae_title=gateway.ae_title, allow=("echo", "store", "find", "get", "move"))


def _entity(entry: AETitleSettings, settings: Settings) -> LocalEntity:
    known = [peer for peer in settings.peers if entry.peers is None or peer.ae_title in entry.peers]
    calling = Check.LIST if entry.peers is not None else Check(settings.dimse.calling_ae_title)
    if calling is Check.AUTO and settings.node.open and not settings.peers:
        calling = Check.OFF
    rules = {peer.ae_title: _peer_rules(peer, entry, settings.dimse) for peer in known}
    return LocalEntity(entry.ae_title, _policy(entry, settings.dimse), calling, rules)


def _peer_rules(peer: PeerSettings, entry: AETitleSettings, dimse: DimseSettings) -> PeerRules:
    return PeerRules(
        hosts=frozenset(peer.addresses),
        policy=_policy(entry, dimse, peer),
        timeouts=timed(timeouts(dimse), peer.timeouts),
        associations=peer.associations,
        tls=peer.require_tls,
        character_set=peer.character_set,
    )


def _policy(entry: AETitleSettings, dimse: DimseSettings, peer: PeerSettings | None = None) -> AcceptorPolicy:
    """What is negotiated: the node's rules, over them the AE title's, over them the peer's."""
    extra = dimse.extra_sop_classes if entry.extra_sop_classes is None else entry.extra_sop_classes
    preferred = entry.preferred_transfer_syntaxes or dimse.preferred_transfer_syntaxes
    only = peer.transfer_syntaxes if peer and peer.transfer_syntaxes is not None else None
    lengths = (peer.maximum_length if peer else None, entry.maximum_length, dimse.maximum_length)
    window = dimse.asynchronous_operations
    if peer and peer.asynchronous_operations is not None:
        window = peer.asynchronous_operations
    syntaxes = _ordered(STORAGE_TRANSFER_SYNTAXES, preferred, only)
    return AcceptorPolicy(
        supported=_supported(syntaxes, _ordered(UNCOMPRESSED_TRANSFER_SYNTAXES, preferred, None), extra),
        transfer_syntax_policy=entry.transfer_syntax_policy or dimse.transfer_syntax_policy,
        on_no_accepted_context=entry.on_no_accepted_context or dimse.on_no_accepted_context,
        maximum_length=next(length for length in lengths if length is not None),
        asynchronous_operations_window=AsynchronousOperationsWindow(window.invoked, window.performed),
        roles=_roles(extra, _allows("store", entry, peer), _allows("get", entry, peer)),
        extended_negotiation=EXTENDED_NEGOTIATION,
        refused=_refused(entry, dimse, peer, extra),
        service_classes={STORAGE_SERVICE_CLASS: syntaxes},
        unregistered=syntaxes if ANY_SOP_CLASS in extra else (),
    )


@cache
def _supported(
    storage: tuple[str, ...], others: tuple[str, ...], extra: tuple[str, ...]
) -> Mapping[str, tuple[str, ...]]:
    """Transfer syntaxes per abstract syntax; one table for all policies that are alike."""
    table = {uid: others for classes in SOP_CLASSES_OF.values() for uid in classes}
    return MappingProxyType(table | dict.fromkeys(_storage(extra), storage))


@cache
def _storage(extra: tuple[str, ...]) -> tuple[str, ...]:
    classes = (*storage_sop_classes(), *PRIVATE_STORAGE_SOP_CLASSES, *extra)
    return tuple(uid for uid in classes if uid != ANY_SOP_CLASS)


@cache
def _roles(extra: tuple[str, ...], store: bool, get: bool) -> Mapping[str, RolePolicy]:
    """Who gets instances back by C-GET is the SCP of their storage SOP classes (PS3.7 D.3.3.4)."""
    storage = dict.fromkeys(_storage(extra), RolePolicy(scu=store, scp=get))
    return MappingProxyType(storage | REPORTERS)


def _allows(operation: Operation, entry: AETitleSettings, peer: PeerSettings | None) -> bool:
    return operation in entry.allow and (peer is None or operation in peer.allow)


def _ordered(
    known: tuple[str, ...], preferred: tuple[str, ...], only: tuple[str, ...] | None
) -> tuple[str, ...]:
    """Preferred ones first; `only` names all that are taken, in its own order."""
    if only is not None:
        return only
    first = [uid for uid in preferred if uid in known]
    return (*first, *(uid for uid in known if uid not in first))


def _refused(
    entry: AETitleSettings, dimse: DimseSettings, peer: PeerSettings | None, extra: tuple[str, ...]
) -> Mapping[str, str]:
    """Abstract syntaxes that are refused by policy, with words why."""
    configured = dimse.refused_sop_classes if entry.refused_sop_classes is None else entry.refused_sop_classes
    refused = dict.fromkeys(configured, "refused by the configuration")
    who = [(f"AE title {entry.ae_title}", entry.allow)]
    if peer is not None:
        who.append((f"peer {peer.ae_title}", peer.allow))
    for name, allow in who:
        for operation, classes in SOP_CLASSES_OF.items():
            if operation not in allow:
                refused |= dict.fromkeys(classes, f"{name} may not {operation}")
        if "store" not in allow and "get" not in allow:
            refused |= dict.fromkeys(_storage(extra), f"{name} may not store")
    return refused


def timed(base: Timeouts, settings: TimeoutSettings | PeerTimeoutSettings) -> Timeouts:
    """The same timeouts but for those that are set here."""
    set_here = {name: value for name, value in settings if value is not None}
    return replace(base, **set_here)
