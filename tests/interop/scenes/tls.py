"""TLS that cannot be agreed on, and TLS where none is expected."""

from __future__ import annotations

import socket
import ssl
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme

from tests.interop.scenes.stage import LOOPBACK, echoscu, raw_server, scene, storescp
from tests.interop.scenes.upper_layer import associate_rq


def tls_server(stack: ExitStack, certificate: trustme.LeafCert, *, times: int = 1, **settings: Any) -> int:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    for name, value in settings.items():
        setattr(context, name, value)

    def answer(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            while data := secure.recv(65_536):
                secure.sendall(data)

    return raw_server(stack, answer, times)


def tls_client(
    port: int, authority: trustme.CA | None, *, name: str = "localhost", web: bool = False, **settings: Any
) -> None:
    context = ssl.create_default_context()
    if web:
        context.set_alpn_protocols(["h2", "http/1.1"])
    if authority is not None:
        authority.configure_trust(context)
    for key, value in settings.items():
        setattr(context, key, value)
    with (
        suppress(OSError),
        socket.create_connection((LOOPBACK, port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=name) as secure,
    ):
        secure.sendall(associate_rq())
        secure.recv(10)
        secure.sendall(bytes(2_000))
        left = len(associate_rq()) - 10 + 2_000
        while left > 0:
            left -= len(secure.recv(65_536))
        with suppress(OSError):
            secure.unwrap()


TLS12 = ssl.TLSVersion.TLSv1_2


@scene("tls-untrusted-certificate")
@scene("tls-untrusted-certificate", "untrusted, TLS 1.2")
def _(stack: ExitStack, folder: Path) -> int:
    port = tls_server(stack, trustme.CA().issue_cert("localhost"), maximum_version=TLS12)
    tls_client(port, None)
    return port


@scene("tls-untrusted-certificate", "untrusted, TLS 1.3")
def _(stack: ExitStack, folder: Path) -> int:
    port = tls_server(stack, trustme.CA().issue_cert("localhost"))
    tls_client(port, None)
    return port


@scene("tls-expired-certificate")
def _(stack: ExitStack, folder: Path) -> int:
    authority = trustme.CA()
    old = datetime.now(UTC) - timedelta(days=400)
    port = tls_server(
        stack, authority.issue_cert("localhost", not_before=old, not_after=old + timedelta(days=9))
    )
    tls_client(port, authority)
    return port


@scene("tls-name-mismatch")
def _(stack: ExitStack, folder: Path) -> int:
    authority = trustme.CA()
    port = tls_server(stack, authority.issue_cert("pacs.example"))
    tls_client(port, authority)
    return port


@scene("tls-no-common-version")
def _(stack: ExitStack, folder: Path) -> int:
    authority = trustme.CA()
    port = tls_server(stack, authority.issue_cert("localhost"), minimum_version=ssl.TLSVersion.TLSv1_3)
    tls_client(port, authority, maximum_version=TLS12)
    return port


@scene("tls-handshake-failed")
def _(stack: ExitStack, folder: Path) -> int:
    alert = b"\x15\x03\x03\0\x02\x02\x50"  # fatal, internal_error (RFC 8446 6.2)
    port = raw_server(stack, lambda connection: connection.recv(65_536) and connection.sendall(alert))
    tls_client(port, None)
    return port


@scene("tls-client-certificate-required")
def _(stack: ExitStack, folder: Path) -> int:
    authority = trustme.CA()
    port = tls_server(stack, authority.issue_cert("localhost"), verify_mode=ssl.CERT_REQUIRED)
    tls_client(port, authority)
    return port


@scene("tls-client-certificate-required", "client certificate, TLS 1.2")
def _(stack: ExitStack, folder: Path) -> int:
    authority = trustme.CA()
    port = tls_server(
        stack, authority.issue_cert("localhost"), verify_mode=ssl.CERT_REQUIRED, maximum_version=TLS12
    )
    tls_client(port, authority)
    return port


@scene("tls-opaque", verdict=False)
def _(stack: ExitStack, folder: Path) -> int:
    authority = trustme.CA()
    port = tls_server(stack, authority.issue_cert("localhost"))
    tls_client(port, authority)
    return port


@scene("tls-client-on-plain-port")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    tls_client(port, None)
    return port


@scene("tls-client-on-plain-port", "a browser on a plain port")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    tls_client(port, None, web=True)
    return port


@scene("plain-client-on-tls-port")
def _(stack: ExitStack, folder: Path) -> int:
    authority = trustme.CA()
    port = tls_server(stack, authority.issue_cert("localhost"), times=2)
    tls_client(port, authority)
    echoscu(port)
    return port
