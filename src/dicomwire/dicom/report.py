"""Structured reports as text and as HTML, and what encapsulated documents are (PS3.3 C.17.3, PS3.18 8.7.4).

The content tree in reading order, each item as its concept and its value. What a report refers to is named,
not followed; every text is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from typing import Final

from dicomwire.dicom.attributes import Attributes
from dicomwire.uids import name_of

_FACTS: Final = (
    ("Patient", "PatientName"),
    ("Patient ID", "PatientID"),
    ("Birth date", "PatientBirthDate"),
    ("Sex", "PatientSex"),
    ("Study date", "StudyDate"),
    ("Accession number", "AccessionNumber"),
    ("Completion", "CompletionFlag"),
    ("Verification", "VerificationFlag"),
    ("Document title", "DocumentTitle"),
    ("Document", "MIMETypeOfEncapsulatedDocument"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One item of the content tree.

    Attributes:
        depth: 0 for the root.
        heading: it holds others and has no value itself.
    """

    depth: int
    heading: bool
    concept: str
    value: str


def content(report: Attributes) -> Iterator[Line]:
    """The content tree of a report, parents before children."""
    return _lines(report, 0)


def as_text(report: Attributes) -> str:
    """A report as plain text, children indented."""
    lines = [f"{label}: {text}" for label, text in _facts(report)]
    lines.append("")
    for line in content(report):
        words = line.concept if line.heading else _worded(line)
        lines += [("  " * line.depth + part).rstrip() for part in words.splitlines() or [""]]
    return "\n".join(lines) + "\n"


def as_html(report: Attributes) -> str:
    """A report as one page without scripts, style sheets or links."""
    lines = list(content(report))
    title = escape(lines[0].concept or report.text("DocumentTitle") or "Report")
    parts = [
        "<!DOCTYPE html>\n<html><head><meta charset=utf-8>",
        f"<title>{title}</title></head>\n<body>\n<table>\n",
        *(f"<tr><th align=left>{label}</th><td>{escape(text)}</td></tr>\n" for label, text in _facts(report)),
        "</table>\n",
    ]
    for line in lines:
        if line.heading:
            level = min(line.depth + 1, 6)
            words = escape(line.concept) if line.depth else title
            parts.append(f"<h{level}>{words}</h{level}>\n")
        else:
            value = escape(line.value).replace("\n", "<br>")
            indent = f' style="margin-left:{2 * line.depth}em"' if line.depth else ""
            parts.append(f"<p{indent}><b>{escape(line.concept)}</b> {value}</p>\n")
    parts.append("</body></html>\n")
    return "".join(parts)


def _facts(report: Attributes) -> list[tuple[str, str]]:
    return [(label, text) for label, keyword in _FACTS if (text := report.text(keyword))]


def _worded(line: Line) -> str:
    return f"{line.concept}: {line.value}" if line.concept else line.value


def _lines(item: Attributes, depth: int) -> Iterator[Line]:
    kind = item.text("ValueType")
    concept = item.item("ConceptNameCodeSequence").text("CodeMeaning")
    heading = depth == 0 or kind == "CONTAINER"
    value = "" if heading else _VALUES.get(kind, _nothing)(item)
    if heading or concept or value:
        yield Line(depth, heading, concept, value)
    for child in item.items("ContentSequence"):
        yield from _lines(child, depth + 1)


def _nothing(item: Attributes) -> str:
    return f"({item.text('ValueType').lower() or 'reference'})"


def _code(item: Attributes) -> str:
    return item.item("ConceptCodeSequence").text("CodeMeaning")


def _measured(item: Attributes) -> str:
    measured = item.item("MeasuredValueSequence")
    units = measured.item("MeasurementUnitsCodeSequence")
    unit = units.text("CodeMeaning") if units.text("CodeValue") != "1" else ""
    number = measured.text("NumericValue")
    if not number:
        return item.item("NumericValueQualifierCodeSequence").text("CodeMeaning")
    return f"{number} {unit}".rstrip()


def _referenced(item: Attributes) -> str:
    reference = item.item("ReferencedSOPSequence")
    name = name_of(reference.text("ReferencedSOPClassUID"))
    return f"{name} {reference.text('ReferencedSOPInstanceUID')}"


def _simple(keyword: str) -> Callable[[Attributes], str]:
    return lambda item: item.text(keyword)


_VALUES: Final[dict[str, Callable[[Attributes], str]]] = {
    "TEXT": _simple("TextValue"),
    "CODE": _code,
    "NUM": _measured,
    "DATE": _simple("Date"),
    "TIME": _simple("Time"),
    "DATETIME": _simple("DateTime"),
    "PNAME": _simple("PersonName"),
    "UIDREF": _simple("UID"),
    "IMAGE": _referenced,
    "COMPOSITE": _referenced,
    "WAVEFORM": _referenced,
}
"""What each value type has to say (PS3.3 Table C.17.3-7)."""
