"""Verification of user identities: every kind, right, wrong, and not to be verified."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from argon2 import PasswordHasher
from joserfc import jwt
from joserfc.jwk import OctKey

from dicomwire.access import identity
from dicomwire.access.identity import (
    Accepted,
    Credentials,
    Identity,
    IdentityPolicy,
    IdentityType,
    Refused,
    User,
    Verifier,
    hash_password,
)
from dicomwire.access.permission import Permission
from dicomwire.access.token import TokenPolicy, secret_key
from tests.access.vectors import ASSERTION

NOW = 1_700_000_000.0
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
SECRET = "0123456789abcdef0123456789abcdef"
USERS = {
    "anna": User(CHEAP.hash("Passwort"), Permission.FIND),
    "bérénice": User(CHEAP.hash("motdepassé")),
}
POLICY = IdentityPolicy(users=USERS, tokens=TokenPolicy(secret_key(SECRET)))
REQUIRED = IdentityPolicy(required=True, users=USERS, tokens=TokenPolicy(secret_key(SECRET)))
TOKEN = jwt.encode({"alg": "HS256"}, {"sub": "carla", "exp": NOW + 60}, OctKey.import_key(SECRET))


async def verdict(policy: IdentityPolicy, credentials: Credentials | None) -> Accepted | Refused:
    return await Verifier(policy).verify(credentials, now=NOW)


async def test_no_identity_is_accepted_unless_one_is_required() -> None:
    assert await verdict(POLICY, None) == Accepted(None)
    assert isinstance(await verdict(REQUIRED, None), Refused)


@pytest.mark.parametrize("policy", [POLICY, REQUIRED])
@pytest.mark.parametrize(("name", "passcode"), [("anna", "Passwort"), ("bérénice", "motdepassé")])
async def test_right_passcode_is_accepted_with_the_users_permission(
    policy: IdentityPolicy, name: str, passcode: str
) -> None:
    accepted = await verdict(policy, Credentials.password(name, passcode))
    assert accepted == Accepted(Identity(name, 2, True, USERS[name].permission), b"")


@pytest.mark.parametrize("policy", [POLICY, REQUIRED])
@pytest.mark.parametrize(
    ("name", "passcode"),
    [
        ("anna", "passwort"),
        ("anna", ""),
        ("anna", "motdepassé"),
        ("Anna", "Passwort"),
        ("", ""),
        ("dora", "Passwort"),
    ],
)
async def test_wrong_passcode_or_user_is_refused_though_none_is_required(
    policy: IdentityPolicy, name: str, passcode: str
) -> None:
    refused = await verdict(policy, Credentials.password(name, passcode))
    assert isinstance(refused, Refused)
    assert not passcode or passcode not in refused.reason


async def test_nuls_that_pad_name_and_passcode_are_taken() -> None:
    credentials = Credentials(IdentityType.USER_NAME_AND_PASSCODE, b"anna\0", b"Passwort\0")
    assert isinstance(await verdict(REQUIRED, credentials), Accepted)


async def test_name_that_is_not_utf_8_is_refused() -> None:
    assert isinstance(await verdict(POLICY, Credentials(2, b"ann\xe4", b"Passwort")), Refused)


async def test_unknown_user_costs_a_hash_as_a_known_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def matches(self: Verifier, password_hash: str, passcode: bytes) -> bool:
        compared.append(password_hash)
        return True

    monkeypatch.setattr(Verifier, "_matches", matches)
    assert isinstance(await verdict(POLICY, Credentials.password("dora", "Passwort")), Refused)
    assert len(compared) == 1


async def test_proved_passcode_costs_no_second_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = Verifier(POLICY)
    right, wrong = Credentials.password("anna", "Passwort"), Credentials.password("anna", "x")
    assert isinstance(await verifier.verify(right, now=NOW), Accepted)
    monkeypatch.setattr(Verifier, "_matches", lambda *_: False)
    assert isinstance(await verifier.verify(right, now=NOW), Accepted)
    assert isinstance(await verifier.verify(wrong, now=NOW), Refused)
    assert isinstance(await Verifier(POLICY).verify(right, now=NOW), Refused)


async def test_proof_of_one_user_is_none_of_another() -> None:
    verifier = Verifier(POLICY)
    await verifier.verify(Credentials.password("anna", "Passwort"), now=NOW)
    assert isinstance(await verifier.verify(Credentials.password("dora", "Passwort"), now=NOW), Refused)


async def test_remembered_proofs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "REMEMBERED", 2)
    monkeypatch.setattr(Verifier, "_matches", lambda *_: True)
    verifier = Verifier(POLICY)
    for number in range(5):
        await verifier.verify(Credentials.password("anna", str(number)), now=NOW)
    assert len(verifier._proved) == 2


async def test_hashes_are_verified_off_the_loop_and_few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    running = most = 0
    loop = asyncio.get_running_loop()

    async def to_thread(function: object, *arguments: object) -> bool:
        nonlocal running, most
        running += 1
        most = max(most, running)
        turn = loop.create_future()
        loop.call_soon(turn.set_result, None)
        await turn
        running -= 1
        return False

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    verifier = Verifier(POLICY)
    credentials = [Credentials.password("anna", str(number)) for number in range(20)]
    await asyncio.gather(*(verifier.verify(one, now=NOW) for one in credentials))
    assert most == identity.CONCURRENT_HASHES


async def test_configured_hash_that_is_none_refuses_and_does_not_raise() -> None:
    policy = IdentityPolicy(users={"anna": User("Passwort")})
    assert isinstance(await verdict(policy, Credentials.password("anna", "Passwort")), Refused)


async def test_token_is_accepted_with_its_user() -> None:
    accepted = await verdict(REQUIRED, Credentials.token(TOKEN))
    assert accepted == Accepted(Identity("carla", 5, True), b"")


@pytest.mark.parametrize("policy", [POLICY, REQUIRED])
async def test_wrong_token_is_refused(policy: IdentityPolicy) -> None:
    refused = await verdict(policy, Credentials.token(TOKEN[:-4] + "AAAA"))
    assert isinstance(refused, Refused)
    assert TOKEN[:-4] not in refused.reason


UNVERIFIABLE = [
    Credentials(IdentityType.USER_NAME, b"eva"),
    Credentials(IdentityType.KERBEROS, b"\x6e\x82ticket"),
    Credentials(IdentityType.SAML, b"<saml:Assertion/>"),
    Credentials(0, b""),
    Credentials(6, b"new"),
]


@pytest.mark.parametrize("credentials", UNVERIFIABLE, ids=lambda credentials: str(credentials.type))
async def test_what_cannot_be_verified_is_a_claim_where_no_identity_is_required(
    credentials: Credentials,
) -> None:
    accepted = await verdict(POLICY, credentials)
    assert isinstance(accepted, Accepted)
    identity = accepted.identity
    assert identity is not None
    assert replace(identity, facts={}) == Identity(credentials.user_name or "", credentials.type, False)
    readable = credentials.type not in (IdentityType.KERBEROS, IdentityType.SAML)
    assert ("unreadable" in identity.facts) is not readable
    assert accepted.server_response is None


@pytest.mark.parametrize("credentials", UNVERIFIABLE, ids=lambda credentials: str(credentials.type))
async def test_what_cannot_be_verified_is_refused_where_an_identity_is_required(
    credentials: Credentials,
) -> None:
    refused = await verdict(REQUIRED, credentials)
    assert isinstance(refused, Refused)
    assert "cannot be verified" in refused.reason


async def test_reason_of_a_refusal_says_what_the_credentials_say() -> None:
    refused = await verdict(REQUIRED, Credentials(IdentityType.SAML, ASSERTION))
    assert isinstance(refused, Refused)
    assert "SAML assertion cannot be verified here: issuer https://idp.example.org" in refused.reason
    assert "subject carla" in refused.reason


async def test_subject_of_an_assertion_is_a_claim() -> None:
    accepted = await verdict(POLICY, Credentials(IdentityType.SAML, ASSERTION))
    assert isinstance(accepted, Accepted)
    assert accepted.identity is not None
    assert (accepted.identity.name, accepted.identity.verified) == ("carla", False)
    assert accepted.identity.facts["not on or after"] == "2026-01-02T03:14:05Z"


async def test_unproved_name_of_a_user_with_a_passcode_is_no_claim() -> None:
    claimed = ASSERTION.replace(b"carla", b"anna")
    assert isinstance(await verdict(POLICY, Credentials(IdentityType.SAML, claimed)), Refused)


async def test_name_of_a_user_with_a_passcode_is_no_claim_without_it() -> None:
    assert isinstance(await verdict(POLICY, Credentials(IdentityType.USER_NAME, b"anna")), Refused)


async def test_kinds_that_are_not_configured_are_claims() -> None:
    for credentials in (Credentials.password("anna", "Passwort"), Credentials.token(TOKEN)):
        accepted = await verdict(IdentityPolicy(), credentials)
        assert isinstance(accepted, Accepted)
        assert accepted.identity is not None
        assert not accepted.identity.verified
        assert isinstance(await verdict(IdentityPolicy(required=True), credentials), Refused)


def test_credentials_are_in_no_repr() -> None:
    shown = repr(Credentials.password("anna", "Passwort")) + repr(Credentials.token(TOKEN)) + repr(POLICY)
    for secret in ("Passwort", TOKEN, SECRET, USERS["anna"].password_hash):
        assert secret not in shown


async def test_made_hash_is_argon2_and_verifies() -> None:
    made = hash_password("Passwort")
    assert made.startswith("$argon2id$")
    policy = IdentityPolicy(required=True, users={"anna": User(made)})
    assert isinstance(await verdict(policy, Credentials.password("anna", "Passwort")), Accepted)
