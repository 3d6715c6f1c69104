"""Associations that are rejected, not answered or aborted, and contexts that are not accepted (PS3.8 7.1)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from pydicom.data import get_testdata_file
from pydicom.uid import JPEG2000Lossless
from pynetdicom import evt
from pynetdicom.sop_class import (
    CTImageStorage,
    MRImageStorage,
    StudyRootQueryRetrieveInformationModelGet,
)

from dicomwire.upper_layer.codec import encode
from dicomwire.upper_layer.pdu import AssociateRj
from tests.interop.scenes.stage import (
    ILE,
    LOOPBACK,
    SCENES,
    Scene,
    association,
    echoscu,
    identifier,
    image,
    raw_client,
    raw_server,
    run,
    scene,
    scp,
    storescp,
)
from tests.interop.scenes.upper_layer import associate_ac, associate_rq


@scene("reject-called-ae-title")
def _(stack: ExitStack, folder: Path) -> int:
    port = scp(stack, require_called_aet=True)
    echoscu(port, "-aec", "OTHER")
    return port


@scene("reject-calling-ae-title")
def _(stack: ExitStack, folder: Path) -> int:
    port = scp(stack, require_calling_aet=["FRIEND"])
    echoscu(port)
    return port


@scene("reject-application-context")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    raw_client(port, associate_rq(name="1.2.840.10008.3.1.1.9"))
    return port


@scene("reject-protocol-version")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    raw_client(port, associate_rq(protocol_version=2))
    return port


@scene("reject-no-reason")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder, "--refuse")
    echoscu(port)
    return port


@scene("reject-congestion")
def _(stack: ExitStack, folder: Path) -> int:
    def answer(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(encode(AssociateRj(2, 3, 1)))
        connection.recv(65_536)

    port = raw_server(stack, answer)
    echoscu(port)
    return port


@scene("reject-user-identity")
def _(stack: ExitStack, folder: Path) -> int:
    from pynetdicom.pdu_primitives import UserIdentityNegotiation

    port = scp(stack, handlers=[(evt.EVT_USER_ID, lambda event: (False, None))])
    login = UserIdentityNegotiation()
    login.user_identity_type = 2
    login.primary_field, login.secondary_field = b"joe", b"secret"
    with association(port, ext_neg=[login]):
        pass
    return port


@scene("reject-local-limit")
def _(stack: ExitStack, folder: Path) -> int:
    port = scp(stack, maximum_associations=1)
    with association(port):
        echoscu(port)
    return port


@scene("association-no-answer")
def _(stack: ExitStack, folder: Path) -> int:
    quiet = threading.Event()
    stack.callback(quiet.set)
    port = raw_server(stack, lambda connection: quiet.wait(6) and None)
    echoscu(port)
    return port


@scene("acceptor-busy")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    with association(port, called="STORESCP") as found:
        found.send_c_echo()
        echoscu(port)
    return port


@scene("abort-by-requestor")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    echoscu(port, "--abort")
    return port


@scene("abort-before-response")
def _(stack: ExitStack, folder: Path) -> int:
    def handle(event: Any) -> int:
        event.assoc.abort()
        return 0

    port = scp(stack, CTImageStorage, handlers=[(evt.EVT_C_STORE, handle)])
    with association(port, CTImageStorage) as found, suppress(Exception):
        found.send_c_store(image())
    return port


@scene("abort-by-acceptor")
def _(stack: ExitStack, folder: Path) -> int:
    def answer(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(associate_ac() + b"\x07\0\0\0\0\x04\0\0\0\0")
        connection.recv(65_536)

    port = raw_server(stack, answer)
    echoscu(port)
    return port


@scene("context-abstract-syntax")
def _(stack: ExitStack, folder: Path) -> int:
    port = scp(stack)
    with association(port, MRImageStorage):
        pass
    return port


@scene("context-transfer-syntax")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder, "+xi")
    with association(port, CTImageStorage, syntax=JPEG2000Lossless):
        pass
    return port


@scene("context-transfer-syntax", "a compressed file that only uncompressed contexts were accepted for")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder, "+xi")
    run("storescu", "-xv", LOOPBACK, str(port), str(get_testdata_file("JPEG2000.dcm")))
    return port


@scene("abort-by-requestor", "a compressed file that no context was proposed for")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    run("storescu", LOOPBACK, str(port), str(get_testdata_file("JPEG2000.dcm")))
    return port


def _answering(result: int, transfer_syntax: str = ILE) -> Callable[[ExitStack, Path], int]:
    """echoscu's only context gets this answer."""

    def play(stack: ExitStack, folder: Path) -> int:
        def answer(connection: socket.socket) -> None:
            connection.recv(65_536)
            connection.sendall(associate_ac(result, transfer_syntax))
            connection.recv(65_536)

        port = raw_server(stack, answer)
        echoscu(port)
        return port

    return play


SCENES["context-refused"] = Scene("context-refused", _answering(1))
SCENES["no-accepted-context"] = Scene("no-accepted-context", _answering(2), False)
SCENES["context-foreign-transfer-syntax"] = Scene(
    "context-foreign-transfer-syntax", _answering(0, str(JPEG2000Lossless))
)


@scene("role-not-negotiated")
def _(stack: ExitStack, folder: Path) -> int:
    def handle(event: Any) -> Iterator[Any]:
        yield 1
        yield 0xFF00, image()

    port = scp(
        stack,
        StudyRootQueryRetrieveInformationModelGet,
        CTImageStorage,
        handlers=[(evt.EVT_C_GET, handle)],
    )
    with association(port, StudyRootQueryRetrieveInformationModelGet, CTImageStorage) as found:
        list(found.send_c_get(identifier(), StudyRootQueryRetrieveInformationModelGet))
    return port
