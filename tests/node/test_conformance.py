"""The conformance statement says what the node's own tables say."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from dicomwire import uids
from dicomwire.node.conformance import Conformance, conformance, markdown
from dicomwire.node.dimse_door import acceptor_options
from dicomwire.node.settings import Settings
from dicomwire.services.models import Root
from tests.cli.conftest import Run, run

__all__ = ["run"]  # the fixture

CT = "1.2.840.10008.5.1.4.1.1.2"


def made(**values: object) -> Conformance:
    return conformance(Settings.model_validate(values))


def test_every_sop_class_that_is_negotiated_is_there_with_its_transfer_syntaxes() -> None:
    (entity,) = made().entities
    policy = acceptor_options(Settings()).entities[0].policy
    there = {each.sop_class_uid: each for each in entity.sop_classes if each.scp}
    assert there.keys() == policy.supported.keys()
    for uid, facts in there.items():
        assert entity.transfer_syntaxes[facts.transfer_syntaxes] == policy.supported[uid]


def test_what_commands_and_the_library_ask_for_is_there_as_scu() -> None:
    (entity,) = made().entities
    asked = {each.sop_class_uid for each in entity.sop_classes if each.scu}
    assert {uids.VERIFICATION, CT, Root.WORKLIST.value.find, Root.STUDY.value.move} <= asked
    assert all(uid in asked for uid in uids.storage_sop_classes())


def test_roles_and_extended_negotiation_are_told() -> None:
    (entity,) = made().entities
    facts = {each.sop_class_uid: each for each in entity.sop_classes}
    assert facts[CT].requestor_roles == ("SCU", "SCP")
    assert facts[uids.VERIFICATION].requestor_roles == ("SCU",)
    assert "fuzzy matching of person names" in facts[Root.STUDY.value.find].extended_negotiation
    assert facts[Root.STUDY.value.move].extended_negotiation == ("relational queries and retrievals",)
    assert facts[CT].extended_negotiation == ()


def test_each_ae_title_has_its_own_rules() -> None:
    facts = made(
        ae_titles=[{"ae_title": "SECOND", "allow": ["echo"]}],
        dimse={"refused_sop_classes": [CT], "timeouts": {"dimse": 5}, "called_ae_title": "own"},
        peers=[{"ae_title": "MODALITY"}],
    )
    first, second = facts.entities
    assert first.refused == {CT: "refused by the configuration"}
    assert CT not in {each.sop_class_uid for each in first.sop_classes}
    assert [each.sop_class_uid for each in second.sop_classes if each.scp] == [uids.VERIFICATION]
    assert first.peers == ("MODALITY",)
    assert facts.timeouts["dimse"] == 5
    assert facts.called_ae_title == "own"


def test_logins_are_told() -> None:
    user = {"name": "u", "password": "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$aGFzaA"}
    assert made().user_identity == ()
    assert made(identity={"users": [user]}).user_identity == ("1 Username", "2 Username and passcode")


@pytest.mark.parametrize("delete", [True, False])
def test_the_web_door_is_told_as_it_is_routed(delete: bool) -> None:
    web = made(web={"delete": delete}).web
    there = {(each.method, each.path): each for each in web}
    assert there[("GET", "/studies")].name == "Search for Studies"
    assert "application/dicom+json" in there[("GET", "/studies")].response
    assert there[("GET", "/")].name == "Retrieve Capabilities"
    assert (("DELETE", "/studies/{study}") in there) is delete
    assert all(each.name != each.method for each in web)


def test_the_document_has_whole_tables() -> None:
    document = markdown(made(peers=[{"ae_title": "A|B"}]))
    widths: set[int] = set()
    for line in document.replace("\\|", "").splitlines():
        if line.startswith("|"):
            widths.add(line.count("|"))
            assert len(widths) == 1, line
        else:
            widths.clear()
    assert "CT Image Storage | 1.2.840.10008.5.1.4.1.1.2 | Storage | yes | yes |" in document


def test_the_command_prints_it(run: Run, tmp_path: Path) -> None:
    Path("dicomwire.toml").write_text('[node]\nae_title = "MINE"\n')
    assert "## AE title MINE" in run("conformance").out
    facts = json.loads(run("conformance", "--json").out)
    assert facts["entities"][0]["ae_title"] == "MINE"
    assert facts.keys() == {field.name for field in dataclasses.fields(Conformance)}
    assert run("conformance", "--config", "absent.toml").status == 2
    assert not (tmp_path / "dicomwire-data").exists()
