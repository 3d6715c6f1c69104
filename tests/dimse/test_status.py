"""Status codes against the tables of PS3.7 C and PS3.4."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomwire.dimse import status
from dicomwire.dimse.status import SERVICES, StatusClass, status_class, words

UPS = "1.2.840.10008.5.1.4.34.6.1"
SUCCESS, PENDING, CANCEL, WARNING, FAILURE = (
    StatusClass.SUCCESS,
    StatusClass.PENDING,
    StatusClass.CANCEL,
    StatusClass.WARNING,
    StatusClass.FAILURE,
)
CASES = [
    (status.STORE, 0x0000, SUCCESS, "0000H Success"),
    (status.STORE, 0xA700, FAILURE, "A700H Refused: Out of resources"),
    (status.STORE, 0xA7FF, FAILURE, "A7FFH Refused: Out of resources"),
    (status.STORE, 0xA900, FAILURE, "A900H Error: Data Set does not match SOP Class"),
    (status.STORE, 0xC123, FAILURE, "C123H Error: Cannot understand"),
    (status.STORE, 0xB000, WARNING, "B000H Coercion of Data Elements"),
    (status.STORE, 0xB006, WARNING, "B006H Elements Discarded"),
    (status.STORE, 0xB007, WARNING, "B007H Data Set does not match SOP Class"),
    (status.STORE, 0x0117, FAILURE, "0117H Invalid SOP instance"),
    (status.STORE, 0x0124, FAILURE, "0124H Refused: not authorized"),
    (status.FIND, 0xFF00, PENDING, None),
    (status.FIND, 0xFF01, PENDING, None),
    (status.FIND, 0xFE00, CANCEL, "FE00H Matching terminated due to Cancel request"),
    (status.FIND, 0xC001, FAILURE, "C001H Failed: Unable to process"),
    (status.MOVE, 0xA801, FAILURE, "A801H Refused: Move Destination unknown"),
    (status.MOVE, 0xB000, WARNING, "B000H Sub-operations Complete - One or more Failures"),
    (status.GET, 0xA702, FAILURE, "A702H Refused: Out of resources - Unable to perform sub-operations"),
    (status.ECHO, 0x0122, FAILURE, "0122H Refused: SOP class not supported"),
    ("N-SET (UPS Pull)", 0xC310, FAILURE, 'C310H Failed: The UPS is not in the "IN PROGRESS" state'),
    ("C-STORE (Non-Patient Object)", 0x0000, SUCCESS, "0000H Success"),
    (status.GENERAL, 0x0107, WARNING, "0107H Attribute list error"),
    (status.GENERAL, 0x0116, WARNING, "0116H Attribute value out of range"),
    (status.GENERAL, 0x0001, WARNING, None),
    (status.STORE, 0xB111, WARNING, "B111H unknown Warning"),
    (status.STORE, 0xA123, FAILURE, "A123H unknown Failure"),
    (status.STORE, 0xFFFF, FAILURE, "FFFFH unknown Failure"),
]


@pytest.mark.parametrize(("service", "code", "expected", "said"), CASES)
def test_code_has_the_class_and_words_of_its_table(
    service: str, code: int, expected: StatusClass, said: str | None
) -> None:
    assert status_class(service, code) is expected
    assert said is None or words(service, code) == said


@pytest.mark.parametrize(
    ("message", "sop_class_uid", "action", "said"),
    [
        ("N-ACTION", UPS, 1, "C307H Failed: Specified SOP Instance UID does not exist"),
        ("N-ACTION", UPS, 4, "C307H Failed: Specified SOP Instance UID does not exist"),
        ("N-GET", UPS, 0, "C307H Failed: Specified SOP Instance UID does not exist"),
        ("N-GET", "1.2.840.10008.3.1.2.3.4", 0, "C307H unknown Failure"),
        ("N-ACTION", UPS, 9, "C307H unknown Failure"),
        ("C-STORE", "1.2.840.10008.5.1.4.1.1.2", 0, "C307H Error: Cannot understand"),
        ("N-EVENT-REPORT", UPS, 0, "C307H unknown Failure"),
    ],
)
def test_a_request_has_the_table_of_its_service(
    message: str, sop_class_uid: str, action: int, said: str
) -> None:
    assert words(status.service_of(message, sop_class_uid, action), 0xC307).startswith(said)


@pytest.mark.parametrize(("service", "row"), [(name, row) for name, rows in SERVICES.items() for row in rows])
def test_every_row_is_found_by_its_own_code(service: str, row: status.Status) -> None:
    assert status_class(service, int(row.code.replace("x", "0"), 16)) is row.status_class


@given(st.sampled_from(sorted(SERVICES)), st.integers(0, 0xFFFF))
def test_every_code_has_a_class_and_words(service: str, code: int) -> None:
    assert status_class(service, code) in StatusClass
    assert words(service, code).startswith(f"{code:04X}H ")


def test_only_nought_is_success() -> None:
    assert {row.code for rows in SERVICES.values() for row in rows if row.status_class is SUCCESS} == {"0000"}
    assert [code for code in range(0x10000) if status_class(status.STORE, code) is SUCCESS] == [0]


def test_service_without_a_table_is_an_error() -> None:
    with pytest.raises(KeyError):
        status_class("C-TELEPORT", 0)


def test_generated_module_is_what_the_generator_writes() -> None:
    tool = Path(__file__).parents[2] / "tools" / "generate_status.py"
    spec = importlib.util.spec_from_file_location("generate_status", tool)
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    assert generator.TARGET.read_text(encoding="utf-8") == generator.module()
