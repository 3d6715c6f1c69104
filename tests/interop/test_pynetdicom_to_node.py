"""pynetdicom as SCU against this node: negotiation as it does it, storage, identities, roles and windows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pydicom import dcmread
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, StoragePresentationContexts, build_role
from pynetdicom.association import Association
from pynetdicom.dsutils import encode
from pynetdicom.events import EVT_PDU_RECV
from pynetdicom.pdu import A_ASSOCIATE_RJ
from pynetdicom.pdu_primitives import (
    AsynchronousOperationsWindowNegotiation,
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassCommonExtendedNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)
from pynetdicom.sop_class import CTImageStorage, Verification  # type: ignore[attr-defined]

from tests.interop.support import BundledFile, Node, bundled_files, data_set_of, read

Negotiation = (
    AsynchronousOperationsWindowNegotiation
    | SCP_SCU_RoleSelectionNegotiation
    | SOPClassCommonExtendedNegotiation
    | SOPClassExtendedNegotiation
    | UserIdentityNegotiation
)


def test_echo(node: Node) -> None:
    with _association(node, [(Verification, [ImplicitVRLittleEndian])]) as association:
        assert association.send_c_echo().Status == 0x0000


@pytest.mark.filterwarnings("ignore:Expected explicit VR:UserWarning")  # pydicom, of a file that says so
def test_files_are_stored_as_pynetdicom_writes_them(node: Node) -> None:
    files = {each.sop_instance_uid: each for each in bundled_files() if each.leaves_the_web_door_as_stored}
    contexts = sorted({(each.sop_class_uid, each.transfer_syntax_uid) for each in files.values()})
    unwritten: set[str] = set()
    left = list(files.values())
    for _ in range(3):
        with _association(node, [(uid, [syntax]) for uid, syntax in contexts]) as association:
            assert len(association.accepted_contexts) == len(contexts)
            while left:
                try:
                    status = association.send_c_store(left[0].path)
                except (
                    ValueError
                ):  # pynetdicom re-encodes what it sends, and cannot write some of the samples
                    unwritten.add(left[0].sop_instance_uid)
                else:
                    if "Status" not in status:  # pynetdicom 3.0.4's reactor sometimes takes the answer itself
                        break
                    assert status.Status == 0x0000, (left[0].path.name, status)
                left.pop(0)
    assert left == []
    assert len(unwritten) < 5
    assert set(node.instances()) == set(files) - unwritten
    different = [
        each.path.name
        for each in files.values()
        if each.sop_instance_uid not in unwritten and data_set_of(node.retrieve(each)) != _as_sent(each)
    ]
    assert different == []


def _as_sent(file: BundledFile) -> bytes:
    """The data set's bytes as pynetdicom sends it."""
    syntax = UID(file.transfer_syntax_uid)
    data = dcmread(file.path)
    # pynetdicom looks at these two first; what pydicom has looked at it may write with another VR.
    assert (data.SOPClassUID, data.SOPInstanceUID) == (file.sop_class_uid, file.sop_instance_uid)
    sent = encode(data, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
    assert sent is not None
    return sent


def test_128_contexts_are_answered_one_by_one(node: Node) -> None:
    contexts = [
        (context.abstract_syntax, [ExplicitVRLittleEndian]) for context in StoragePresentationContexts
    ]
    contexts = (contexts * 2)[:128]
    with _association(node, [(UID(str(uid)), syntaxes) for uid, syntaxes in contexts]) as association:
        assert len(association.accepted_contexts) == 128


def test_one_unknown_class_among_known_ones_is_refused_alone(node: Node) -> None:
    contexts = [(Verification, [ImplicitVRLittleEndian]), (UID("1.2.3.4.5"), [ImplicitVRLittleEndian])]
    with _association(node, contexts) as association:
        assert [each.result for each in association.rejected_contexts] == [3]
        assert association.send_c_echo().Status == 0x0000


def test_no_accepted_context_is_rejected_with_no_reason_given(node: Node) -> None:
    ae = AE()
    ae.add_requested_context("1.2.3.4.5")
    # What came over the wire: a requestor that is scheduled late finds its socket closed behind the rejection
    # already, and says `is_aborted`.
    came: list[A_ASSOCIATE_RJ] = []
    ae.associate(
        "127.0.0.1",
        node.dimse_port,
        evt_handlers=[(EVT_PDU_RECV, lambda event: came.append(event.pdu))],
    )
    (answer,) = came
    assert (answer.result, answer.source, answer.reason_diagnostic) == (1, 1, 1)


def test_an_asynchronous_window_is_answered_within_what_was_proposed(node: Node) -> None:
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = 4
    window.maximum_number_operations_performed = 3
    with _association(node, [(Verification, [ImplicitVRLittleEndian])], [window]) as association:
        invoked, performed = association.acceptor.asynchronous_operations
        assert 1 <= invoked <= 4
        assert 1 <= performed <= 3
        assert association.send_c_echo().Status == 0x0000


def test_roles_are_answered_not_wider_than_proposed(node: Node) -> None:
    role = build_role(CTImageStorage, scu_role=True, scp_role=True)
    with _association(node, [(CTImageStorage, [ExplicitVRLittleEndian])], [role]) as association:
        (context,) = association.accepted_contexts
        assert context.as_scu
        file = _ct()
        assert association.send_c_store(file.path).Status == 0x0000


def test_extended_negotiation_items_do_no_harm(node: Node) -> None:
    extended = SOPClassExtendedNegotiation()
    extended.sop_class_uid = CTImageStorage
    extended.service_class_application_information = b"\x02\x00\x00\x00\x01\x00"
    common = SOPClassCommonExtendedNegotiation()
    common.sop_class_uid = CTImageStorage
    common.service_class_uid = UID("1.2.840.10008.4.2")
    items: list[Negotiation] = [extended, common]
    with _association(node, [(CTImageStorage, [ExplicitVRLittleEndian])], items) as association:
        assert association.send_c_store(_ct().path).Status == 0x0000


@pytest.mark.parametrize("kind", [1, 2, 5])
def test_an_identity_that_nobody_asked_for_is_taken(node: Node, kind: int) -> None:
    identity = UserIdentityNegotiation()
    identity.user_identity_type = kind
    identity.primary_field = b"e30.e30.c2ln" if kind == 5 else b"alice"
    if kind == 2:
        identity.secondary_field = b"secret"
    identity.positive_response_requested = True
    with _association(node, [(Verification, [ImplicitVRLittleEndian])], [identity]) as association:
        assert association.send_c_echo().Status == 0x0000


@pytest.mark.parametrize("maximum_length", [0, 4096, 16382, 1 << 20])
def test_any_maximum_length_of_the_peer_is_served(node: Node, maximum_length: int) -> None:
    ae = AE()
    ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    association = ae.associate("127.0.0.1", node.dimse_port, max_pdu=maximum_length)
    assert association.is_established
    assert association.send_c_store(_ct().path).Status == 0x0000
    association.release()


def test_a_data_set_that_pydicom_encodes_anew_is_stored(node: Node) -> None:
    file = _ct()
    data = read(file.path)
    data.PatientName = "Changed^Name"
    data.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    with _association(node, [(CTImageStorage, [ExplicitVRLittleEndian])]) as association:
        assert association.send_c_store(data).Status == 0x0000
    (row,) = node.instances().values()
    assert row["00080018"]["Value"] == ["1.2.826.0.1.3680043.8.498.1"]


def test_an_abort_leaves_what_was_acknowledged_and_the_node_up(node: Node) -> None:
    with _association(node, [(CTImageStorage, [ExplicitVRLittleEndian])]) as association:
        assert association.send_c_store(_ct().path).Status == 0x0000
        association.abort()
    assert set(node.instances()) == {_ct().sop_instance_uid}
    with _association(node, [(Verification, [ImplicitVRLittleEndian])]) as association:
        assert association.send_c_echo().Status == 0x0000


@contextmanager
def _association(
    node: Node,
    contexts: list[tuple[UID | str, list[UID | str]]] | list[tuple[UID, list[UID]]],
    items: list[Negotiation] | None = None,
) -> Iterator[Association]:
    ae = AE()
    for abstract_syntax, transfer_syntaxes in contexts:
        ae.add_requested_context(abstract_syntax, list(transfer_syntaxes))
    association = ae.associate("127.0.0.1", node.dimse_port, ext_neg=list(items or []))
    assert association.is_established, node.log
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def _ct() -> BundledFile:
    return next(each for each in bundled_files() if each.path.name == "CT_small.dcm")
