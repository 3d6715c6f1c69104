"""Operations that fail, and data sets that are not what their context says (PS3.7)."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import build_role, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    ModalityPerformedProcedureStep,
    ModalityWorklistInformationFind,
    MRImageStorage,
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
)

from benchmarks.receivers import DcmQRSCP, Orthanc, free_port
from tests.interop.scenes.stage import (
    DESTINATION,
    LOOPBACK,
    SCENES,
    Scene,
    association,
    echoscu,
    identifier,
    image,
    program,
    raw_server,
    run,
    scene,
    scp,
    storescp,
)
from tests.interop.scenes.upper_layer import associate_ac, c_echo_rsp, raw_store


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


def stored(status: int) -> Callable[[ExitStack, Path], int]:
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
    SCENES[_code] = Scene(_code, stored(_status))
SCENES["status-coercion"] = Scene("status-coercion", stored(0xB000), False)


def queried(status: int, sent: Dataset, model: str, matches: int = 0) -> Callable[[ExitStack, Path], int]:
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


STUDY_FIND = StudyRootQueryRetrieveInformationModelFind
SCENES["find-level-missing"] = Scene("find-level-missing", queried(0xC000, identifier(None), STUDY_FIND))
SCENES["find-identifier-mismatch"] = Scene(
    "find-identifier-mismatch", queried(0xA900, identifier("PATIENT"), STUDY_FIND)
)
SCENES["no-match"] = Scene("no-match", queried(0x0000, identifier(), STUDY_FIND), False)
SCENES["worklist-no-match"] = Scene(
    "worklist-no-match", queried(0x0000, identifier(None), ModalityWorklistInformationFind), False
)
SCENES["cancelled"] = Scene("cancelled", queried(0xFE00, identifier(), STUDY_FIND, 1), False)


def moved(destination: Callable[[ExitStack], int | None]) -> Callable[[ExitStack, Path], int]:
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


SCENES["move-destination-unknown"] = Scene("move-destination-unknown", moved(lambda stack: None))
SCENES["move-destination-unreachable"] = Scene(
    "move-destination-unreachable", moved(lambda stack: free_port())
)
SCENES["move-destination-rejects"] = Scene(
    "move-destination-rejects",
    moved(lambda stack: scp(stack, CTImageStorage, require_calling_aet=["FRIEND"])),
)
SCENES["move-destination-context"] = Scene(
    "move-destination-context", moved(lambda stack: scp(stack, MRImageStorage))
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


@scene("response-unmatched")
def _(stack: ExitStack, folder: Path) -> int:
    def answer(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(associate_ac())
        connection.recv(65_536)
        connection.sendall(c_echo_rsp(message_id=77))
        connection.recv(65_536)

    port = raw_server(stack, answer)
    echoscu(port)
    return port


@scene("sop-class-not-of-context")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    raw_store(port, struct.pack("<HHI", 8, 0x16, 26) + CTImageStorage.encode() + b"\0", MRImageStorage)
    return port


def findscu(port: int, called: str, calling: str) -> None:
    keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID=4711")
    run("findscu", "-S", "-aec", called, "-aet", calling, *keys, LOOPBACK, str(port))


@scene("query-not-allowed", "query-not-allowed, Orthanc")
def _(stack: ExitStack, folder: Path) -> int:
    orthanc = Orthanc(folder / "orthanc", destinations={"FRIEND": 104})
    orthanc.start()
    stack.callback(orthanc.stop)
    findscu(orthanc.dimse_port, orthanc.ae_title, "STRANGER")
    return orthanc.dimse_port


@scene("move-destination-unknown", "move-destination-unknown, Orthanc")
def _(stack: ExitStack, folder: Path) -> int:
    orthanc = Orthanc(folder / "orthanc that moves", destinations={"MOVESCU": 104})
    orthanc.start()
    stack.callback(orthanc.stop)
    keys = ("-k", "QueryRetrieveLevel=PATIENT", "-k", "PatientID=4711")
    run("movescu", "-P", "-aec", orthanc.ae_title, "-aem", "NOBODY", *keys, LOOPBACK, str(orthanc.dimse_port))
    return orthanc.dimse_port


@scene("find-identifier-mismatch", "a level that the model does not have", verdict=False)
def _(stack: ExitStack, folder: Path) -> int:
    return queried(0x0000, identifier("PATIENT"), STUDY_FIND)(stack, folder)


@scene("find-identifier-mismatch", "a series without its study", verdict=False)
def _(stack: ExitStack, folder: Path) -> int:
    return queried(0x0000, identifier("SERIES"), STUDY_FIND)(stack, folder)


@scene("reject-called-ae-title", "a device that dcmqrscp does not know")
def _(stack: ExitStack, folder: Path) -> int:
    archive = DcmQRSCP(folder / "dcmqrscp")
    archive.folder.mkdir()
    *command, configuration = archive.command()
    friend = "HostTable BEGIN\nfriend = (FRIEND, 127.0.0.9, 104)\nHostTable END"
    text = Path(configuration).read_text().replace(" ANY\n", " friend\n")
    Path(configuration).write_text(text.replace("HostTable BEGIN\nHostTable END", friend))
    port = stack.enter_context(program(*command, configuration, port=archive.dimse_port))
    findscu(port, archive.ae_title, "STRANGER")
    return port


@scene("query-not-allowed", "query-not-allowed, pynetdicom")
def _(stack: ExitStack, folder: Path) -> int:
    return queried(0x0124, identifier(), STUDY_FIND)(stack, folder)


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
