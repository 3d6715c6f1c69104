"""Settings of logins: users and tokens at both doors (`dicomwire.access`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, model_validator

from dicomwire.node.section import OPERATIONS, Operation, Section, unique


class UserSettings(Section):
    """One person or device that logs in."""

    name: str = Field(min_length=1, max_length=64, description="User name.")
    password: SecretStr = Field(
        description="Argon2 hash of the password, as `dicomwire config hash` prints it."
    )
    allow: tuple[Operation, ...] = Field(OPERATIONS, description="What the user may do.")

    @model_validator(mode="after")
    def _hashed(self) -> UserSettings:
        if not self.password.get_secret_value().startswith("$argon2"):
            raise ValueError("password must be an Argon2 hash: make one with `dicomwire config hash`")
        return self


class JWTSettings(Section):
    """JSON Web Tokens as user identity (PS3.7 D.3.3.7, type 5) and as HTTP bearer."""

    keys: Path | None = Field(
        None, description="JWKS or PEM file with the issuer's public keys; set, tokens are taken."
    )
    secret: SecretStr | None = Field(None, description="Shared secret (HS256), in place of keys.")
    issuer: str | None = Field(None, description="Required issuer (iss).")
    audience: str | None = Field(None, description="Required audience (aud).")
    algorithms: tuple[str, ...] = Field(
        (), description="Algorithms taken; those that fit the keys without it."
    )
    leeway: Annotated[float, Field(ge=0, le=3600)] = Field(
        30.0, description="Seconds that clocks may differ."
    )
    user_claim: str = Field("sub", description="Claim that names the user.")
    allow: tuple[Operation, ...] = Field(OPERATIONS, description="What a bearer may do.")

    @property
    def enabled(self) -> bool:
        return self.keys is not None or self.secret is not None


class IdentitySettings(Section):
    """Who may use the node, by login (PS3.7 D.3.3.7; HTTP Basic and Bearer)."""

    required: bool = Field(False, description="Refuse who does not log in, at both doors.")
    users: tuple[UserSettings, ...] = Field((), description="Users with a password.")
    jwt: JWTSettings = JWTSettings()

    @model_validator(mode="after")
    def _possible(self) -> IdentitySettings:
        names = [user.name for user in self.users]
        unique(names, "users", "name")
        if self.required and not self.users and not self.jwt.enabled:
            raise ValueError(
                "a login is required but nobody can log in: add [[identity.users]] or [identity.jwt]"
            )
        return self
