"""Clean traffic: nothing of it may be called a failure."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import trustme
from pydicom.data import get_testdata_file
from pynetdicom import AE, build_role, evt
from pynetdicom.pdu_primitives import AsynchronousOperationsWindowNegotiation
from pynetdicom.sop_class import (
    CTImageStorage,
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelGet,
)

from tests.interop.scenes.dimse import STUDY_FIND, moved, queried
from tests.interop.scenes.stage import (
    CT,
    LOOPBACK,
    PLAIN,
    association,
    clean,
    echoscu,
    identifier,
    image,
    raw_client,
    run,
    scp,
    storescp,
)
from tests.interop.scenes.tls import tls_client, tls_server
from tests.interop.scenes.upper_layer import associate_rq, c_echo_rq


@clean
def echoscu_to_storescp(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    echoscu(port)
    return port


@clean
def storescu_to_storescp(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    run("storescu", LOOPBACK, str(port), CT)
    return port


@clean
def one_hundred_and_twenty_eight_contexts(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    run("echoscu", "-ppc", "128", LOOPBACK, str(port))
    return port


@clean
def a_move_of_pynetdicom(stack: ExitStack, folder: Path) -> int:
    return moved(lambda stack: scp(stack, CTImageStorage, handlers=[(evt.EVT_C_STORE, lambda event: 0)]))(
        stack, folder
    )


@clean
def a_get_with_roles(stack: ExitStack, folder: Path) -> int:
    def handle(event: Any) -> Iterator[Any]:
        yield 1
        yield 0xFF00, image()

    model = StudyRootQueryRetrieveInformationModelGet
    server = AE("PNSCP")
    server.add_supported_context(model, PLAIN)
    server.add_supported_context(CTImageStorage, PLAIN, scu_role=True, scp_role=True)
    started = server.start_server((LOOPBACK, 0), block=False, evt_handlers=[(evt.EVT_C_GET, handle)])
    stack.callback(started.shutdown)
    port = int(started.server_address[1])
    ae = AE("PNSCU")
    ae.add_requested_context(model, PLAIN)
    ae.add_requested_context(CTImageStorage, PLAIN)
    role = build_role(CTImageStorage, scp_role=True)
    found = ae.associate(
        LOOPBACK, port, ext_neg=[role], evt_handlers=[(evt.EVT_C_STORE, lambda event: 0x0000)]
    )
    list(found.send_c_get(identifier(), model))
    found.release()
    return port


@clean
def a_find_with_matches(stack: ExitStack, folder: Path) -> int:
    return queried(0x0000, identifier(), STUDY_FIND, 3)(stack, folder)


@clean
def association_in_tls(stack: ExitStack, folder: Path) -> int:
    authority = trustme.CA()
    port = tls_server(stack, authority.issue_cert("localhost"))
    tls_client(port, authority)
    return port


@clean
def dcmtk_in_tls(stack: ExitStack, folder: Path) -> int:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    trusted, own, key = (folder / name for name in ("authority.pem", "certificate.pem", "key.pem"))
    authority.cert_pem.write_to_path(str(trusted))
    certificate.cert_chain_pems[0].write_to_path(str(own))
    certificate.private_key_pem.write_to_path(str(key))
    port = storescp(stack, folder, "+tls", str(key), str(own), "-ic")
    run("storescu", "+tla", "+cf", str(trusted), LOOPBACK, str(port), CT)
    return port


@clean
def unknown_sub_items_and_several_values_in_a_pdu(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    command = c_echo_rq(1)[12:]
    parts = ((command[:20], 1), (command[20:], 3))
    values = b"".join(struct.pack(">IBB", len(part) + 2, 1, control) + part for part, control in parts)
    later = struct.pack(">BBH", 0x5F, 0, 6) + b"future"
    release = b"\x05\0\0\0\0\x04\0\0\0\0"
    raw_client(port, associate_rq(more=later), struct.pack(">BBI", 4, 0, len(values)) + values, release)
    return port


@clean
def asynchronous_operations(stack: ExitStack, folder: Path) -> int:
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = window.maximum_number_operations_performed = 8
    port = scp(stack, CTImageStorage, handlers=[(evt.EVT_C_STORE, lambda event: 0)])
    with association(port, CTImageStorage, ext_neg=[window]) as found:
        for _ in range(3):
            found.send_c_store(image())
    return port


@clean
def a_commitment_that_is_reported_later(stack: ExitStack, folder: Path) -> int:
    model, asked = StorageCommitmentPushModel, identifier(None, TransactionUID="1.2.78")
    port = scp(stack, model, handlers=[(evt.EVT_N_ACTION, lambda event: (0x0000, None))])
    with association(port, model) as found:
        found.send_n_action(asked, 1, model, "1.2.840.10008.1.20.1.1")
    modality = scp(stack, model, handlers=[(evt.EVT_N_EVENT_REPORT, lambda event: (0x0000, None))])
    role, archive = build_role(model, scp_role=True), (LOOPBACK, 0)
    with association(modality, model, called="PNSCU", ext_neg=[role], bind_address=archive) as found:
        found.send_n_event_report(asked, 1, model, "1.2.840.10008.1.20.1.1")
    return port


@clean
def health_checks_of_a_load_balancer(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    for _ in range(3):
        with socket.create_connection((LOOPBACK, port)):
            pass
    echoscu(port)
    return port


@clean
def dcmsend_of_several_syntaxes(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder, "+xa")
    run("dcmsend", LOOPBACK, str(port), CT, str(get_testdata_file("JPEG2000.dcm")))
    return port
