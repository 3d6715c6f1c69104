"""Every PDU, item, command and data set element of a capture, with offsets (PS3.8 9.3; PS3.7 E; PS3.5 7).

No judgement and no story: what the bytes say, as records that print as JSON or text. Offsets count from byte
0 of what one side sent on its connection, those of deflated data sets from the first inflated byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from dicomwire.diagnose.connection import Connection
from dicomwire.diagnose.elements import Record, data_set_records, element_records
from dicomwire.diagnose.finding import Side, timestamp
from dicomwire.diagnose.internet import Datagram
from dicomwire.diagnose.items import associate_fields, item_records
from dicomwire.diagnose.packets import CaptureInfo, Packet, packets
from dicomwire.diagnose.stream import NOTHING_MORE, is_dicom, next_pdu
from dicomwire.diagnose.tcp import Reassembly
from dicomwire.diagnose.timeline import DICOM_PORTS
from dicomwire.errors import CaptureError, DecodeError
from dicomwire.uids import IMPLICIT_VR_LITTLE_ENDIAN, name_of
from dicomwire.upper_layer import codec
from dicomwire.upper_layer.codec import HEADER, VALUE
from dicomwire.upper_layer.pdu import (
    HEADER_LENGTH,
    PDU_NAMES,
    Abort,
    AssociateAc,
    AssociateRj,
    AssociateRq,
    PduType,
)
from dicomwire.upper_layer.reasons import abort_words, reject_words

LONGEST_PDU: Final = 1 << 26  # bytes; a longer one is named and not decoded
LONGEST_DATA_SET: Final = 1 << 26  # bytes of a data set that are decoded
BATCH: Final = 256  # packets between two looks at what was found


def decode(chunks: Iterable[bytes], *, unmask: bool = False) -> Iterator[Record]:
    """The PDUs of a capture, in the order in which they were complete.

    Args:
        chunks: the file in pieces of any length.
        unmask: show patients' values and credentials.

    Raises: CaptureError, when the file cannot be read to its end, after what came before the fault.
    """
    listener = _Listener(unmask)
    reassembly = Reassembly(listener, DICOM_PORTS.__contains__)
    source = packets(chunks, CaptureInfo())
    fault: CaptureError | None = None
    batch: list[Packet] = []
    while fault is None:
        batch.clear()
        try:
            batch.extend(islice(source, BATCH))
        except CaptureError as error:
            fault = error
        if not batch:
            break
        reassembly.run(batch)
        yield from listener.take()
    reassembly.finish()
    yield from listener.take()
    if fault is not None:
        raise fault


@dataclass(slots=True)
class _Message:
    """A command set or data set in the making, and where its fragments stood in the stream."""

    data: bytearray = field(default_factory=bytearray)
    places: list[tuple[int, int]] = field(default_factory=list)  # offset in it, offset in the stream

    def add(self, data: memoryview, offset: int) -> None:
        if len(self.data) < LONGEST_DATA_SET:
            self.places.append((len(self.data), offset))
            self.data += data

    def offset(self, at: int) -> int:
        """Where a byte of it stood in the stream."""
        start, place = next((one for one in reversed(self.places) if one[0] <= at), (0, 0))
        return place + at - start


@dataclass(slots=True)
class _Talk:
    """What both directions of a connection have to know of each other."""

    number: int
    connection: Connection
    request: AssociateRq | None = None
    answer: AssociateAc | None = None

    def transfer_syntax(self, context: int) -> str:
        results = self.answer.presentation_contexts if self.answer else ()
        found = (one.transfer_syntax for one in results if one.presentation_context_id == context)
        return next(found, "")


class _Listener:
    """Gives each connection its readers and collects what they find."""

    def __init__(self, unmask: bool) -> None:
        self._unmask = unmask
        self._found: list[Record] = []
        self._connections = 0

    def take(self) -> list[Record]:
        found, self._found = self._found, []
        return found

    def opened(self, connection: Connection) -> None:
        self._connections += 1
        talk = _Talk(self._connections, connection)
        for half in connection.halves:
            half.sink = _Reader(half.side, talk, self._found_one, unmask=self._unmask)

    def _found_one(self, record: Record) -> None:
        self._found.append(record)

    def finished(self, connection: Connection) -> None:
        return

    def udp(self, segment: Datagram, time: float, frame: int) -> None:
        return


class _Reader:
    """Cuts one direction into PDUs and makes a record of each."""

    def __init__(self, side: Side, talk: _Talk, found: Callable[[Record], None], *, unmask: bool) -> None:
        self._side = side
        self._talk = talk
        self._found = found
        self._unmask = unmask
        self._buffer = bytearray()
        self._start = 0  # offset in the stream of the buffer's first byte
        self._known = False  # it is DICOM
        self._lost = talk.connection.late  # what comes next may be within a PDU
        self._await_command = self._lost  # what comes next may be the rest of a message
        self._messages: dict[bool, _Message] = {}  # by whether it is a command

    def receive(self, view: memoryview, offset: int, time: float, frame: int) -> int:
        if self._lost:
            begin = next_pdu(view)
            self._start = offset + begin
            if begin == len(view):
                return 0
            view, self._lost, self._known = view[begin:], False, True
        self._buffer += view
        while len(self._buffer) >= HEADER_LENGTH:
            kind, length = HEADER.unpack_from(self._buffer)
            if not self._known and not is_dicom(bytes(self._buffer[:HEADER_LENGTH])):
                return NOTHING_MORE
            self._known = True
            record = self._record(kind, length, time, frame)
            if kind not in PDU_NAMES or length > LONGEST_PDU:
                record["fault"] = f"PDU-type {kind:02X}H of {length} bytes is none that can be decoded"
                self._found(record)
                return NOTHING_MORE
            end = HEADER_LENGTH + length
            if len(self._buffer) < end:
                break
            self._pdu(kind, bytes(self._buffer[HEADER_LENGTH:end]), record)
            self._found(record)
            del self._buffer[:end]
            self._start += end
        return 0

    def missing(self, offset: int, count: int, time: float, frame: int) -> bool:
        record = self._record(0, 0, time, frame)
        record |= {"name": "gap", "offset": offset, "fault": f"{count} bytes were not captured"}
        self._found(record)
        self._buffer.clear()
        self._messages.clear()
        self._lost = self._await_command = True
        return False

    def _record(self, kind: int, length: int, time: float, frame: int) -> Record:
        connection = self._talk.connection
        ends = [f"{host}:{port}" for host, port in (connection.client, connection.server)]
        return {
            "connection": self._talk.number,
            "requestor": ends[0],
            "acceptor": ends[1],
            "sender": self._side.value,
            "frame": frame,
            "time": timestamp(time),
            "offset": self._start,
            "type": kind,
            "name": PDU_NAMES[PduType(kind)] if kind in PDU_NAMES else "unknown PDU",
            "length": length,
        }

    def _pdu(self, kind: int, body: bytes, record: Record) -> None:
        start = self._start + HEADER_LENGTH
        if kind == PduType.P_DATA_TF:
            record["values"] = list(self._values(body, start))
            return
        if kind in (PduType.A_ASSOCIATE_RQ, PduType.A_ASSOCIATE_AC):
            record |= associate_fields(body)
            record["items"] = list(item_records(body, start, unmask=self._unmask))
        try:
            pdu = codec.decode(kind, body)
        except DecodeError as error:
            record["fault"] = str(error)
            return
        match pdu:
            case AssociateRq():
                self._talk.request = pdu
            case AssociateAc():
                self._talk.answer = pdu
            case AssociateRj():
                record |= {"result": pdu.result, "source": pdu.source, "reason": pdu.reason}
                record["words"] = reject_words(pdu.result, pdu.source, pdu.reason)
            case Abort():
                record |= {"source": pdu.source, "reason": pdu.reason}
                record["words"] = abort_words(pdu.source, pdu.reason)

    def _values(self, body: bytes, start: int) -> Iterator[Record]:
        at = 0
        while at + VALUE.size <= len(body):
            length, context, control = VALUE.unpack_from(body, at)
            end = at + 4 + length
            record: Record = {
                "offset": start + at,
                "length": length,
                "context": context,
                "control": control,
                "command": bool(control & 1),
                "last": bool(control & 2),
            }
            if length < 2 or end > len(body):
                record["fault"] = f"it says {length} bytes, {len(body) - at - 4} remain"
                yield record
                return
            self._fragment(memoryview(body)[at + VALUE.size : end], start + at + VALUE.size, record)
            yield record
            at = end
        if at < len(body):
            yield {"offset": start + at, "fault": f"{len(body) - at} bytes remain, a value's header takes 6"}

    def _fragment(self, data: memoryview, offset: int, record: Record) -> None:
        """Adds a fragment to its message; the last one of a set is where its elements are shown."""
        command = bool(record["command"])
        if self._await_command and not command:
            return
        self._await_command = False
        message = self._messages.setdefault(command, _Message())
        message.add(data, offset)
        if not record["last"]:
            return
        del self._messages[command]
        whole = bytes(message.data)
        if command:
            record["elements"] = list(element_records(whole, message.offset))
            return
        syntax = self._talk.transfer_syntax(int(str(record["context"])))
        record["transfer_syntax"] = (
            name_of(syntax) if syntax else "unknown, Implicit VR Little Endian is assumed"
        )
        records = data_set_records(
            whole, syntax or IMPLICIT_VR_LITTLE_ENDIAN, message.offset, unmask=self._unmask
        )
        record["elements"] = list(records)
