"""Flags of every command that opens an association, and the requestor's options they make."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicomwire.cli.output import Stop

if TYPE_CHECKING:
    import ssl

    from dicomwire.association.options import RequestorOptions
    from dicomwire.upper_layer.items import UserIdentityRq

CallingAETitle = Annotated[
    str, typer.Option("--calling-ae-title", "-c", metavar="T", help="Our own AE title.")
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
        return sys.stdin.readline().rstrip("\r\n") if self.password == "-" else self.password

    def token(self) -> str | None:
        """The token in the file."""
        if self.token_file is None:
            return None
        try:
            text = sys.stdin.read() if str(self.token_file) == "-" else self.token_file.read_text("ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise Stop(f"--token-file {self.token_file}: {error}", 2) from None
        return text.strip()

    def check(self) -> None:
        """Refuse flags that contradict each other."""
        if self.password is not None and self.user is None:
            raise Stop("--password needs --user", 2)
        if self.user is not None and self.token_file is not None:
            raise Stop("--user and --token-file are two logins: give one", 2)


def requestor_options(access: Access, timeout: float | None) -> RequestorOptions:
    """Options of an association that these flags ask for."""
    from dicomwire.association.options import RequestorOptions, Timeouts

    access.check()
    timeouts = Timeouts()
    if timeout is not None:
        timeouts = Timeouts(connect=timeout, tls=timeout, artim=timeout, dimse=timeout, release=timeout)
    return RequestorOptions(timeouts=timeouts, tls=access.context(), identity=_identity(access))


def _identity(access: Access) -> UserIdentityRq | None:
    from dicomwire.association import identity

    token = access.token()
    if token is not None:
        return identity.jwt(token)
    if access.user is None:
        return None
    password = access.secret()
    if password is None:
        return identity.username(access.user)
    return identity.username_and_passcode(access.user, password)
