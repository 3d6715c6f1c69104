"""What a peer or a user may do here: plain data and one check.

A peer is known by its calling AE title, which proves nothing by itself; a user by an identity. Where both are
known, both must be allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Flag

from dicomwire.errors import ConfigurationError


class Permission(Flag):
    """Operations that can be allowed; their names in lower case are the configuration's."""

    NONE = 0
    ECHO = 1
    STORE = 2
    FIND = 4
    GET = 8
    MOVE = 16
    DELETE = 32
    COMMIT = 64
    MPPS = 128
    NOTIFY = 256
    UPS = 512
    USUAL = ECHO | STORE | FIND | GET | MOVE | COMMIT | MPPS | NOTIFY | UPS
    ALL = USUAL | DELETE

    @classmethod
    def of(cls, names: Iterable[str]) -> Permission:
        """The permission to do all that is named, such as `["echo", "store"]`.

        Raises: ConfigurationError, for a name that is none.
        """
        permission = cls.NONE
        for name in names:
            if name not in names_of(cls.ALL):
                known = ", ".join(names_of(cls.ALL))
                raise ConfigurationError(f"{name!r} is no operation that can be allowed; there are {known}")
            permission |= cls[name.upper()]
        return permission


def names_of(permission: Permission) -> tuple[str, ...]:
    """The configuration's names of what is allowed."""
    return tuple(single.name.lower() for single in permission if single.name is not None)


@dataclass(frozen=True, slots=True)
class Permissions:
    """What each peer may do.

    Attributes:
        peers: by calling AE title; case-sensitive, without the spaces around it.
        others: for every other calling AE title that was let in.
    """

    peers: Mapping[str, Permission] = field(default_factory=dict)
    others: Permission = Permission.USUAL

    def allow(self, operation: Permission, calling_ae_title: str, user: Permission = Permission.ALL) -> bool:
        """Whether a peer may do something.

        Args:
            operation: one or more operations, all of which have to be allowed.
            calling_ae_title: of the association.
            user: what the user behind it may do.
        """
        granted = self.peers.get(calling_ae_title, self.others) & user
        return operation & granted == operation
