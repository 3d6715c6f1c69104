"""JSON Web Tokens as proof of identity (PS3.7 D.3.3.7, type 5; RFC 7519, RFC 8725).

Signed tokens only. Which algorithms are taken follows from the keys, never from the token; a token must name
its user and say when it expires.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, Key, KeySet, OctKey, OKPKey, RSAKey

from dicomwire.access.permission import Permission
from dicomwire.errors import ConfigurationError, TokenRefused

SHORTEST_SECRET = 16  # bytes; RFC 7518 3.2 asks for 32, secrets that people type are shorter
LONGEST_TOKEN = 16_384  # bytes
LATEST_TIME = 1e12  # seconds; beyond it a NumericDate is a mistake, milliseconds for example

ALGORITHMS: dict[str, tuple[str, ...]] = {  # by key type (RFC 7518 3.1, RFC 8037 3.1, RFC 9864 2.2)
    "oct": ("HS256", "HS384", "HS512"),
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC": ("ES256", "ES384", "ES512"),
    "OKP": ("Ed25519", "EdDSA"),
}


@dataclass(frozen=True, slots=True)
class TokenPolicy:
    """How tokens are verified.

    Attributes:
        keys: of the issuer, any of which may have signed; see `secret_key` and `public_keys`.
        algorithms: those taken; empty for all that fit the keys.
        issuer: what `iss` must be, None for anything.
        audience: what must be among `aud`, None for anything.
        leeway: seconds that the issuer's clock may differ from ours.
        user_claim: the claim that names the user.
        permission: what a bearer may do.
    """

    keys: tuple[Key, ...] = field(repr=False)
    algorithms: tuple[str, ...] = ()
    issuer: str | None = None
    audience: str | None = None
    leeway: float = 30.0
    user_claim: str = "sub"
    permission: Permission = Permission.USUAL

    def __post_init__(self) -> None:
        fitting = [name for key in self.keys for name in ALGORITHMS.get(key.key_type, ())]
        unfit = [name for name in self.algorithms if name not in fitting]
        if unfit:
            raise ConfigurationError(f"{', '.join(unfit)}: the keys fit {', '.join(dict.fromkeys(fitting))}")

    def verify(self, token: bytes, *, now: float) -> str:
        """The user a token stands for.

        Args:
            token: compact serialization.
            now: seconds since 1970, UTC.

        Raises: TokenRefused, when it is no token, is not signed by a key of ours, is not yet or no longer
            valid, has another issuer or audience or names no user.
        """
        if len(token) > LONGEST_TOKEN:
            raise TokenRefused(f"token of {len(token)} bytes, {LONGEST_TOKEN} are the most")
        claims = self._claims(token)
        expires, begins = _time(claims, "exp"), _time(claims, "nbf")
        if expires is None:
            raise TokenRefused("token that never expires (exp)")
        if expires <= now - self.leeway:
            raise TokenRefused("token that has expired (exp)")
        if begins is not None and begins > now + self.leeway:
            raise TokenRefused("token that is not valid yet (nbf)")
        if self.issuer is not None and claims.get("iss") != self.issuer:
            raise TokenRefused("token of another issuer (iss)")
        if self.audience is not None and self.audience not in _audiences(claims.get("aud")):
            raise TokenRefused("token for another audience (aud)")
        user = claims.get(self.user_claim)
        if not isinstance(user, str) or not user:
            raise TokenRefused(f"token that names no user ({self.user_claim})")
        return user

    def _claims(self, token: bytes) -> dict[str, object]:
        """The claims of a token that one of the keys has signed."""
        words = "token that no key fits"
        for key in self.keys:
            fitting = ALGORITHMS.get(key.key_type, ())
            algorithms = [name for name in fitting if not self.algorithms or name in self.algorithms]
            try:
                with warnings.catch_warnings():
                    # joserfc warns of the name EdDSA (RFC 9864), which issuers will use for years
                    warnings.simplefilter("ignore", SecurityWarning)
                    return dict(jwt.decode(token, key, algorithms=algorithms).claims)
            except JoseError as error:
                words = f"token that cannot be verified: {error.error}"
            except (ValueError, TypeError, RecursionError):
                words = "no token"
        raise TokenRefused(words)


def secret_key(secret: str) -> tuple[Key, ...]:
    """The key of a shared secret (HS256, HS384, HS512).

    Raises: ConfigurationError, when the secret is shorter than 16 bytes, or a public key.
    """
    data = secret.encode()
    if len(data) < SHORTEST_SECRET:
        raise ConfigurationError(
            f"a token secret needs at least {SHORTEST_SECRET} bytes, better 32 (RFC 7518 3.2)"
        )
    try:
        return (OctKey.import_key(data),)
    except ValueError:
        raise ConfigurationError("a token secret cannot be a public key: name its file as keys") from None


def public_keys(data: bytes | str) -> tuple[Key, ...]:
    """The keys in the bytes of a file: JWKS, a single JWK, or one public key in PEM.

    Keys of a kind that we do not know, or for encryption, are passed over (RFC 7517 5).

    Raises: ConfigurationError, when there is no key in it.
    """
    text = data.encode() if isinstance(data, str) else data
    found = _jwks(text) if text.lstrip().startswith(b"{") else _pem(text)
    keys = tuple(key for key in found if key.get("use") != "enc")
    if not keys:
        raise ConfigurationError("no key in JWKS or PEM that a token could be verified with")
    return keys


def _jwks(text: bytes) -> list[Key]:
    try:
        content = json.loads(text)
        entries = content.get("keys", [content])
        return [KeySet.registry_cls.import_key(entry) for entry in entries if entry.get("kty") in ALGORITHMS]
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigurationError(f"keys are no JWKS: {type(error).__name__}") from None


def _pem(text: bytes) -> list[Key]:
    for kind in (RSAKey, ECKey, OKPKey):
        try:
            return [kind.import_key(text)]
        except (JoseError, ValueError, TypeError):
            continue
    raise ConfigurationError("keys are neither JWKS nor an RSA, EC or Ed25519 key in PEM")


def _time(claims: Mapping[str, object], claim: str) -> float | None:
    value = claims.get(claim)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LATEST_TIME:
        raise TokenRefused(f"token whose {claim} is no time")
    return float(value)


def _audiences(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else [value]
