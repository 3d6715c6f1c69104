"""Flags of every command that opens an association, and the peer that they and the configuration make."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from dicomwire.cli import groups
from dicomwire.cli.address import EXAMPLE, Address, AddressError, parse
from dicomwire.cli.output import Stop

if TYPE_CHECKING:
    import ssl

    from dicomwire.association.association import Association
    from dicomwire.association.options import RequestorOptions
    from dicomwire.association.performer import Services
    from dicomwire.association.requestor import Context
    from dicomwire.upper_layer.items import UserIdentityRq

Asked = Annotated[
    str,
    typer.Argument(metavar="AE@HOST:PORT", help="Whom to ask; or the AE title of a configured peer."),
]
CallingAETitle = Annotated[
    str | None, typer.Option("--calling-ae-title", "-c", metavar="T", help="Our own AE title.")
]
Timeout = Annotated[
    float | None, typer.Option(metavar="S", min=0.1, help="Seconds to wait for each of the peer's steps.")
]
TLS = Annotated[bool, typer.Option("--tls", help="Speak TLS; the system's authorities are trusted.")]
TLSCA = Annotated[
    Path | None, typer.Option("--tls-ca", metavar="F", help="PEM file of authorities to trust.")
]
TLSCertificate = Annotated[
    Path | None, typer.Option("--tls-certificate", metavar="F", help="PEM file of our own certificate.")
]
TLSKey = Annotated[Path | None, typer.Option("--tls-key", metavar="F", help="PEM file of its private key.")]
TLSInsecure = Annotated[
    bool, typer.Option("--tls-insecure", help="Take any certificate: encrypted, but to whom is unknown.")
]
User = Annotated[str | None, typer.Option(metavar="NAME", help="User name to log in with.")]
Password = Annotated[
    str | None, typer.Option(metavar="P", help="Password to log in with; - reads a line from stdin.")
]
TokenFile = Annotated[
    Path | None, typer.Option(metavar="F", help="File with a JSON Web Token to log in with; - is stdin.")
]
TicketFile = Annotated[
    Path | None, typer.Option("--kerberos-file", metavar="F", help="File with a Kerberos AP-REQ to present.")
]
AssertionFile = Annotated[
    Path | None, typer.Option("--saml-file", metavar="F", help="File with a SAML assertion to present.")
]


@lru_cache(maxsize=1)
def _from_stdin(stream: TextIO, *, whole: bool) -> str:
    """What is given there in place of a flag: read once, for all connections of a command."""
    return stream.read() if whole else stream.readline()


@dataclass(frozen=True, slots=True)
class Access:
    """How to get in: TLS and login, the same at both kinds of door.

    Attributes:
        tls: asked for by any of its flags.
    """

    tls: bool = False
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_insecure: bool = False
    user: str | None = None
    password: str | None = None
    token_file: Path | None = None
    ticket_file: Path | None = None
    assertion_file: Path | None = None

    def context(self) -> ssl.SSLContext | None:
        """A client context; None where no flag asks for TLS.

        Raises: ConfigurationError, when a file cannot be read.
        """
        from dicomwire.association.tls import client_context

        if not (self.tls or self.tls_ca or self.tls_certificate or self.tls_insecure):
            return None
        return client_context(
            ca=self.tls_ca,
            certificate=self.tls_certificate,
            key=self.tls_key,
            verify=not self.tls_insecure,
        )

    def secret(self) -> str | None:
        """The password, from stdin where the flag says so."""
        if self.password != "-":
            return self.password
        return _from_stdin(sys.stdin, whole=False).rstrip("\r\n")

    def token(self) -> str | None:
        """The token in the file."""
        if self.token_file is None:
            return None
        try:
            there = str(self.token_file) == "-"
            text = _from_stdin(sys.stdin, whole=True) if there else self.token_file.read_text("ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise Stop(f"--token-file {self.token_file}: {error}", 2) from None
        return text.strip()

    def check(self) -> None:
        """Refuse flags that contradict each other."""
        if self.password is not None and self.user is None:
            raise Stop("--password needs --user", 2)
        logins = {
            "--user": self.user,
            "--token-file": self.token_file,
            "--kerberos-file": self.ticket_file,
            "--saml-file": self.assertion_file,
        }
        given = [flag for flag, value in logins.items() if value is not None]
        if len(given) > 1:
            raise Stop(f"{' and '.join(given)} are {len(given)} logins: give one", 2)

    def check_for_url(self) -> None:
        """Refuse flags that contradict each other, or that HTTP has no place for."""
        self.check()
        if self.ticket_file is not None or self.assertion_file is not None:
            raise Stop("--kerberos-file and --saml-file are for DIMSE peers, not for a URL", 2)


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags themselves, with their defaults."""

    calling_ae_title: CallingAETitle = None
    timeout: Timeout = None
    tls: TLS = False
    tls_ca: TLSCA = None
    tls_certificate: TLSCertificate = None
    tls_key: TLSKey = None
    tls_insecure: TLSInsecure = False
    user: User = None
    password: Password = None
    token_file: TokenFile = None
    kerberos_file: TicketFile = None
    saml_file: AssertionFile = None

    @property
    def access(self) -> Access:
        """Those of them that are about getting in."""
        return Access(
            self.tls,
            self.tls_ca,
            self.tls_certificate,
            self.tls_key,
            self.tls_insecure,
            self.user,
            self.password,
            self.token_file,
            self.kerberos_file,
            self.saml_file,
        )

    def peer(self, text: str) -> Peer:
        """The peer that a command names.

        Raises: AddressError; ConfigurationError; Stop.
        """
        return peer(text, self.access, calling_ae_title=self.calling_ae_title, timeout=self.timeout)


accepted = groups.accepted(flags=Flags)
"""A command with the flags of `Flags` in place of its parameter `flags`."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A DIMSE peer and how to get in."""

    address: Address
    calling_ae_title: str
    options: RequestorOptions

    def connect(
        self, contexts: Iterable[Context], *, services: Services | None = None
    ) -> AbstractAsyncContextManager[Association]:
        """An association with it, for the length of an `async with`. Raises: as `requestor.connect`."""
        from dicomwire.association.requestor import connect

        return connect(
            self.address.host,
            self.address.port,
            called_ae_title=self.address.ae_title,
            calling_ae_title=self.calling_ae_title,
            contexts=contexts,
            services=services,
            options=self.options,
        )


def peer(text: str, access: Access, *, calling_ae_title: str | None, timeout: float | None) -> Peer:
    """The peer that a command names: `AE@HOST:PORT`, or the AE title of one in `[[peers]]`.

    Flags are over what the configuration says of a peer.

    Raises: AddressError, when it is neither; ConfigurationError; Stop.
    """
    from dicomwire.association.options import RequestorOptions

    access.check()
    if "@" in text or ":" in text:
        known = Peer(parse(text), "DICOMWIRE", RequestorOptions())
    else:
        known = _configured(text)
    options = known.options
    if timeout is not None:
        timeouts = replace(
            options.timeouts, connect=timeout, tls=timeout, artim=timeout, dimse=timeout, release=timeout
        )
        options = replace(options, timeouts=timeouts)
    options = replace(
        options, tls=access.context() or options.tls, identity=_identity(access) or options.identity
    )
    return Peer(known.address, calling_ae_title or known.calling_ae_title, options)


def _configured(ae_title: str) -> Peer:
    from dicomwire.node import configuration, peers

    settings = configuration.load().settings
    found = peers.find(settings, ae_title)
    if found is None:
        raise AddressError(f"{ae_title!r} is no AE title of one in [[peers]], nor AE@HOST:PORT: {EXAMPLE}")
    if found.host is None or found.port is None:
        raise Stop(f"[[peers]] {ae_title} has no host and port, so nothing can be sent there", 2)
    address = Address(found.ae_title, found.host, found.port)
    return Peer(address, settings.node.ae_title, peers.requestor_options(found, settings))


def _identity(access: Access) -> UserIdentityRq | None:
    from dicomwire.association import identity

    token = access.token()
    if token is not None:
        return identity.jwt(token)
    if access.ticket_file is not None:
        return identity.kerberos(_credentials("--kerberos-file", access.ticket_file))
    if access.assertion_file is not None:
        return identity.saml(_credentials("--saml-file", access.assertion_file))
    if access.user is None:
        return None
    password = access.secret()
    if password is None:
        return identity.username(access.user)
    return identity.username_and_passcode(access.user, password)


def _credentials(flag: str, file: Path) -> bytes:
    """The bytes of a file; item 58H counts them with two bytes."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise Stop(f"{flag} {file}: {error.strerror or error}", 2) from None
    if not 1 <= len(data) <= 0xFFFF:
        raise Stop(f"{flag} {file} has {len(data)} bytes, an A-ASSOCIATE-RQ takes 1 to 65535", 2)
    return data
