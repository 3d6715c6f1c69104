"""Modality Worklist over the wire: matches, character sets, statuses, C-CANCEL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dicomwire.dicom.data_set import DataSet, decode, encode, tag_of
from dicomwire.dicom.identifier import parse
from dicomwire.dimse.command import CFindRq
from dicomwire.errors import OperationFailed
from dicomwire.services import querying
from dicomwire.services.worklist import WORKLIST, services
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN
from dicomwire.work import worklist
from dicomwire.work.worklist_keys import STEP
from tests.services.department import Department, department
from tests.work.items import item


@pytest.fixture
async def ris(tmp_path: Path) -> AsyncIterator[Department]:
    async with department(tmp_path, lambda store: services(store, ("IN PROGRESS",))) as ris:
        yield ris


async def add(ris: Department, *items: DataSet) -> None:
    for each in items:
        await ris.store.change(lambda change, each=each: worklist.add(change, each, source="web", now=1.0))


async def find(
    ris: Department, *keys: str, limit: int | None = None, character_set: str | None = None
) -> list[DataSet]:
    async with ris.connect(WORKLIST) as association:
        matches = querying.find(
            association, WORKLIST, [parse(key) for key in keys], limit=limit, character_set=character_set
        )
        return [decode(match.data, EXPLICIT_VR_LITTLE_ENDIAN) async for match in matches]


async def test_matches_have_what_was_asked_for_and_nothing_else(ris: Department) -> None:
    await add(ris, item(1), item(2, Modality="MR"))
    (match,) = await find(
        ris, "PatientName", "PatientWeight", f"{STEP}.Modality=MR", f"{STEP}.ScheduledStationName"
    )
    assert sorted(match) == [tag_of("PatientName"), tag_of("PatientWeight"), tag_of(STEP)]
    assert match.text("PatientName") == "Doe^Jane"
    (step,) = match.sequence(STEP)
    assert sorted(step) == [tag_of("Modality"), tag_of("ScheduledStationName")]
    assert not step.has_value("ScheduledStationName")


async def test_each_of_very_many_matches_comes_once(ris: Department) -> None:
    await add(ris, *(item(number, PatientName=f"Doe{number}") for number in range(250)))
    names = [match.text("PatientName") for match in await find(ris, "PatientName", f"{STEP}.Modality=CT")]
    assert sorted(names) == sorted(f"Doe{number}" for number in range(250))


async def test_an_empty_sequence_brings_the_whole_step(ris: Department) -> None:
    await add(ris, item(1))
    (match,) = await find(ris, STEP)
    assert match.sequence(STEP)[0].text("ScheduledProcedureStepDescription") == "Head"


@pytest.mark.parametrize(
    ("asked", "answered"), [(None, "ISO_IR 100"), ("ISO_IR 192", "ISO_IR 192"), ("ISO_IR 100", "ISO_IR 100")]
)
async def test_answers_have_the_character_set_asked_for_else_the_items_own(
    ris: Department, asked: str | None, answered: str
) -> None:
    await add(ris, item(1, PatientName="Müller^Anna"))
    keys = ["PatientName"] if asked is None else [f"SpecificCharacterSet={asked}", "PatientName=M*"]
    (match,) = await find(ris, *keys)
    assert match.text("PatientName") == "Müller^Anna"
    assert match.texts("SpecificCharacterSet") == (answered,)


async def test_cancelled_matches_end(ris: Department) -> None:
    await add(ris, *(item(number) for number in range(1, 60)))
    assert len(await find(ris, "PatientName", limit=3)) == 3


REFUSED = {
    "a date that is none": ([f"{STEP}.ScheduledProcedureStepStartDate=tomorrow"], "A900"),
    "a time that is none": ([f"{STEP}.ScheduledProcedureStepStartTime=9999"], "A900"),
    "a UID that is none": (["StudyInstanceUID=1..2"], "A900"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_identifiers_that_do_not_fit_are_refused(ris: Department, case: str) -> None:
    keys, code = REFUSED[case]
    with pytest.raises(OperationFailed, match=code):
        await find(ris, *keys)


async def test_an_identifier_that_cannot_be_read_is_refused_with_c000(ris: Department) -> None:
    async with ris.connect(WORKLIST) as association:
        (context,) = association.contexts_for(WORKLIST)
        command = CFindRq(association.next_message_id(), WORKLIST, data_set=True)
        response = await association.request(
            context.presentation_context_id, command, [memoryview(b"\x10\x00\x10\x00PN\xff\x00Doe")]
        )
        assert response.command.status == 0xC000


async def test_two_items_in_a_key_are_refused(ris: Department) -> None:
    step = DataSet().put("Modality", "CT")
    async with ris.connect(WORKLIST) as association:
        (context,) = association.contexts_for(WORKLIST)
        data = encode(DataSet().put(STEP, step, step), context.transfer_syntax)
        command = CFindRq(association.next_message_id(), WORKLIST, data_set=True)
        response = await association.request(context.presentation_context_id, command, [memoryview(data)])
        assert response.command.status == 0xA900
        assert response.command.offending_element == (tag_of(STEP),)


async def test_numbers_come_as_they_are_kept(ris: Department) -> None:
    await add(ris, item(1).put("PatientWeight", "70.50").put("PregnancyStatus", 4))
    (match,) = await find(ris, "PatientWeight", "PregnancyStatus")
    assert (match.text("PatientWeight"), match.values_of("PregnancyStatus")) == ("70.50", (4,))
