"""What an Identifier asks for, rule by rule."""

from __future__ import annotations

import pytest

from dicomwire.services import identifier
from dicomwire.services.selection import (
    COMPOSITE_INSTANCE_ROOT_GET,
    GET,
    MODELS,
    MOVE,
    PATIENT_ROOT_MOVE,
    PATIENT_STUDY_ONLY_GET,
    RELATIONAL,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    Refused,
    Selection,
    select,
)
from dicomwire.uids import IMPLICIT_VR_LITTLE_ENDIAN, SOP_CLASSES
from tests.services.retrieving import encoded

STUDY, SERIES, IMAGE = "1.2.3", "1.2.3.4", "1.2.3.4.5"


def asked(**values: object) -> identifier.Identifier:
    level = {"QueryRetrieveLevel": values.pop("level")} if "level" in values else {}
    return identifier.read(encoded({**level, **values}), IMPLICIT_VR_LITTLE_ENDIAN)


def test_each_model_is_a_registered_sop_class_of_its_operation() -> None:
    assert {uid: SOP_CLASSES[uid].name.rsplit(" - ")[-1] for uid in MODELS} == {
        **dict.fromkeys(MOVE, "MOVE"),
        **dict.fromkeys(GET, "GET"),
    }
    assert set(MODELS) >= RELATIONAL


@pytest.mark.parametrize(
    ("model", "values", "expected"),
    [
        (PATIENT_ROOT_MOVE, {"level": "PATIENT", "PatientID": "P"}, Selection("PATIENT", ("P",))),
        (
            PATIENT_ROOT_MOVE,
            {"level": "PATIENT", "PatientID": "P", "IssuerOfPatientID": "I"},
            Selection("PATIENT", ("P",), issuer_of_patient_id="I"),
        ),
        (
            PATIENT_ROOT_MOVE,
            {"level": "STUDY", "PatientID": "P", "StudyInstanceUID": [STUDY, "1.9", STUDY]},
            Selection("STUDY", ("P",), (STUDY, "1.9")),
        ),
        (
            PATIENT_ROOT_MOVE,
            {
                "level": "IMAGE",
                "PatientID": "P",
                "StudyInstanceUID": STUDY,
                "SeriesInstanceUID": SERIES,
                "SOPInstanceUID": [IMAGE, "1.8"],
            },
            Selection("IMAGE", ("P",), (STUDY,), (SERIES,), (IMAGE, "1.8")),
        ),
        (
            STUDY_ROOT_MOVE,
            {"level": "STUDY", "StudyInstanceUID": STUDY, "PatientID": "any", "SeriesInstanceUID": ""},
            Selection("STUDY", (), (STUDY,)),
        ),
        (
            STUDY_ROOT_GET,
            {"level": "SERIES", "StudyInstanceUID": STUDY, "SeriesInstanceUID": [SERIES, "1.7"]},
            Selection("SERIES", (), (STUDY,), (SERIES, "1.7")),
        ),
        (PATIENT_STUDY_ONLY_GET, {"level": "PATIENT", "PatientID": "P"}, Selection("PATIENT", ("P",))),
        (
            COMPOSITE_INSTANCE_ROOT_GET,
            {"level": "IMAGE", "SOPInstanceUID": [IMAGE, "1.8"]},
            Selection("IMAGE", sop_instance_uids=(IMAGE, "1.8")),
        ),
    ],
)
def test_unique_keys_are_taken(model: str, values: dict[str, object], expected: Selection) -> None:
    assert select(asked(**values), model) == expected


@pytest.mark.parametrize(
    ("model", "values", "words"),
    [
        (STUDY_ROOT_MOVE, {"StudyInstanceUID": STUDY}, "QueryRetrieveLevel (0008,0052) is missing"),
        (STUDY_ROOT_MOVE, {"level": "ROOM"}, "'ROOM' is none of STUDY, SERIES, IMAGE"),
        (STUDY_ROOT_MOVE, {"level": "PATIENT", "PatientID": "P"}, "'PATIENT' is none of"),
        (PATIENT_STUDY_ONLY_GET, {"level": "SERIES"}, "'SERIES' is none of PATIENT, STUDY"),
        (STUDY_ROOT_MOVE, {"level": "STUDY"}, "StudyInstanceUID (0020,000D) is missing"),
        (
            STUDY_ROOT_MOVE,
            {"level": "STUDY", "StudyInstanceUID": ""},
            "StudyInstanceUID (0020,000D) is missing",
        ),
        (
            PATIENT_ROOT_MOVE,
            {"level": "STUDY", "StudyInstanceUID": STUDY},
            "PatientID (0010,0020) is missing",
        ),
        (
            STUDY_ROOT_GET,
            {"level": "IMAGE", "StudyInstanceUID": STUDY, "SOPInstanceUID": IMAGE},
            "SeriesInstanceUID (0020,000E) is missing",
        ),
        (
            STUDY_ROOT_GET,
            {"level": "SERIES", "StudyInstanceUID": [STUDY, "1.9"], "SeriesInstanceUID": SERIES},
            "StudyInstanceUID (0020,000D) has 2 values, one wanted",
        ),
        (
            PATIENT_ROOT_MOVE,
            {"level": "PATIENT", "PatientID": ["P", "Q"]},
            "PatientID (0010,0020) has 2 values",
        ),
        (
            STUDY_ROOT_MOVE,
            {"level": "STUDY", "StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES},
            "SeriesInstanceUID (0020,000E) is a key below level STUDY",
        ),
        (
            STUDY_ROOT_MOVE,
            {"level": "STUDY", "StudyInstanceUID": "1.2.*"},
            "StudyInstanceUID is no UID: '1.2.*'",
        ),
        (STUDY_ROOT_MOVE, {"level": "STUDY", "StudyInstanceUID": "' OR 1=1"}, "is no UID"),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_what_breaks_a_rule_is_refused_by_name(model: str, values: dict[str, object], words: str) -> None:
    with pytest.raises(Refused) as refused:
        select(asked(**values), model)
    assert refused.value.status == 0xA900
    assert words in str(refused.value)
    assert len(str(refused.value)) <= 64


def test_relational_retrieval_needs_no_keys_above_the_level_and_takes_lists_there() -> None:
    found = select(asked(level="IMAGE", SOPInstanceUID=IMAGE), STUDY_ROOT_MOVE, relational=True)
    assert found == Selection("IMAGE", sop_instance_uids=(IMAGE,))
    found = select(
        asked(level="SERIES", StudyInstanceUID=[STUDY, "1.9"], SeriesInstanceUID=SERIES),
        STUDY_ROOT_MOVE,
        relational=True,
    )
    assert found.study_instance_uids == (STUDY, "1.9")
    with pytest.raises(Refused, match="SOPInstanceUID"):
        select(asked(level="IMAGE", StudyInstanceUID=STUDY), STUDY_ROOT_MOVE, relational=True)
