"""Who is known, from the settings: users with their hashes, keys that sign tokens (PS3.7 D.3.3.7)."""

from __future__ import annotations

from dicomwire.access.identity import IdentityPolicy, Tokens, User
from dicomwire.access.permission import Permission, Permissions
from dicomwire.errors import ConfigurationError
from dicomwire.node.identity_settings import IdentitySettings, JWTSettings
from dicomwire.node.settings import Settings


def policy(settings: IdentitySettings) -> IdentityPolicy:
    """Whom both doors let in.

    Raises: ConfigurationError, when keys cannot be read or do not fit the algorithms.
    """
    users = {
        user.name: User(user.password.get_secret_value(), Permission.of(user.allow))
        for user in settings.users
    }
    return IdentityPolicy(required=settings.required, users=users, tokens=_tokens(settings.jwt))


def permissions(settings: Settings) -> Permissions:
    """What each calling AE title may do."""
    return Permissions({peer.ae_title: Permission.of(peer.allow) for peer in settings.peers})


def _tokens(settings: JWTSettings) -> Tokens | None:
    if settings.keys is None and settings.secret is None:
        return None
    from dicomwire.access.token import TokenPolicy, public_keys, secret_key  # slow to load

    if settings.keys is not None:
        try:
            keys = public_keys(settings.keys.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"identity.jwt.keys {settings.keys}: {error}") from None
    elif settings.secret is not None:
        keys = secret_key(settings.secret.get_secret_value())
    else:
        return None
    return TokenPolicy(
        keys,
        algorithms=settings.algorithms,
        issuer=settings.issuer,
        audience=settings.audience,
        leeway=settings.leeway,
        user_claim=settings.user_claim,
        permission=Permission.of(settings.allow),
    )
