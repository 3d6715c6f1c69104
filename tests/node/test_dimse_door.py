"""The DIMSE door's options from the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicomwire import uids
from dicomwire.association.options import AcceptorOptions, Check
from dicomwire.errors import ConfigurationError
from dicomwire.node.dimse_door import acceptor_options
from dicomwire.node.settings import Settings
from dicomwire.services.selection import MODELS, STUDY_ROOT_GET, STUDY_ROOT_MOVE
from dicomwire.upper_layer.negotiation import RolePolicy

CT = "1.2.840.10008.5.1.4.1.1.2"
JPEG = "1.2.840.10008.1.2.4.50"


def made(**values: object) -> AcceptorOptions:
    return acceptor_options(Settings.model_validate(values))


def test_every_storage_class_is_taken_in_every_stored_syntax_and_verification_uncompressed() -> None:
    policy = made().entities[0].policy
    for uid in (*uids.storage_sop_classes(), *uids.PRIVATE_STORAGE_SOP_CLASSES):
        assert policy.supported[uid] == uids.STORAGE_TRANSFER_SYNTAXES
    assert policy.supported[uids.VERIFICATION] == uids.UNCOMPRESSED_TRANSFER_SYNTAXES
    assert not policy.unregistered


def test_extra_and_refused_sop_classes() -> None:
    policy = made(dimse={"extra_sop_classes": ["1.2.3"], "refused_sop_classes": [CT]}).entities[0].policy
    assert policy.supported["1.2.3"] == uids.STORAGE_TRANSFER_SYNTAXES
    assert CT in policy.refused


def test_an_asterisk_takes_every_unknown_sop_class() -> None:
    policy = made(dimse={"extra_sop_classes": ["*"]}).entities[0].policy
    assert policy.unregistered == uids.STORAGE_TRANSFER_SYNTAXES
    assert "*" not in policy.supported


def test_preferred_syntaxes_come_first() -> None:
    policy = (
        made(dimse={"transfer_syntax_policy": "preferred", "preferred_transfer_syntaxes": [JPEG]})
        .entities[0]
        .policy
    )
    assert policy.transfer_syntax_policy == "preferred"
    assert policy.supported[CT][0] == JPEG
    assert sorted(policy.supported[CT]) == sorted(uids.STORAGE_TRANSFER_SYNTAXES)


@pytest.mark.parametrize(
    ("values", "check"),
    [
        ({}, Check.AUTO),
        ({"node": {"open": True}}, Check.OFF),
        ({"node": {"open": True}, "peers": [{"ae_title": "A"}]}, Check.AUTO),
        ({"dimse": {"calling_ae_title": "list"}, "node": {"open": True}}, Check.LIST),
        ({"dimse": {"calling_ae_title": "off"}}, Check.OFF),
    ],
)
def test_calling_ae_titles_are_checked_as_set(values: dict[str, object], check: Check) -> None:
    assert made(**values).entities[0].calling is check


def test_a_peer_has_its_own_rules() -> None:
    peer = {
        "ae_title": "CT1",
        "allow": ["store"],
        "addresses": ["10.0.0.5"],
        "transfer_syntaxes": [uids.IMPLICIT_VR_LITTLE_ENDIAN],
        "maximum_length": 16_384,
        "asynchronous_operations": {"invoked": 2, "performed": 3},
        "timeouts": {"idle": 5},
        "associations": 4,
        "require_tls": True,
        "character_set": "ISO_IR 100",
    }
    rules = made(peers=[peer]).entities[0].peers["CT1"]
    assert rules.policy is not None
    assert rules.timeouts is not None
    assert rules.hosts == {"10.0.0.5"}
    assert rules.policy.supported[CT] == (uids.IMPLICIT_VR_LITTLE_ENDIAN,)
    assert rules.policy.maximum_length == 16_384
    assert rules.policy.refused[uids.VERIFICATION] == "peer CT1 may not echo"
    assert rules.policy.refused[STUDY_ROOT_MOVE] == "peer CT1 may not move"
    assert rules.policy.refused[STUDY_ROOT_GET] == "peer CT1 may not get"
    assert CT not in rules.policy.refused
    assert rules.policy.roles[CT] == RolePolicy(scu=True, scp=False)
    window = rules.policy.asynchronous_operations_window
    assert window is not None
    assert (window.invoked, window.performed) == (2, 3)
    assert (rules.timeouts.idle, rules.timeouts.dimse) == (5, 60)
    assert (rules.associations, rules.tls) == (4, True)
    assert rules.character_set == "ISO_IR 100"


def test_each_ae_title_has_its_own_rules() -> None:
    options = made(
        peers=[{"ae_title": "A"}, {"ae_title": "B"}],
        ae_titles=[
            {"ae_title": "RESEARCH", "peers": ["A"], "on_no_accepted_context": "accept"},
            {"ae_title": "ECHO", "allow": ["echo"]},
        ],
    )
    main, research, echo = options.entities
    assert [entity.ae_title for entity in options.entities] == ["DICOMWIRE", "RESEARCH", "ECHO"]
    assert set(main.peers) == {"A", "B"}
    assert set(research.peers) == {"A"}
    assert research.calling is Check.LIST
    assert research.policy.on_no_accepted_context == "accept"
    assert CT in echo.policy.refused
    assert uids.VERIFICATION not in echo.policy.refused


def test_policies_that_are_alike_share_their_table() -> None:
    entity = made(peers=[{"ae_title": f"P{number}"} for number in range(50)]).entities[0]
    assert len({id(rules.policy.supported) for rules in entity.peers.values() if rules.policy}) == 1


def test_a_missing_certificate_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent\.pem"):
        made(dimse={"tls": {"certificate": str(tmp_path / "absent.pem")}})


def test_retrieval_is_negotiated_with_its_roles_and_its_relational_kind() -> None:
    policy = made().entities[0].policy
    for uid in MODELS:
        assert policy.supported[uid] == uids.UNCOMPRESSED_TRANSFER_SYNTAXES
    assert policy.roles[CT] == RolePolicy(scu=True, scp=True)
    answer = policy.extended_negotiation[STUDY_ROOT_MOVE]
    assert [answer(proposal) for proposal in (b"", b"\0", b"\1", b"\1\1\1")] == [b"\0", b"\0", b"\1", b"\1\0"]


def test_who_may_get_but_not_store_is_the_receiver_of_instances_only() -> None:
    policy = made(peers=[{"ae_title": "V", "allow": ["get"]}]).entities[0].peers["V"].policy
    assert policy is not None
    assert CT not in policy.refused
    assert policy.roles[CT] == RolePolicy(scu=False, scp=True)
