"""Every kind of matching, one row a rule, at both doors: C-FIND and QIDO-RS of one node (PS3.4 C.2.2.2)."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from dicomwire.archive.archive import Archive, ArchiveOptions, Origin
from dicomwire.association.acceptor import Acceptor
from dicomwire.association.association import Association
from dicomwire.association.options import AcceptorOptions, LocalEntity
from dicomwire.association.requestor import Context, RequestorOptions, connect
from dicomwire.dicom.data_set import DataSet, decode, encode
from dicomwire.dicom.dictionary import TAGS, vr_of
from dicomwire.dimse.command import CFindRq
from dicomwire.services import find
from dicomwire.services.models import Root
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN
from dicomwire.upper_layer.items import SOPClassExtendedNegotiation
from dicomwire.upper_layer.negotiation import AcceptorPolicy
from dicomwire.web.app import build
from dicomwire.web.options import ServerOptions, WebOptions
from dicomwire.web.server import Server, bind

STUDY_ROOT = Root.STUDY.value.find
FUZZY, ALL_VALUES, COMBINED = b"\1\0\1", b"\1\0\0\0\0\0\1", b"\1\1"
Result = TypeVar("Result")

#          study   patient id  name                                   date        time       accession
STUDIES = (
    ("1.1", "P1", "Doe^Jane", "20240101", "101530", "A1"),
    ("1.2", "P2", "Müller^Jörg^^Dr.", "20240215", "1016", "A_2"),
    ("1.3", "p1", "Yamada^Tarou=山田^太郎=やまだ^たろう", "20231231", "235959.5", "A[3]"),
    ("1.4", "P%", "", "", "", ""),
    ("1.5", " P-5 ", "Ødegård^Åse", "19990704", "000000", 'A"5"'),
    ("1.6", "P?6", "O'Brien-Smith^Seán", "20240101", "235900", "a1"),
)


@dataclass(frozen=True)
class Rule:
    """Keys and the studies that match them."""

    name: str
    keys: dict[str, str]
    expected: str
    level: str = "STUDY"
    agreement: bytes = b"\1"
    parameters: dict[str, str] = field(default_factory=dict)
    doors: tuple[str, ...] = ("C-FIND", "QIDO-RS")


ALL = "1.1 1.2 1.3 1.4 1.5 1.6"
SPS = "RequestAttributesSequence.ScheduledProcedureStepID"
RP = "RequestAttributesSequence.RequestedProcedureID"
EMPTY = {"emptyvaluematching": "true"}
EVERY = {"multiplevaluematching": "true"}


def fuzzy(name: str, key: str, expected: str) -> Rule:
    parameters = {"fuzzymatching": "true"}
    return Rule(f"fuzzy: {name}", {"PatientName": key}, expected, agreement=FUZZY, parameters=parameters)


def moment(name: str, key: str, expected: str) -> Rule:
    return Rule(f"date-time: {name}", {"AcquisitionDateTime": key}, expected, level="IMAGE")


RULES = (
    Rule("single value: to the letter", {"PatientID": "P1"}, "1.1"),
    Rule("single value: case matters but in names", {"AccessionNumber": "a1"}, "1.6"),
    Rule("single value: padding does not", {"PatientID": " P1 "}, "1.1"),
    Rule("single value: padding of what is stored does not", {"PatientID": "P-5"}, "1.5"),
    Rule("single value: the SQL wild card is literal", {"PatientID": "P%"}, "1.4"),
    Rule("single value: underscore is literal", {"AccessionNumber": "A_2"}, "1.2"),
    Rule("single value: a hyphen makes no range of text", {"PatientID": "P-5"}, "1.5"),
    Rule("single value: a quote is text", {"AccessionNumber": 'A"5"'}, "1.5"),
    Rule("single value: of a date", {"StudyDate": "20240101"}, "1.1 1.6"),
    Rule("single value: of a time is the range of its precision", {"StudyTime": "1015"}, "1.1"),
    Rule("single value: of a stored time with less precision", {"StudyTime": "101600"}, "1.2"),
    Rule("single value: of a number", {"NumberOfStudyRelatedSeries": "2"}, "1.2"),
    Rule("single value: of a decimal", {"PatientWeight": "72.50"}, "1.2"),
    Rule("list of UIDs", {"StudyInstanceUID": "1.1\\1.3\\1.9"}, "1.1 1.3"),
    Rule("list of UIDs: with commas", {"StudyInstanceUID": "1.1,1.3"}, "1.1 1.3", doors=("QIDO-RS",)),
    Rule("alternatives of text", {"PatientID": "P1\\P2"}, "1.1 1.2"),
    Rule("universal: empty", {"PatientID": ""}, ALL),
    Rule("universal: an asterisk matches empty values too", {"AccessionNumber": "*"}, ALL),
    Rule("wild card: any characters", {"PatientID": "P*"}, "1.1 1.2 1.4 1.5 1.6"),
    Rule("wild card: none of them", {"PatientID": "P1*"}, "1.1"),
    Rule("wild card: one character", {"PatientID": "P?"}, "1.1 1.2 1.4"),
    Rule("wild card: at the front", {"PatientID": "?1"}, "1.1 1.3"),
    Rule("wild card: in the middle", {"AccessionNumber": "A*]"}, "1.3"),
    Rule("wild card: brackets are literal", {"AccessionNumber": "A[3]*"}, "1.3"),
    Rule("wild card: sets of characters are not meant", {"AccessionNumber": "A[0-9]*"}, ""),
    Rule("wild card: a stored question mark is text", {"PatientID": "P?6"}, "1.6"),
    Rule("range: closed", {"StudyDate": "20240101-20240215"}, "1.1 1.2 1.6"),
    Rule("range: open at its end", {"StudyDate": "20240102-"}, "1.2"),
    Rule("range: open at its beginning", {"StudyDate": "-20231231"}, "1.3 1.5"),
    Rule("range: of the old form", {"StudyDate": "1999.07.04"}, "1.5"),
    Rule("range: of times", {"StudyTime": "1016-2359"}, "1.2 1.3 1.6"),
    Rule("range: of times with fractions", {"StudyTime": "235959.6-"}, ""),
    Rule(
        "range: date and time each for itself",
        {"StudyDate": "20231231-20240101", "StudyTime": "1000-1100"},
        "1.1",
        doors=("C-FIND",),
    ),
    Rule(
        "range: date and time combined where agreed",
        {"StudyDate": "20231231-20240101", "StudyTime": "2359-1100"},
        "1.1 1.3",
        agreement=COMBINED,
    ),
    Rule("name: case does not matter", {"PatientName": "DOE^jane"}, "1.1"),
    Rule("name: trailing delimiters do not", {"PatientName": "Doe^Jane^^^"}, "1.1"),
    Rule("name: accents do not", {"PatientName": "MULLER^JORG^^DR."}, "1.2"),
    Rule("name: accents in the key do not", {"PatientName": "Dôé^Jàne"}, "1.1"),
    Rule("name: letters with a stroke", {"PatientName": "odegard^ase"}, "1.5"),
    Rule("name: as a whole", {"PatientName": "Doe"}, ""),
    Rule("name: by a prefix", {"PatientName": "d*"}, "1.1"),
    Rule("name: by a suffix", {"PatientName": "*jane"}, "1.1"),
    Rule("name: ideographic", {"PatientName": "山田^太郎"}, "1.3"),
    Rule("name: ideographic with a wild card", {"PatientName": "山*"}, "1.3"),
    Rule("name: phonetic", {"PatientName": "やまだ^たろう"}, "1.3"),
    Rule("name: all groups", {"PatientName": "Yamada^Tarou=山田^太郎"}, "1.3"),
    Rule("name: one group after its delimiter", {"PatientName": "=山田*"}, "1.3"),
    Rule("name: a group that is another", {"PatientName": "Yamada*=やまだ*"}, ""),
    Rule("name: no words in any order without fuzzy matching", {"PatientName": "jane doe"}, ""),
    fuzzy("any order", "jane doe", "1.1"),
    fuzzy("prefixes of words", "smi se", "1.6"),
    fuzzy("what sounds alike", "Mueler^Joerg", "1.2"),
    fuzzy("ideographic", "太郎", "1.3"),
    fuzzy("every word has to match", "doe peter", ""),
    Rule("empty value", {"AccessionNumber": '""'}, "1.4", parameters=EMPTY),
    Rule("empty value: of a date", {"StudyDate": '""'}, "1.4", parameters=EMPTY),
    Rule("empty value: of a name", {"PatientName": '""'}, "1.4", parameters=EMPTY),
    Rule("empty value: of what no study has", {"Occupation": '""'}, ALL, parameters=EMPTY),
    Rule("empty value: text without the parameter", {"AccessionNumber": '""'}, "", doors=("QIDO-RS",)),
    Rule("several values: one of them", {"ModalitiesInStudy": "SEG"}, "1.2"),
    Rule("several values: a wild card", {"ModalitiesInStudy": "S*"}, "1.2"),
    Rule("several values: no part of one", {"ModalitiesInStudy": "SE"}, ""),
    Rule("several values: alternatives", {"ModalitiesInStudy": "SEG\\MR"}, "1.2 1.3"),
    Rule(
        "several values: every one where agreed",
        {"ModalitiesInStudy": "CT\\SEG"},
        "1.2",
        agreement=ALL_VALUES,
        parameters=EVERY,
    ),
    Rule("several keys", {"PatientName": "d*", "StudyDate": "20240101"}, "1.1"),
    Rule("an attribute without a column", {"PatientComments": "note 3"}, "1.3"),
    Rule("a name without a column", {"NameOfPhysiciansReadingStudy": "rädler*"}, ALL),
    Rule("sequence: an item's value", {SPS: "STEP3"}, "1.3", level="SERIES"),
    Rule("sequence: a wild card", {SPS: "STEP?"}, "1.1 1.2 1.2 1.3 1.4 1.5 1.6", level="SERIES"),
    Rule("sequence: two values of one item", {SPS: "STEP3", RP: "X"}, "1.3", level="SERIES"),
    Rule("sequence: of different items", {SPS: "STEP3", RP: "R3"}, "", level="SERIES"),
    Rule("series: of a study's value", {"PatientID": "P2", "Modality": "SEG"}, "1.2", level="SERIES"),
    Rule("instance: from the stored data set", {"ImageType": "AXIAL"}, "1.2", level="IMAGE"),
    moment("a range", "20240102100000-20240103", "1.2"),
    moment("with an offset", "20240101235959-0500", "1.1"),
    moment("less precise than what is stored", "20240102", "1.1 1.2"),
    moment("an offset in the range", "20240102-0000-20240102050000+0000", "1.1"),
)


def instances() -> Iterator[DataSet]:
    for number, (uid, patient, name, date, time, accession) in enumerate(STUDIES, 1):
        for series, modality in (("1", "MR" if number == 3 else "CT"), ("2", "SEG")):
            if series == "2" and number != 2:
                continue
            item = DataSet().put("ScheduledProcedureStepID", f"STEP{number}")
            other = DataSet().put("ScheduledProcedureStepID", "OTHER")
            yield (
                DataSet()
                .put("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2")
                .put("SOPInstanceUID", f"{uid}.{series}.1")
                .put("StudyInstanceUID", uid)
                .put("SeriesInstanceUID", f"{uid}.{series}")
                .put("PatientID", patient)
                .put("PatientName", name)
                .put("PatientComments", f"note {number}")
                .put("PatientWeight", f"7{number}.5")
                .put("NameOfPhysiciansReadingStudy", "Rädler^Rita", "Zweiter^Zeno")
                .put("StudyDate", date)
                .put("StudyTime", time)
                .put("AccessionNumber", accession)
                .put("Modality", modality)
                .put(
                    "RequestAttributesSequence",
                    item.put("RequestedProcedureID", "X"),
                    other.put("RequestedProcedureID", f"R{number}"),
                )
                .put("ImageType", "ORIGINAL", "PRIMARY", *(("AXIAL",) if modality == "SEG" else ()))
                .put(
                    "AcquisitionDateTime",
                    *(("20240102101500",) if modality == "SEG" else ("20240101235959-0500",) * (number == 1)),
                )
            )


class Doors:
    """A node's two doors on one archive, in a loop of their own."""

    def __init__(self, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._archive = Archive.open(folder, ArchiveOptions(free_space=0))
        self._run(self._open())

    async def _open(self) -> None:
        self._archive.start(asyncio.get_running_loop())
        for data_set in instances():
            await self._store(data_set)
        policy = AcceptorPolicy(
            supported={STUDY_ROOT: (EXPLICIT_VR_LITTLE_ENDIAN,)},
            extended_negotiation={STUDY_ROOT: find.answered},
        )
        options = AcceptorOptions(entities=(LocalEntity("NODE", policy),), port=0)
        self._acceptor = Acceptor(options, find.services(self._archive, ("NODE",)))
        await self._acceptor.start()
        sockets = bind("127.0.0.1", 0)
        self._port = sockets[0].getsockname()[1]
        self._server = Server(build(self._archive, WebOptions()), ServerOptions())
        await self._server.start(sockets)

    async def _store(self, data_set: DataSet) -> None:
        data = encode(data_set, EXPLICIT_VR_LITTLE_ENDIAN, character_set="ISO_IR 192")
        reception = self._archive.receive(
            sop_class_uid=data_set.text("SOPClassUID"),
            sop_instance_uid=data_set.text("SOPInstanceUID"),
            transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
            origin=Origin("import", "test"),
        )
        reception.write(memoryview(data))
        done = asyncio.get_running_loop().create_future()
        reception.finish(done.set_result)
        await done

    def close(self) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        await self._acceptor.stop(1.0)
        await self._server.stop()
        await self._archive.stop()

    def _run(self, work: Awaitable[Result]) -> Result:
        async def run() -> Result:
            return await work

        future: Future[Result] = asyncio.run_coroutine_threadsafe(run(), self._loop)
        return future.result(30)

    def c_find(self, rule: Rule) -> list[str]:
        """Study Instance UIDs of the matches of a C-FIND."""
        identifier = DataSet().put("QueryRetrieveLevel", rule.level).put("StudyInstanceUID")
        items = DataSet()
        for name, value in rule.keys.items():
            *sequence, keyword = name.split(".")
            target = items if sequence else identifier
            target.put(keyword, *value.split("\\"), vr="LO" if vr_of(TAGS[keyword]) == "IS" else "")
            for each in sequence:
                identifier.put(each, items)
        return self._run(self._c_find(identifier, rule.agreement))

    async def _c_find(self, identifier: DataSet, agreement: bytes) -> list[str]:
        options = RequestorOptions(extended=(SOPClassExtendedNegotiation(STUDY_ROOT, agreement),))
        contexts = (Context(STUDY_ROOT, (EXPLICIT_VR_LITTLE_ENDIAN,)),)
        opened = connect(
            "127.0.0.1", self._acceptor.port, called_ae_title="NODE", contexts=contexts, options=options
        )
        async with opened as association:
            return await _found(association, identifier)

    def survive(self, *identifiers: bytes) -> list[tuple[int, str]]:
        """Status and comment of the answers to several C-FIND over one association."""
        return self._run(_survives(self._acceptor.port, list(identifiers)))

    def qido(self, rule: Rule) -> list[str]:
        """Study Instance UIDs of the matches of a QIDO-RS."""
        resource = {"STUDY": "studies", "SERIES": "series", "IMAGE": "instances"}[rule.level]
        parameters = urlencode({**rule.keys, **rule.parameters})
        with urlopen(f"http://127.0.0.1:{self._port}/{resource}?{parameters}", timeout=30) as answer:
            body = answer.read()
        return [each["0020000D"]["Value"][0] for each in json.loads(body or b"[]")]


async def _found(association: Association, identifier: DataSet) -> list[str]:
    data = encode(identifier, EXPLICIT_VR_LITTLE_ENDIAN, character_set="ISO_IR 192")
    context = next(iter(association.contexts))
    found = []
    async for response in association.requests(context, CFindRq(0, STUDY_ROOT), [data]):
        if response.command.status in (0xFF00, 0xFF01):
            found.append(decode(response.data, EXPLICIT_VR_LITTLE_ENDIAN).text("StudyInstanceUID"))
        else:
            assert response.command.status == 0, response.command.error_comment
    return found


async def _survives(port: int, identifiers: list[bytes]) -> list[tuple[int, str]]:
    """Status and comment of the answers to several C-FIND over one association."""
    contexts = (Context(STUDY_ROOT, (EXPLICIT_VR_LITTLE_ENDIAN,)),)
    async with connect("127.0.0.1", port, called_ae_title="NODE", contexts=contexts) as association:
        found = []
        for data in identifiers:
            answers = [each async for each in association.requests(1, CFindRq(0, STUDY_ROOT), [data])]
            last = answers[-1].command
            found.append((last.status, last.error_comment or ""))
        return found


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    opened = Doors(tmp_path_factory.mktemp("matching") / "data")
    yield opened
    opened.close()


ASK: dict[str, Callable[[Doors, Rule], list[str]]] = {"C-FIND": Doors.c_find, "QIDO-RS": Doors.qido}


@pytest.mark.parametrize(
    ("rule", "door"),
    [pytest.param(rule, door, id=f"{rule.name} ({door})") for rule in RULES for door in rule.doors],
)
def test_rule(doors: Doors, rule: Rule, door: str) -> None:
    assert sorted(ASK[door](doors, rule)) == rule.expected.split()


def test_an_association_survives_every_bad_identifier(doors: Doors) -> None:
    good = encode(DataSet().put("QueryRetrieveLevel", "STUDY"), EXPLICIT_VR_LITTLE_ENDIAN)
    nested = b"\x40\x00\x75\x02SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 10_000
    many = "\\".join(f"1.2.{n}" for n in range(100_000)).encode()
    uids = good + b"\x20\x00\x0d\x00UN\x00\x00" + len(many).to_bytes(4, "little") + many
    answers = doors.survive(b"\xff" * 1000, good, nested, good, b"x" * (8 << 20), good, uids, b"", good)
    assert [status for status, _ in answers] == [0xC000, 0, 0xC000, 0, 0xA700, 0, 0xA900, 0xA900, 0]
    assert all(comment for status, comment in answers if status)
