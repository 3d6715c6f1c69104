"""User identities that a requestor sends (PS3.7 D.3.3.7.1)."""

from __future__ import annotations

from dicomwire.upper_layer.items import UserIdentityRq, UserIdentityType


def username(name: str, *, positive_response: bool = False) -> UserIdentityRq:
    """A user name alone, which proves nothing."""
    return UserIdentityRq(UserIdentityType.USERNAME, positive_response, name.encode())


def username_and_passcode(name: str, passcode: str, *, positive_response: bool = False) -> UserIdentityRq:
    """A user name and passcode, in clear: to be sent over TLS."""
    kind = UserIdentityType.USERNAME_AND_PASSCODE
    return UserIdentityRq(kind, positive_response, name.encode(), passcode.encode())


def kerberos(ticket: bytes, *, positive_response: bool = False) -> UserIdentityRq:
    """A Kerberos service ticket."""
    return UserIdentityRq(UserIdentityType.KERBEROS, positive_response, ticket)


def saml(assertion: str | bytes, *, positive_response: bool = False) -> UserIdentityRq:
    """A SAML assertion."""
    data = assertion.encode() if isinstance(assertion, str) else assertion
    return UserIdentityRq(UserIdentityType.SAML, positive_response, data)


def jwt(token: str, *, positive_response: bool = False) -> UserIdentityRq:
    """A JSON Web Token."""
    return UserIdentityRq(UserIdentityType.JWT, positive_response, token.encode())
