"""A study as the FHIR resource ImagingStudy, in R4 (4.0.1) and R5 (5.0.0). Pure.

What the catalogue does not know is left out. A time goes out only where the study says its offset from UTC,
as FHIR has no time without one; else the date alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

Json: TypeAlias = dict[str, object]
Attributes: TypeAlias = Mapping[str, str]
"""First values by keyword; of names the alphabetic group."""

DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
URI: Final = "urn:ietf:rfc:3986"
UID_SYSTEM: Final = "urn:dicom:uid"
_IDENTIFIER_TYPES: Final = "http://terminology.hl7.org/CodeSystem/v2-0203"
_CONNECTION_TYPES: Final = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type"
_MANDATORY: Final = ("resourceType", "id", "status", "subject")
_SUBSETTED: Final = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
}
_DATE = re.compile(r"(\d{4})\.?(\d\d)\.?(\d\d)", re.ASCII)
_TIME = re.compile(r"(\d\d):?(\d\d):?(\d\d)(?:\.\d+)?", re.ASCII)
_OFFSET = re.compile(r"([+-]\d\d)(\d\d)", re.ASCII)


class Release(Enum):
    """A release of FHIR and its version."""

    R4 = "4.0.1"
    R5 = "5.0.0"


@dataclass(frozen=True, slots=True)
class Study:
    """What the catalogue says of a study.

    Attributes:
        instances: each with the attributes of its series, in the order of series and instances.
    """

    attributes: Attributes
    instances: tuple[Attributes, ...]


def imaging_study(study: Study, release: Release, *, dicomweb: str) -> Json:
    """The resource. dicomweb: base URL from which WADO-RS retrieves the study."""
    attributes = study.attributes
    modalities = dict.fromkeys(each for each in attributes.get("ModalitiesInStudy", "").split("\\") if each)
    series = _by_series(study.instances)
    return _filled(
        resourceType="ImagingStudy",
        id=attributes["StudyInstanceUID"],
        contained=[_endpoint(release, dicomweb)],
        identifier=_identifiers(attributes),
        status="available",
        modality=[_modality(each, release) for each in modalities],
        subject=_subject(attributes),
        started=_date_time(attributes, "StudyDate", "StudyTime"),
        referrer=_filled(display=_name(attributes.get("ReferringPhysicianName", ""))),
        endpoint=[{"reference": "#wado-rs"}],
        numberOfSeries=len(series),
        numberOfInstances=len(study.instances),
        description=attributes.get("StudyDescription"),
        series=[_series(members, release) for members in series],
    )


def summarised(resource: Json, summary: str) -> Json:
    """The part of an ImagingStudy that `_summary` asks for, tagged as a part (FHIR R4 3.1.1.5.9).

    A summary has everything but the instances; a text, of which there is none here, what is mandatory.
    """
    if summary == "true":
        series = resource.get("series", [])
        assert isinstance(series, list)
        brief = [{name: each[name] for name in each if name != "instance"} for each in series]
        kept = {name: brief if name == "series" else member for name, member in resource.items()}
    elif summary == "text":
        kept = {name: member for name, member in resource.items() if name in _MANDATORY}
    else:
        return resource
    return {**kept, "meta": {"tag": [_SUBSETTED]}}


def _by_series(instances: Iterable[Attributes]) -> list[list[Attributes]]:
    found: dict[str, list[Attributes]] = {}
    for each in instances:
        found.setdefault(each["SeriesInstanceUID"], []).append(each)
    return list(found.values())


def _series(members: list[Attributes], release: Release) -> Json:
    attributes = members[0]
    site = attributes.get("BodyPartExamined")
    return _filled(
        uid=attributes["SeriesInstanceUID"],
        number=_number(attributes.get("SeriesNumber")),
        modality=_modality(attributes.get("Modality") or "OT", release),
        description=attributes.get("SeriesDescription"),
        numberOfInstances=len(members),
        bodySite=_site(site, release) if site else None,
        started=_date_time(attributes, "SeriesDate", "SeriesTime"),
        instance=[
            _filled(
                uid=each["SOPInstanceUID"],
                sopClass={"system": URI, "code": f"urn:oid:{each['SOPClassUID']}"},
                number=_number(each.get("InstanceNumber")),
            )
            for each in members
        ],
    )


def _identifiers(attributes: Attributes) -> list[Json]:
    found: list[Json] = [{"system": UID_SYSTEM, "value": f"urn:oid:{attributes['StudyInstanceUID']}"}]
    if number := attributes.get("AccessionNumber"):
        coding = {"system": _IDENTIFIER_TYPES, "code": "ACSN"}
        found.append({"type": {"coding": [coding]}, "value": number})
    return found


def _subject(attributes: Attributes) -> Json:
    number, issuer = attributes.get("PatientID"), attributes.get("IssuerOfPatientID")
    identifier = _filled(value=number, assigner=_filled(display=issuer)) if number else None
    name = _name(attributes.get("PatientName", ""))
    return _filled(type="Patient", identifier=identifier, display=name) or {"display": "unknown"}


def _modality(code: str, release: Release) -> Json:
    coding: Json = {"system": DCM, "code": code}
    return coding if release is Release.R4 else {"coding": [coding]}


def _site(text: str, release: Release) -> Json:
    return {"display": text} if release is Release.R4 else {"concept": {"text": text}}


def _endpoint(release: Release, dicomweb: str) -> Json:
    coding: Json = {"system": _CONNECTION_TYPES, "code": "dicom-wado-rs"}
    content: Json = {"text": "DICOM WADO-RS"}
    r4 = release is Release.R4
    return _filled(
        resourceType="Endpoint",
        id="wado-rs",
        status="active",
        connectionType=coding if r4 else [{"coding": [coding]}],
        payloadType=[content] if r4 else None,
        payload=None if r4 else [{"type": [content]}],
        address=dicomweb,
    )


def _name(text: str) -> str:
    """A Person Name as people write it: prefix, given, middle, family, suffix."""
    family, given, middle, prefix, suffix = (text.split("^") + [""] * 5)[:5]
    return " ".join(part for part in (prefix, given, middle, family, suffix) if part)


def _date_time(attributes: Attributes, date_keyword: str, time_keyword: str) -> str | None:
    """A FHIR dateTime; None where there is no date."""
    date = _DATE.fullmatch(attributes.get(date_keyword, ""))
    if date is None:
        return None
    text = "-".join(date.groups())
    time = _TIME.fullmatch(attributes.get(time_keyword, ""))
    offset = _OFFSET.fullmatch(attributes.get("TimezoneOffsetFromUTC", ""))
    return f"{text}T{':'.join(time.groups())}{':'.join(offset.groups())}" if time and offset else text


def _number(text: str | None) -> int | None:
    """A FHIR unsignedInt; FHIR has no place for a negative one."""
    return int(text) if text and text.isascii() and text.isdecimal() else None


def _filled(**members: object) -> Json:
    """An object of those members that say something."""
    return {name: member for name, member in members.items() if member not in (None, "", [], {})}
