"""User identities: what a peer presents, and whether it proves who it is (PS3.7 D.3.3.7).

Nothing here knows a PDU or HTTP: both doors bring credentials as values and get a verdict. A wrong proof is
refused, whether an identity is required or not. What cannot be verified here (Kerberos, SAML, a user name
alone, any kind that is not configured) is refused where an identity is required, else it is kept as a mere
claim. Credentials are in no repr, no reason and no log.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from dicomwire.access.claims import Claims, claims
from dicomwire.access.permission import Permission
from dicomwire.errors import TokenRefused

CONCURRENT_HASHES = 2  # verified at once: by default each takes some 120 ms on four threads and 64 MiB
REMEMBERED = 256  # proved passcodes, so that not every association and request costs a hash


class Tokens(Protocol):
    """How tokens are verified; `token.TokenPolicy`, which is loaded only where there are keys."""

    @property
    def permission(self) -> Permission: ...

    def verify(self, token: bytes, *, now: float) -> str: ...


class IdentityType(IntEnum):
    """User-Identity-Type (PS3.7 D.3.3.7)."""

    USER_NAME = 1
    USER_NAME_AND_PASSCODE = 2
    KERBEROS = 3
    SAML = 4
    JWT = 5


KINDS: dict[int, str] = {
    IdentityType.USER_NAME: "user name without passcode",
    IdentityType.USER_NAME_AND_PASSCODE: "user name and passcode",
    IdentityType.KERBEROS: "Kerberos service ticket",
    IdentityType.SAML: "SAML assertion",
    IdentityType.JWT: "JSON Web Token",
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a peer presents.

    Attributes:
        type: User-Identity-Type, known or not.
        primary: user name in UTF-8, ticket, assertion or token.
        secondary: passcode, for type 2.
    """

    type: int
    primary: bytes = field(repr=False)
    secondary: bytes = field(default=b"", repr=False)

    @classmethod
    def password(cls, user_name: str, password: str) -> Credentials:
        """Those of HTTP's Basic and of anybody who has text."""
        return cls(IdentityType.USER_NAME_AND_PASSCODE, user_name.encode(), password.encode())

    @classmethod
    def token(cls, token: str) -> Credentials:
        """Those of HTTP's Bearer."""
        return cls(IdentityType.JWT, token.encode())

    @property
    def user_name(self) -> str | None:
        """The user's name, where the kind of credentials has one in the open and in UTF-8."""
        if self.type not in (IdentityType.USER_NAME, IdentityType.USER_NAME_AND_PASSCODE):
            return None
        try:
            return self.primary.rstrip(b"\0").decode()
        except UnicodeDecodeError:
            return None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is.

    Attributes:
        name: the user; "" where the credentials do not say it in the open.
        type: User-Identity-Type of the credentials.
        verified: it was proved; else it is a claim.
        permission: what the user may do.
        facts: what unproved credentials say beside the name, see `claims`.
    """

    name: str
    type: int
    verified: bool
    permission: Permission = Permission.USUAL
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The credentials' type in words."""
        return KINDS.get(self.type, f"identity of type {self.type}")

    def described(self) -> dict[str, str]:
        """How it was presented, whether it was proved, and what it says; as the peer wrote it."""
        return {"kind": self.kind, "verified": "yes" if self.verified else "no", **self.facts}


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who logs in with a passcode.

    Attributes:
        password_hash: Argon2, as `hash_password` makes it.
        permission: what the user may do.
    """

    password_hash: str = field(repr=False)
    permission: Permission = Permission.USUAL


@dataclass(frozen=True, slots=True)
class IdentityPolicy:
    """Whom we know.

    Attributes:
        required: who presents no identity, or one that cannot be verified, is refused.
        users: by user name; without any, passcodes are not verified.
        tokens: how JSON Web Tokens are verified; without it they are not.
    """

    required: bool = False
    users: Mapping[str, User] = field(default_factory=dict)
    tokens: Tokens | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """Let in.

    Attributes:
        identity: None, where none was presented and none is required.
        server_response: for the User Identity sub-item (59H) of the answer if the peer asked for a positive
            response; None, no such sub-item, where the identity was not verified.
    """

    identity: Identity | None
    server_response: bytes | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Not let in; the reason is for our log, the peer learns no more than that."""

    reason: str


def hash_password(password: str) -> str:
    """Argon2id hash of a password, with its parameters and a fresh salt, for the configuration."""
    return PasswordHasher().hash(password)


class Verifier:
    """Verifies credentials against one policy."""

    def __init__(self, policy: IdentityPolicy) -> None:
        self.policy = policy
        self._hasher = PasswordHasher()
        self._slots = asyncio.Semaphore(CONCURRENT_HASHES)
        self._proved: OrderedDict[bytes, None] = OrderedDict()
        self._key = secrets.token_bytes(32)

    async def verify(self, credentials: Credentials | None, *, now: float) -> Accepted | Refused:
        """Decide about credentials, or their absence.

        Args:
            now: seconds since 1970, UTC.

        Source: PS3.7 D.3.3.7.
        """
        if credentials is None:
            if self.policy.required:
                return Refused("no user identity was presented, one is required")
            return Accepted(None)
        if credentials.type == IdentityType.USER_NAME_AND_PASSCODE and self.policy.users:
            return await self._passcode(credentials)
        if credentials.type == IdentityType.JWT and self.policy.tokens is not None:
            return self._token(credentials, self.policy.tokens, now)
        return self._claim(credentials)

    async def _passcode(self, credentials: Credentials) -> Accepted | Refused:
        name = credentials.user_name
        if name is None:
            return Refused("user name is not UTF-8")
        user = self.policy.users.get(name)
        # An unknown user costs the same time: somebody else's hash is verified, whatever comes of it.
        compared = user if user is not None else next(iter(self.policy.users.values()))
        passcode = credentials.secondary.rstrip(b"\0")
        proof = self._proof(compared, credentials.primary, passcode)
        if proof in self._proved:
            self._proved.move_to_end(proof)
            matches = True
        else:
            async with self._slots:
                matches = await asyncio.to_thread(self._matches, compared.password_hash, passcode)
        if user is None:
            return Refused(f"unknown user {name!r}")
        if not matches:
            return Refused(f"wrong passcode for user {name!r}")
        self._proved[proof] = None
        if len(self._proved) > REMEMBERED:
            self._proved.popitem(last=False)
        return Accepted(Identity(name, credentials.type, verified=True, permission=user.permission), b"")

    def _matches(self, password_hash: str, passcode: bytes) -> bool:
        try:
            return self._hasher.verify(password_hash, passcode)
        except (VerificationError, InvalidHashError):
            return False

    def _proof(self, user: User, name: bytes, passcode: bytes) -> bytes:
        """Stands for a passcode in memory: of no use without the key, which no other process has."""
        parts = (user.password_hash.encode(), name, passcode)
        message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._key, message, hashlib.sha256)

    def _token(self, credentials: Credentials, tokens: Tokens, now: float) -> Accepted | Refused:
        try:
            name = tokens.verify(credentials.primary.rstrip(b"\0 "), now=now)
        except TokenRefused as error:
            return Refused(str(error))
        return Accepted(Identity(name, credentials.type, verified=True, permission=tokens.permission), b"")

    def _claim(self, credentials: Credentials) -> Accepted | Refused:
        said = claims(credentials.type, credentials.primary)
        identity = Identity(
            credentials.user_name or said.name, credentials.type, verified=False, facts=said.facts
        )
        if self.policy.required:
            return Refused(_unverifiable(identity.kind, said))
        if identity.name in self.policy.users:
            return Refused(f"user {identity.name!r} has a passcode and did not present it")
        return Accepted(identity)


def _unverifiable(kind: str, said: Claims) -> str:
    if "unreadable" in said.facts:
        return f"{kind} cannot be verified here, nor read: {said.facts['unreadable']}"
    return f"{kind} cannot be verified here{f': {said.words()}' if said.facts else ''}"
