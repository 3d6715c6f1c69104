"""Clean traffic: nothing of it may be called a failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import trustme
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    StudyRootQueryRetrieveInformationModelGet,
)

from tests.interop.scenes.dimse import STUDY_FIND, moved, queried
from tests.interop.scenes.stage import (
    CT,
    LOOPBACK,
    PLAIN,
    clean,
    echoscu,
    identifier,
    image,
    run,
    scp,
    storescp,
)
from tests.interop.scenes.tls import tls_client, tls_server


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
