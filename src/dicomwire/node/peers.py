"""How we reach the devices in `[[peers]]`: the requestor's options of each."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial

from dicomwire.association import identity
from dicomwire.association.association import Association
from dicomwire.association.flight import FlightRecorder
from dicomwire.association.options import RequestorOptions
from dicomwire.association.performer import Services
from dicomwire.association.requestor import Context, connect
from dicomwire.association.tls import client_context
from dicomwire.errors import AssociationError
from dicomwire.node.dimse_door import ae_titles, timed, timeouts
from dicomwire.node.settings import PeerSettings, PeerTLSSettings, Settings
from dicomwire.services.move import Destination, Destinations
from dicomwire.upper_layer.items import RoleSelection, SOPClassExtendedNegotiation, UserIdentityRq


def find(settings: Settings, ae_title: str) -> PeerSettings | None:
    """The peer of an AE title, if it is known."""
    return next((peer for peer in settings.peers if peer.ae_title == ae_title), None)


def destinations(settings: Settings, flight: FlightRecorder | None = None) -> Destinations:
    """Where something can be sent to, by AE title.

    Args:
        flight: keeps the associations.

    Raises: ConfigurationError, when a certificate or key cannot be read.
    """
    return {peer.ae_title: _destination(peer, settings, flight) for peer in settings.peers}


def _destination(peer: PeerSettings, settings: Settings, flight: FlightRecorder | None) -> Destination | None:
    host, port = peer.host, peer.port
    if host is None or port is None:
        return None
    options = requestor_options(peer, settings)
    own = {entry.ae_title for entry in ae_titles(settings)}

    def open_association(
        contexts: Sequence[Context],
        calling_ae_title: str = "",
        *,
        roles: Sequence[RoleSelection] = (),
        services: Services | None = None,
        extended: Sequence[SOPClassExtendedNegotiation] = (),
    ) -> AbstractAsyncContextManager[Association]:
        title = calling_ae_title if calling_ae_title in own else settings.node.ae_title
        asked = partial(
            connect,
            host,
            port,
            called_ae_title=peer.ae_title,
            calling_ae_title=title,
            contexts=contexts,
            services=services,
            options=replace(options, roles=tuple(roles), extended=tuple(extended)),
        )
        return asked() if flight is None else _recorded(flight, title, peer.ae_title, asked)

    return Destination(peer.ae_title, open_association, peer.transfer_syntaxes)


@asynccontextmanager
async def _recorded(
    flight: FlightRecorder,
    calling: str,
    called: str,
    asked: Callable[..., AbstractAsyncContextManager[Association]],
) -> AsyncIterator[Association]:
    """An association of ours with the flight recorder listening, and why it failed if it did."""
    recording = flight.begin(secrets.token_hex(6), requestor=True)
    recording.named(calling, called, "connected")
    try:
        async with asked(recorder=recording) as association:
            recording.state = "established"
            yield association
    except AssociationError as error:
        recording.note(str(error))
        raise
    recording.finished(str(association.ended), dict(association.invoked))


def requestor_options(peer: PeerSettings, settings: Settings) -> RequestorOptions:
    """Options of an association that we request from a peer: the node's, over them the peer's own.

    Raises: ConfigurationError, when a certificate or key cannot be read.
    """
    dimse, window = settings.dimse, peer.asynchronous_operations
    options = RequestorOptions(
        timeouts=timed(timeouts(dimse), peer.timeouts),
        maximum_length=dimse.maximum_length if peer.maximum_length is None else peer.maximum_length,
        maximum_pdu=dimse.limits.pdu,
        window=(window.invoked, window.performed) if window is not None else None,
        identity=_identity(peer),
    )
    if peer.tls is None or not peer.tls.enabled:
        return options
    return replace(options, tls=tls_context(peer.tls), server_hostname=peer.tls.server_name or "")


def tls_context(tls: PeerTLSSettings) -> ssl.SSLContext:
    """Context towards a peer. Raises: ConfigurationError, when a file cannot be read."""
    return client_context(
        ca=tls.ca,
        certificate=tls.certificate,
        key=tls.key,
        password=tls.key_password.get_secret_value() if tls.key_password else None,
        verify=tls.verify,
    )


def _identity(peer: PeerSettings) -> UserIdentityRq | None:
    if peer.user is None:
        return None
    if peer.password is None:
        return identity.username(peer.user)
    return identity.username_and_passcode(peer.user, peer.password.get_secret_value())
