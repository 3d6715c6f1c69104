"""What a peer and a user may do."""

from __future__ import annotations

import itertools

import pytest

from dicomwire.access.permission import Permission, Permissions, names_of
from dicomwire.errors import ConfigurationError

NAMES = ("echo", "store", "find", "get", "move", "delete")
SUBSETS = [subset for size in range(len(NAMES) + 1) for subset in itertools.combinations(NAMES, size)]


@pytest.mark.parametrize("names", SUBSETS)
def test_names_and_permissions_are_two_sides_of_one_thing(names: tuple[str, ...]) -> None:
    assert names_of(Permission.of(names)) == names


@pytest.mark.parametrize("name", ["", "ECHO", "stor", "all", "none", "usual"])
def test_unknown_name_is_an_error_that_lists_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigurationError, match="echo, store, find, get, move, delete"):
        Permission.of([name])


@pytest.mark.parametrize("names", SUBSETS)
def test_peer_may_do_what_is_allowed_and_nothing_else(names: tuple[str, ...]) -> None:
    permissions = Permissions({"MODALITY": Permission.of(names)})
    assert [
        name for name in NAMES if permissions.allow(Permission.of([name]), "MODALITY", Permission.ALL)
    ] == list(names)


def test_other_peers_may_do_the_usual_by_default() -> None:
    permissions = Permissions({"MODALITY": Permission.ECHO})
    assert permissions.allow(Permission.MOVE, "OTHER")
    assert not permissions.allow(Permission.DELETE, "OTHER")
    assert not Permissions(others=Permission.NONE).allow(Permission.ECHO, "OTHER")


def test_peer_and_user_have_to_be_allowed_both() -> None:
    permissions = Permissions({"MODALITY": Permission.STORE | Permission.ECHO})
    assert permissions.allow(Permission.STORE, "MODALITY", Permission.STORE)
    assert not permissions.allow(Permission.STORE, "MODALITY", Permission.ECHO)
    assert not permissions.allow(Permission.FIND, "MODALITY", Permission.FIND)


def test_several_operations_have_to_be_allowed_all() -> None:
    permissions = Permissions({"MODALITY": Permission.STORE})
    assert not permissions.allow(Permission.STORE | Permission.FIND, "MODALITY")
