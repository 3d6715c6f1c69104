"""Faults between real peers, each on a port of its own: DCMTK, Orthanc, pynetdicom, TLS and raw sockets."""

from __future__ import annotations

import socket
import ssl
import struct
import subprocess
import threading
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, generate_uid
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    ModalityPerformedProcedureStep,
    ModalityWorklistInformationFind,
    MRImageStorage,
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from benchmarks.receivers import free_port, system_program
from dicomwire.upper_layer.codec import decode, encode
from dicomwire.upper_layer.items import ContextResult, ImplementationClassUID, MaximumLength
from dicomwire.upper_layer.negotiation import AcceptorPolicy, negotiate
from dicomwire.upper_layer.pdu import AssociateAc, AssociateRq

LOOPBACK = "127.77.0.1"  # an address of this test alone, so that nothing else is recorded
CT = str(get_testdata_file("CT_small.dcm"))
ILE = "1.2.840.10008.1.2"
ELE = "1.2.840.10008.1.2.1"
PLAIN = [ELE, ILE]
DESTINATION = {"contexts": [build_context(CTImageStorage, PLAIN)], "bind_address": (LOOPBACK, 0)}


@dataclass
class Scene:
    """One fault.

    Attributes:
        code: which cause must be found.
        play: makes it happen; returns the port whose stories are to be looked at.
        verdict: the cause is the verdict, else one of the findings.
    """

    code: str
    play: Callable[[ExitStack, Path], int]
    verdict: bool = True


ALONE = ("move-destination-unknown", "move-destination-unreachable")
"""Scenes that play one after the other: a connection that is refused names nobody it belongs to."""

SCENES: dict[str, Scene] = {}


def scene(code: str, name: str = "", *, verdict: bool = True) -> Callable[..., Callable[..., int]]:
    def keep(play: Callable[[ExitStack, Path], int]) -> Callable[[ExitStack, Path], int]:
        SCENES[name or code] = Scene(code, play, verdict)
        return play

    return keep


def run(*command: str, timeout: float = 20) -> int:
    """A program of DCMTK; its exit status is its own affair."""
    program, *arguments = command
    path = system_program(program) or program
    done = subprocess.run([path, *arguments], capture_output=True, timeout=timeout, check=False)
    return done.returncode


def echoscu(port: int, *flags: str) -> int:
    return run("echoscu", "-to", "2", "-ta", "2", "-td", "2", *flags, LOOPBACK, str(port))


@contextmanager
def program(*command: str, port: int) -> Iterator[int]:
    """A server of DCMTK, from when it listens until the end."""
    path = system_program(command[0]) or command[0]
    process = subprocess.Popen(
        [path, *command[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )
    try:
        await_listening(port)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def await_listening(port: int) -> None:
    """Until the kernel lists the port; a connection would be seen in the capture."""
    wanted = f":{port:04X} 00000000:0000 0A"
    give_up = time.monotonic() + 10
    while wanted not in Path("/proc/net/tcp").read_text() and time.monotonic() < give_up:
        threading.Event().wait(0.02)


def storescp(stack: ExitStack, folder: Path, *flags: str) -> int:
    port = free_port()
    out = folder / f"storescp-{port}"
    out.mkdir()
    return stack.enter_context(program("storescp", "-od", str(out), *flags, str(port), port=port))


def raw_server(stack: ExitStack, answer: Callable[[socket.socket], None], times: int = 1) -> int:
    """A socket that is handled by a function, connection by connection."""
    listener = socket.create_server((LOOPBACK, 0))
    listener.settimeout(15)

    def serve() -> None:
        with suppress(OSError):
            for _ in range(times):
                connection, _ = listener.accept()
                connection.settimeout(10)
                with connection, suppress(OSError):
                    answer(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    stack.callback(listener.close)
    return int(listener.getsockname()[1])


def raw_client(port: int, *sent: bytes, wait: float = 1.0) -> bytes:
    """Bytes to a port, and what comes back."""
    received = b""
    with socket.create_connection((LOOPBACK, port), timeout=wait) as connection, suppress(OSError):
        for data in sent:
            connection.sendall(data)
            with suppress(TimeoutError):
                received += connection.recv(65_536)
    return received


def scp(
    stack: ExitStack, *classes: str, title: str = "PNSCP", handlers: list[Any] | None = None, **settings: Any
) -> int:
    """A pynetdicom SCP."""
    ae = AE(title)
    for sop_class in (Verification, *classes):
        ae.add_supported_context(sop_class, PLAIN)
    for name, value in settings.items():
        setattr(ae, name, value)
    server = ae.start_server((LOOPBACK, 0), block=False, evt_handlers=handlers or [])
    stack.callback(server.shutdown)
    return int(server.server_address[1])


@contextmanager
def association(
    port: int, *classes: str, syntax: Any = PLAIN, called: str = "PNSCP", **settings: Any
) -> Iterator[Any]:
    """A pynetdicom SCU's association."""
    ae = AE("PNSCU")
    ae.acse_timeout = ae.dimse_timeout = 5
    for sop_class in classes or (Verification,):
        ae.add_requested_context(sop_class, syntax)
    found = ae.associate(LOOPBACK, port, ae_title=called, **settings)
    try:
        yield found
    finally:
        if found.is_established:
            found.release()


def identifier(level: str | None = "STUDY", **keys: str) -> Dataset:
    data_set = Dataset()
    if level:
        data_set.QueryRetrieveLevel = level
    data_set.PatientID = "4711"
    for keyword, value in keys.items():
        setattr(data_set, keyword, value)
    return data_set


def image() -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dcmread(CT)


# -- TCP and other protocols


@scene("tcp-refused")
def _(stack: ExitStack, folder: Path) -> int:
    port = free_port()
    echoscu(port)
    return port


@scene("tcp-closed-before-answer")
def _(stack: ExitStack, folder: Path) -> int:
    port = raw_server(stack, lambda connection: connection.recv(65_536) and None)
    echoscu(port)
    return port


def _reset(connection: socket.socket) -> None:
    connection.recv(65_536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@scene("tcp-reset")
def _(stack: ExitStack, folder: Path) -> int:
    port = raw_server(stack, _reset)
    echoscu(port)
    return port


@scene("tcp-stalled")
def _(stack: ExitStack, folder: Path) -> int:
    def answer(connection: socket.socket) -> None:
        head = connection.recv(6, socket.MSG_WAITALL)
        body = connection.recv(int.from_bytes(head[2:], "big"), socket.MSG_WAITALL)
        request = decode(head[0], body)
        assert isinstance(request, AssociateRq)
        connection.sendall(
            encode(negotiate(request, AcceptorPolicy(supported={CTImageStorage: (ELE, ILE)})).answer)
        )
        threading.Event().wait(4)  # it stops reading, as a receiver does whose disk hangs

    with socket.create_server((LOOPBACK, 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
        listener.settimeout(15)
        port = int(listener.getsockname()[1])

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        sent = image()
        sent.Rows = sent.Columns = 1_400
        sent.PixelData = bytes(2 * 1_400 * 1_400)
        with association(port, CTImageStorage) as found, suppress(Exception):
            found.send_c_store(sent)
        thread.join(10)
    return port


@scene("delayed-ack-stall", verdict=False)
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    run("storescu", LOOPBACK, str(port), *[CT] * 4)
    return port


@scene("http-server-on-port")
def _(stack: ExitStack, folder: Path) -> int:
    def answer(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.0 400 Bad request\r\nContent-Type: text/html\r\n\r\n<html></html>")

    port = raw_server(stack, answer)
    echoscu(port)
    return port


@scene("http-client-on-port")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    with suppress(OSError, urllib.error.URLError):
        urllib.request.urlopen(f"http://{LOOPBACK}:{port}/", timeout=2)
    return port


@scene("hl7-on-port")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    raw_client(port, b"\x0bMSH|^~\\&|HIS|KIS|RIS|KIS|202601010000||ADT^A01|1|P|2.3\r\x1c\r")
    return port


@scene("ssh-on-port")
def _(stack: ExitStack, folder: Path) -> int:
    def answer(connection: socket.socket) -> None:
        connection.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
        connection.recv(65_536)

    port = raw_server(stack, answer)
    echoscu(port)
    return port


@scene("not-dicom")
def _(stack: ExitStack, folder: Path) -> int:
    def answer(connection: socket.socket) -> None:
        connection.sendall(b"220 mail.example ESMTP ready\r\n")
        connection.recv(65_536)

    port = raw_server(stack, answer)
    echoscu(port)
    return port


@scene("proxy-header")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    raw_client(port, b"PROXY TCP4 10.1.1.1 10.1.1.2 40000 104\r\n" + associate_rq())
    return port


# -- TLS


def tls_server(stack: ExitStack, certificate: trustme.LeafCert, *, times: int = 1, **settings: Any) -> int:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    for name, value in settings.items():
        setattr(context, name, value)

    def answer(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            while data := secure.recv(65_536):
                secure.sendall(data)

    return raw_server(stack, answer, times)


def tls_client(port: int, authority: trustme.CA | None, *, name: str = "localhost", **settings: Any) -> None:
    context = ssl.create_default_context()
    if authority is not None:
        authority.configure_trust(context)
    for key, value in settings.items():
        setattr(context, key, value)
    with (
        suppress(OSError),
        socket.create_connection((LOOPBACK, port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=name) as secure,
    ):
        secure.sendall(associate_rq())
        secure.recv(10)
        secure.sendall(bytes(2_000))
        left = len(associate_rq()) - 10 + 2_000
        while left > 0:
            left -= len(secure.recv(65_536))
        with suppress(OSError):
            secure.unwrap()


TLS12 = ssl.TLSVersion.TLSv1_2


@scene("tls-untrusted-certificate")
@scene("tls-untrusted-certificate", "untrusted, TLS 1.2")
def _(stack: ExitStack, folder: Path) -> int:
    port = tls_server(stack, trustme.CA().issue_cert("localhost"), maximum_version=TLS12)
    tls_client(port, None)
    return port


@scene("tls-untrusted-certificate", "untrusted, TLS 1.3")
def _(stack: ExitStack, folder: Path) -> int:
    port = tls_server(stack, trustme.CA().issue_cert("localhost"))
    tls_client(port, None)
    return port


@scene("tls-expired-certificate")
def _(stack: ExitStack, folder: Path) -> int:
    authority = trustme.CA()
    old = datetime.now(UTC) - timedelta(days=400)
    port = tls_server(
        stack, authority.issue_cert("localhost", not_before=old, not_after=old + timedelta(days=9))
    )
    tls_client(port, authority)
    return port


@scene("tls-name-mismatch")
def _(stack: ExitStack, folder: Path) -> int:
    authority = trustme.CA()
    port = tls_server(stack, authority.issue_cert("pacs.example"))
    tls_client(port, authority)
    return port


@scene("tls-no-common-version")
def _(stack: ExitStack, folder: Path) -> int:
    authority = trustme.CA()
    port = tls_server(stack, authority.issue_cert("localhost"), minimum_version=ssl.TLSVersion.TLSv1_3)
    tls_client(port, authority, maximum_version=TLS12)
    return port


@scene("tls-client-certificate-required")
def _(stack: ExitStack, folder: Path) -> int:
    authority = trustme.CA()
    port = tls_server(stack, authority.issue_cert("localhost"), verify_mode=ssl.CERT_REQUIRED)
    tls_client(port, authority)
    return port


@scene("tls-client-certificate-required", "client certificate, TLS 1.2")
def _(stack: ExitStack, folder: Path) -> int:
    authority = trustme.CA()
    port = tls_server(
        stack, authority.issue_cert("localhost"), verify_mode=ssl.CERT_REQUIRED, maximum_version=TLS12
    )
    tls_client(port, authority)
    return port


@scene("tls-opaque", verdict=False)
def _(stack: ExitStack, folder: Path) -> int:
    authority = trustme.CA()
    port = tls_server(stack, authority.issue_cert("localhost"))
    tls_client(port, authority)
    return port


@scene("tls-client-on-plain-port")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    tls_client(port, None)
    return port


@scene("plain-client-on-tls-port")
def _(stack: ExitStack, folder: Path) -> int:
    authority = trustme.CA()
    port = tls_server(stack, authority.issue_cert("localhost"), times=2)
    tls_client(port, authority)
    echoscu(port)
    return port


# -- upper layer


def associate_rq(
    *, id: int = 1, abstract_syntax: str = Verification, name: str = "1.2.840.10008.3.1.1.1"
) -> bytes:
    """An A-ASSOCIATE-RQ as a careless device would write it."""

    def item(kind: int, value: bytes) -> bytes:
        return struct.pack(">BBH", kind, 0, len(value)) + value

    context = bytes((id, 0, 0, 0)) + item(0x30, str(abstract_syntax).encode()) + item(0x40, ILE.encode())
    user = item(0x51, struct.pack(">I", 16_384)) + item(0x52, b"1.2.3.4")
    body = struct.pack(">HH16s16s32x", 1, 0, b"ANY-SCP".ljust(16), b"RAW".ljust(16))
    body += item(0x10, name.encode()) + item(0x20, context) + item(0x50, user)
    return struct.pack(">BBI", 1, 0, len(body)) + body


def associate_ac() -> bytes:
    """The answer to echoscu's request."""
    items = (MaximumLength(16_384), ImplementationClassUID("1.2.3"))
    return encode(AssociateAc("ANY-SCP", "ECHOSCU", (ContextResult(1, 0, ILE),), items))


@scene("pdu-unknown-type")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    raw_client(port, associate_rq(), b"\x0c\0\0\0\0\x04abcd")
    return port


@scene("pdu-unexpected")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    raw_client(port, b"\x05\0\0\0\0\x04\0\0\0\0")
    return port


@scene("pdu-malformed")
def _(stack: ExitStack, folder: Path) -> int:
    port = scp(stack)
    raw_client(port, associate_rq(), b"\x04\0\0\0\0\x10\0\0\x40\0\x01\x03" + bytes(10))
    return port


@scene("pdu-truncated")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    with socket.create_connection((LOOPBACK, port), timeout=2) as connection:
        connection.sendall(associate_rq())
        connection.recv(65_536)
        connection.sendall(b"\x04\0\0\0\x10\0\0\0\x0f\xfc\x01\x01" + bytes(100))
    return port


@scene("context-id-unknown")
def _(stack: ExitStack, folder: Path) -> int:
    port = scp(stack)
    echo = bytes.fromhex(
        "00000000040000003800000000000200120000 00312e322e3834302e31303030382e312e3100"
        "000000010200000030000000100102000000010000000008020000000101"
    )
    value = struct.pack(">IBB", len(echo) + 2, 77, 3) + echo
    raw_client(port, associate_rq(), struct.pack(">BBI", 4, 0, len(value)) + value)
    return port


@scene("command-field-missing")
def _(stack: ExitStack, folder: Path) -> int:
    port = scp(stack)
    command = struct.pack("<HHIHHHIH", 0, 0, 4, 10, 0, 0, 0x0800, 0)[:8] + struct.pack("<I", 10)
    command += struct.pack("<HHIH", 0, 0x0800, 2, 0x0101)
    value = struct.pack(">IBB", len(command) + 2, 1, 3) + command
    raw_client(port, associate_rq(), struct.pack(">BBI", 4, 0, len(value)) + value)
    return port


@scene("context-id-invalid", verdict=False)
def _(stack: ExitStack, folder: Path) -> int:
    port = scp(stack)
    raw_client(port, associate_rq(id=2))
    return port


@scene("artim-expired")
def _(stack: ExitStack, folder: Path) -> int:
    port = scp(stack, acse_timeout=3, network_timeout=3)
    raw_client(port, b"", wait=8)
    return port


@scene("idle-timeout")
def _(stack: ExitStack, folder: Path) -> int:
    port = scp(stack, network_timeout=5.5)
    with association(port) as found:
        found.send_c_echo()
        while found.is_established:
            threading.Event().wait(0.1)
    return port


# -- association


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


# -- contexts


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


# -- DIMSE


@scene("dimse-no-response")
def _(stack: ExitStack, folder: Path) -> int:
    done = threading.Event()
    stack.callback(done.set)

    def handle(event: Any) -> int:
        done.wait(5)
        return 0

    port = scp(stack, handlers=[(evt.EVT_C_ECHO, handle)])
    echoscu(port)
    return port


def _stored(status: int) -> Callable[[ExitStack, Path], int]:
    def play(stack: ExitStack, folder: Path) -> int:
        port = scp(stack, CTImageStorage, handlers=[(evt.EVT_C_STORE, lambda event: status)])
        with association(port, CTImageStorage) as found:
            found.send_c_store(image())
        return port

    return play


for _code, _status in (
    ("status-out-of-resources", 0xA700),
    ("status-data-set-mismatch", 0xA900),
    ("status-cannot-understand", 0xC000),
    ("status-sop-class-not-supported", 0x0122),
    ("status-not-authorized", 0x0124),
    ("status-other", 0x0110),
):
    SCENES[_code] = Scene(_code, _stored(_status))
SCENES["status-coercion"] = Scene("status-coercion", _stored(0xB000), False)


def _found(status: int, sent: Dataset, model: str, matches: int = 0) -> Callable[[ExitStack, Path], int]:
    def play(stack: ExitStack, folder: Path) -> int:
        def handle(event: Any) -> Iterator[Any]:
            for _ in range(matches):
                yield 0xFF00, identifier()
            yield status, None

        port = scp(stack, model, handlers=[(evt.EVT_C_FIND, handle)])
        with association(port, model) as found:
            list(found.send_c_find(sent, model))
        return port

    return play


_FIND = StudyRootQueryRetrieveInformationModelFind
SCENES["find-level-missing"] = Scene("find-level-missing", _found(0xC000, identifier(None), _FIND))
SCENES["find-identifier-mismatch"] = Scene(
    "find-identifier-mismatch", _found(0xA900, identifier("PATIENT"), _FIND)
)
SCENES["no-match"] = Scene("no-match", _found(0x0000, identifier(), _FIND), False)
SCENES["worklist-no-match"] = Scene(
    "worklist-no-match", _found(0x0000, identifier(None), ModalityWorklistInformationFind), False
)
SCENES["cancelled"] = Scene("cancelled", _found(0xFE00, identifier(), _FIND, 1), False)


def _moved(destination: Callable[[ExitStack], int | None]) -> Callable[[ExitStack, Path], int]:
    """A C-MOVE of pynetdicom; the destination's port, None where it is not known."""

    def play(stack: ExitStack, folder: Path) -> int:
        target = destination(stack)

        def handle(event: Any) -> Iterator[Any]:
            if target is None:
                yield None, None
                return
            yield LOOPBACK, target, DESTINATION
            yield 1
            yield 0xFF00, image()

        model = StudyRootQueryRetrieveInformationModelMove
        # Scenes play at the same time on one host: AE titles tell whose sub-association is whose.
        title = f"PACS{free_port()}"
        port = scp(stack, model, title=title, handlers=[(evt.EVT_C_MOVE, handle)])
        with association(port, model, called=title) as found:
            list(found.send_c_move(identifier(), f"WS{port}", model))
        return port

    return play


SCENES["move-destination-unknown"] = Scene("move-destination-unknown", _moved(lambda stack: None))
SCENES["move-destination-unreachable"] = Scene(
    "move-destination-unreachable", _moved(lambda stack: free_port())
)
SCENES["move-destination-rejects"] = Scene(
    "move-destination-rejects",
    _moved(lambda stack: scp(stack, CTImageStorage, require_calling_aet=["FRIEND"])),
)
SCENES["move-destination-context"] = Scene(
    "move-destination-context", _moved(lambda stack: scp(stack, MRImageStorage))
)


@scene("move-partial")
def _(stack: ExitStack, folder: Path) -> int:
    answers = iter((0x0000, 0xA700))
    target = scp(stack, CTImageStorage, handlers=[(evt.EVT_C_STORE, lambda event: next(answers))])

    def handle(event: Any) -> Iterator[Any]:
        yield LOOPBACK, target, DESTINATION
        yield 2
        for _ in range(2):
            sent = image()
            sent.SOPInstanceUID = generate_uid()
            yield 0xFF00, sent

    model = StudyRootQueryRetrieveInformationModelMove
    port = scp(stack, model, title="PARTIAL", handlers=[(evt.EVT_C_MOVE, handle)])
    with association(port, model, called="PARTIAL") as found:
        list(found.send_c_move(identifier(), "WSPARTIAL", model))
    return port


@scene("mpps-duplicate")
def _(stack: ExitStack, folder: Path) -> int:
    model = ModalityPerformedProcedureStep
    port = scp(stack, model, handlers=[(evt.EVT_N_CREATE, lambda event: (0x0111, None))])
    with association(port, model) as found:
        found.send_n_create(identifier(None), model, "1.2.3.4")
    return port


@scene("mpps-final")
def _(stack: ExitStack, folder: Path) -> int:
    def handle(event: Any) -> Any:
        answer = Dataset()
        answer.Status = 0x0110
        answer.ErrorID = 0xA710
        return answer, None

    model = ModalityPerformedProcedureStep
    port = scp(stack, model, handlers=[(evt.EVT_N_SET, handle)])
    with association(port, model) as found:
        found.send_n_set(identifier(None, PerformedProcedureStepStatus="COMPLETED"), model, "1.2.3.4")
    return port


@scene("commitment-report-undelivered")
def _(stack: ExitStack, folder: Path) -> int:
    model = StorageCommitmentPushModel
    port = scp(stack, model, handlers=[(evt.EVT_N_ACTION, lambda event: (0x0000, None))])
    with association(port, model) as found:
        asked = identifier(None, TransactionUID="1.2.77")
        found.send_n_action(asked, 1, model, "1.2.840.10008.1.20.1.1")
    modality = scp(stack, require_calling_aet=["FRIEND"])
    role, archive = build_role(model, scp_role=True), (LOOPBACK, 0)
    with association(modality, model, called="PNSCU", ext_neg=[role], bind_address=archive):
        pass
    return port


# -- data sets


@scene("data-set-transfer-syntax")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    raw_store(
        port,
        struct.pack("<HH2sH", 8, 0x16, b"UI", 26)
        + b"1.2.840.10008.5.1.4.1.1.2\0"
        + struct.pack("<HH2sH", 8, 0x18, b"UI", 6)
        + b"1.2.3\0"
        + struct.pack("<HH2sH", 0x10, 0x10, b"PN", 4)
        + b"A^B ",
    )
    return port


@scene("data-set-malformed")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    raw_store(
        port,
        struct.pack("<HHI", 8, 0x16, 26)
        + b"1.2.840.10008.5.1.4.1.1.2\0"
        + struct.pack("<HHI", 8, 0x18, 6)
        + b"1.2.3\0"
        + struct.pack("<HHI", 0x10, 0x10, 400)
        + b"A^B ",
    )
    return port


def raw_store(port: int, data_set: bytes) -> None:
    """A C-STORE in Implicit VR Little Endian of bytes that need not be."""

    def element(number: int, value: bytes) -> bytes:
        return struct.pack("<HHI", 0, number, len(value)) + value

    command = element(0x0002, CTImageStorage.encode() + b"\0") + element(0x0100, b"\x01\0")
    command += element(0x0110, b"\x01\0") + element(0x0700, b"\0\0") + element(0x0800, b"\x01\0")
    command += element(0x1000, b"1.2.3\0")
    command = element(0, struct.pack("<I", len(command))) + command
    values = b"".join(
        struct.pack(">IBB", len(data) + 2, 1, control) + data
        for control, data in ((3, command), (2, data_set))
    )
    raw_client(
        port,
        associate_rq(abstract_syntax=CTImageStorage),
        struct.pack(">BBI", 4, 0, len(values)) + values,
        b"\x05\0\0\0\0\x04\0\0\0\0",
    )


# -- clean traffic

CLEAN: dict[str, Callable[[ExitStack, Path], int]] = {}


def clean(play: Callable[[ExitStack, Path], int]) -> Callable[[ExitStack, Path], int]:
    CLEAN[play.__name__.replace("_", " ")] = play
    return play


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
    return _moved(lambda stack: scp(stack, CTImageStorage, handlers=[(evt.EVT_C_STORE, lambda event: 0)]))(
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
    return _found(0x0000, identifier(), _FIND, 3)(stack, folder)


@clean
def association_in_tls(stack: ExitStack, folder: Path) -> int:
    authority = trustme.CA()
    port = tls_server(stack, authority.issue_cert("localhost"))
    tls_client(port, authority)
    return port
