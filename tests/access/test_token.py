"""JSON Web Tokens: keys, algorithms, times, issuer, audience, and anything that is no token."""

from __future__ import annotations

import base64
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from dicomwire.access.token import TokenPolicy, public_keys, secret_key
from dicomwire.errors import ConfigurationError, TokenRefused

NOW = 1_700_000_000.0
SECRET = "0123456789abcdef0123456789abcdef"
RSA = RSAKey.generate_key(2048)
EC = ECKey.generate_key("P-256")
ED = OKPKey.generate_key("Ed25519")
POLICY = TokenPolicy(secret_key(SECRET))


def pem(key: RSAKey | ECKey | OKPKey) -> str:
    return key.as_pem(private=False).decode()


def token(
    key: Key | None = None,
    algorithm: str = "HS256",
    header: dict[str, object] | None = None,
    **claims: object,
) -> bytes:
    content = {"sub": "anna", "exp": NOW + 60} | claims
    content = {claim: value for claim, value in content.items() if value is not None}
    signer = key or OctKey.import_key(SECRET)
    return jwt.encode({"alg": algorithm, **(header or {})}, content, signer, algorithms=[algorithm]).encode()


@pytest.mark.parametrize(
    ("key", "algorithm"), [(RSA, "RS256"), (RSA, "PS384"), (EC, "ES256"), (ED, "Ed25519")]
)
@pytest.mark.parametrize("kid", [None, "somewhat"])
def test_token_signed_with_any_kind_of_key_names_its_user(
    key: RSAKey | ECKey | OKPKey, algorithm: str, kid: str | None
) -> None:
    signed = token(key, algorithm, {"kid": kid} if kid else None)
    jwks = json.dumps({"keys": [one.as_dict(private=False) for one in (RSA, EC, ED)] + [{"kty": "AKP"}]})
    for text in (pem(key), jwks, json.dumps(key.as_dict(private=False))):
        assert TokenPolicy(public_keys(text)).verify(signed, now=NOW) == "anna"


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_token_signed_with_the_secret_names_its_user(algorithm: str) -> None:
    assert POLICY.verify(token(algorithm=algorithm), now=NOW) == "anna"


def test_algorithms_can_be_narrowed() -> None:
    policy = TokenPolicy(secret_key(SECRET), algorithms=("HS512",))
    assert policy.verify(token(algorithm="HS512"), now=NOW) == "anna"
    with pytest.raises(TokenRefused):
        policy.verify(token(), now=NOW)
    with pytest.raises(ConfigurationError, match="RS256"):
        TokenPolicy(secret_key(SECRET), algorithms=("RS256",))


def part(content: object) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=")


def test_public_key_is_no_secret_for_a_symmetric_signature() -> None:
    content = part({"alg": "HS256"}) + b"." + part({"sub": "anna", "exp": NOW + 60})
    signature = hmac.digest(pem(RSA).encode(), content, "sha256")
    with pytest.raises(TokenRefused):
        TokenPolicy(public_keys(pem(RSA))).verify(
            content + b"." + base64.urlsafe_b64encode(signature).rstrip(b"="), now=NOW
        )
    with pytest.raises(ConfigurationError):
        secret_key(pem(RSA))


def test_token_without_signature_is_refused() -> None:
    unsigned = part({"alg": "none"}) + b"." + part({"sub": "anna", "exp": NOW + 60}) + b"."
    with pytest.raises(TokenRefused):
        POLICY.verify(unsigned, now=NOW)


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"exp": None}, "never expires"),
        ({"exp": NOW - 31}, "has expired"),
        ({"exp": (NOW + 60) * 1000}, "no time"),
        ({"exp": "tomorrow"}, "no time"),
        ({"exp": True}, "no time"),
        ({"nbf": NOW + 31}, "not valid yet"),
        ({"nbf": "now"}, "no time"),
        ({"sub": None}, "names no user"),
        ({"sub": ""}, "names no user"),
        ({"sub": 7}, "names no user"),
    ],
)
def test_token_at_the_wrong_time_or_of_nobody_is_refused(claims: dict[str, object], words: str) -> None:
    with pytest.raises(TokenRefused, match=words):
        POLICY.verify(token(**claims), now=NOW)


@pytest.mark.parametrize(
    "claims", [{"exp": NOW - 29}, {"nbf": NOW + 29}, {"nbf": NOW - 60}, {"exp": NOW + 0.5}]
)
def test_clocks_may_differ_by_the_leeway(claims: dict[str, object]) -> None:
    assert POLICY.verify(token(**claims), now=NOW) == "anna"


ISSUED = TokenPolicy(
    secret_key(SECRET), issuer="https://issuer", audience="dicomwire", user_claim="preferred"
)


@pytest.mark.parametrize("audience", ["dicomwire", ["other", "dicomwire"]])
def test_issuer_audience_and_user_claim_are_those_configured(audience: object) -> None:
    assert ISSUED.verify(token(iss="https://issuer", aud=audience, preferred="a.n."), now=NOW) == "a.n."


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "dicomwire"},
        {"iss": "https://other", "aud": "dicomwire"},
        {"iss": "https://issuer"},
        {"iss": "https://issuer", "aud": "dicomwire2"},
        {"iss": "https://issuer", "aud": ["other"]},
        {"iss": ["https://issuer"], "aud": "dicomwire"},
    ],
)
def test_other_issuer_or_audience_is_refused(claims: dict[str, object]) -> None:
    with pytest.raises(TokenRefused):
        ISSUED.verify(token(preferred="a.n.", **claims), now=NOW)


def test_token_cut_at_any_byte_is_refused() -> None:
    whole = token()
    for length in range(len(whole)):
        with pytest.raises(TokenRefused):
            POLICY.verify(whole[:length], now=NOW)


@given(st.binary(max_size=100) | st.text("eyJ.hbGciOi_-", max_size=60).map(str.encode))
def test_any_bytes_are_refused_and_nothing_else_is_raised(data: bytes) -> None:
    with pytest.raises(TokenRefused):
        POLICY.verify(data, now=NOW)


def test_token_of_excessive_length_or_depth_is_refused() -> None:
    with pytest.raises(TokenRefused, match="bytes"):
        POLICY.verify(b"a" * 20_000, now=NOW)
    deep = base64.urlsafe_b64encode(b'{"a":' * 1500).rstrip(b"=")
    with pytest.raises(TokenRefused):
        POLICY.verify(deep + b".e30.AAAA", now=NOW)


@pytest.mark.parametrize(
    "text",
    ["", "secret", "{", "{}", '{"keys": 5}', '{"keys": []}', '{"keys": [{"kty": "RSA"}]}', '{"keys": [7]}'],
)
def test_file_without_a_key_is_a_configuration_error(text: str) -> None:
    with pytest.raises(ConfigurationError):
        public_keys(text)


def test_key_for_encryption_is_passed_over() -> None:
    entry = RSA.as_dict(private=False) | {"use": "enc"}
    with pytest.raises(ConfigurationError):
        public_keys(json.dumps({"keys": [entry]}))


def test_short_secret_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="16 bytes"):
        secret_key("secret")
