"""TLS under an association: contexts, and a TLS stream without I/O (PS3.15 B.9-B.12, BCP 195).

The handshake runs inside the connection it belongs to, on that connection's own deadline: a client that
stalls in it keeps nobody else waiting, and what it sends first can still be recognised.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

from dicomwire.errors import ConfigurationError

Buffer = bytes | bytearray | memoryview


def server_context(
    certificate: Path,
    key: Path | None = None,
    *,
    password: str | None = None,
    client_ca: Path | None = None,
    client_certificate: bool = False,
    minimum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
) -> ssl.SSLContext:
    """Build the context of a listening port.

    Args:
        certificate: PEM file, the chain behind the server's own certificate.
        key: PEM file of the private key; None when `certificate` holds it too.
        client_ca: PEM file of the authorities that sign clients' certificates.
        client_certificate: a client without a certificate of theirs is turned away (mutual TLS).
        minimum_version: 1.2 at least, as BCP 195 asks.

    Raises: ConfigurationError, when a file cannot be read or key and certificate do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION
    _settle(context, minimum_version, certificate=certificate, key=key, password=password)
    if client_certificate and client_ca is None:
        raise ConfigurationError("client certificates are required, but no CA is named that signs them")
    if client_ca is not None:
        _trust(context, client_ca)
        context.verify_mode = ssl.CERT_REQUIRED if client_certificate else ssl.CERT_OPTIONAL
    return context


def client_context(
    *,
    ca: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    password: str | None = None,
    check_host_name: bool = True,
    verify: bool = True,
    minimum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
) -> ssl.SSLContext:
    """Build the context of a requestor.

    Args:
        ca: PEM file of the authorities to trust; None for the system's.
        certificate, key: PEM files of our own certificate, where the peer asks for one.
        check_host_name: the certificate must name the host; many devices' certificates do not.
        verify: False takes any certificate: encrypted, but to whom is unknown.

    Raises: ConfigurationError, when a file cannot be read or key and certificate do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = check_host_name and verify
    if not verify:
        context.verify_mode = ssl.CERT_NONE
    elif ca is not None:
        _trust(context, ca)
    else:
        context.load_default_certs()
    _settle(context, minimum_version, certificate=certificate, key=key, password=password)
    return context


def _settle(
    context: ssl.SSLContext,
    minimum_version: ssl.TLSVersion,
    *,
    certificate: Path | None,
    key: Path | None,
    password: str | None,
) -> None:
    if minimum_version < ssl.TLSVersion.TLSv1_2:
        raise ConfigurationError("TLS below version 1.2 is not offered (RFC 8996)")
    context.minimum_version = minimum_version
    if certificate is None:
        return
    try:
        # An empty password fails at once on an encrypted key, where None would ask on the terminal.
        context.load_cert_chain(certificate, key, password=password or "")
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"TLS certificate {certificate} with key {key or certificate}: {error}"
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"TLS certificate {certificate} or key {key or certificate}: {error}"
        ) from None


def _trust(context: ssl.SSLContext, authorities: Path) -> None:
    try:
        context.load_verify_locations(authorities)
    except (ssl.SSLError, OSError) as error:
        raise ConfigurationError(f"TLS authorities {authorities}: {error}") from None


class Stream:
    """One side of a TLS connection: ciphertext in and out, plaintext in and out; no socket."""

    def __init__(
        self, context: ssl.SSLContext, *, server_side: bool, server_hostname: str | None = None
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        self.established = False

    def handshake(self) -> bool:
        """Go as far as the bytes at hand allow; call it first to begin.

        Returns: whether the handshake is complete.
        Raises: ssl.SSLError, when it failed; the alert for the peer is in `outgoing`.
        """
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.established = True
        return True

    def feed(self, data: Buffer) -> None:
        """Take ciphertext from the peer."""
        self._incoming.write(data)

    def receive(self, buffer: memoryview, take: Callable[[int], None]) -> bool:
        """Decrypt all there is into `buffer`, calling `take(length)` each time that it holds something.

        Returns: whether the peer has ended its side (close_notify).
        Raises: ssl.SSLError, when the peer's bytes are no TLS.
        """
        while True:
            filled = 0
            try:
                while filled < len(buffer):
                    count = self._tls.read(len(buffer) - filled, buffer[filled:])
                    if not count:
                        return True
                    assert isinstance(count, int)
                    filled += count
            except ssl.SSLWantReadError:
                return False
            except ssl.SSLZeroReturnError:
                return True
            finally:
                if filled:
                    take(filled)

    def write(self, data: Buffer) -> None:
        """Encrypt; the result is in `outgoing`."""
        view = memoryview(data).cast("B")
        while view:
            view = view[self._tls.write(view) :]

    def close(self) -> None:
        """Say that nothing more will be sent (close_notify)."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            return  # the peer's own close_notify is not waited for, and after a failure none is owed

    def outgoing(self) -> bytes:
        """Take the ciphertext to be sent."""
        return self._outgoing.read()

    def describe(self) -> str:
        """Version and cipher, for the log."""
        cipher = self._tls.cipher()
        return f"{self._tls.version()} {cipher[0] if cipher else ''}".strip()

    def peer_certificate(self) -> bytes | None:
        """The peer's certificate, DER."""
        return self._tls.getpeercert(binary_form=True)
