"""Attribute lists of commands that create, change and look at instances: read from keys and files, shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicomwire.cli.output import Stop, escaped
from dicomwire.errors import InvalidAttribute, QueryError

if TYPE_CHECKING:
    from dicomwire.dicom.data_set import DataSet
    from dicomwire.dicom.identifier import Key

UID = Annotated[
    str | None,
    typer.Option("--uid", metavar="UID", help="SOP Instance UID; create makes one without it."),
]
KeyValues = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE...]",
        help="Attributes: Keyword=value, (gggg,eeee)=value, Sequence.Keyword=value; of get, which to bring.",
    ),
]
File = Annotated[
    Path | None,
    typer.Option("--file", "-f", metavar="F", help="DICOM JSON file with the attributes; keys come over it."),
]


def keys_of(keys: Sequence[str]) -> list[Key]:
    """The keys of a command line. Raises: Stop."""
    from dicomwire.dicom import identifier

    try:
        return [identifier.parse(key) for key in keys]
    except QueryError as error:
        raise Stop(str(error), 2) from None


def attributes_of(keys: Sequence[str], file: Path | None) -> DataSet:
    """The attributes of a file, over them those of the keys."""
    from dicomwire.dicom import identifier
    from dicomwire.dicom.data_set import DataSet, decode, from_object
    from dicomwire.dicom.json_decode import load
    from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN

    attributes = DataSet()
    if file is not None:
        try:
            found = load(file.read_bytes())
            attributes = from_object(found[0] if isinstance(found, list) and len(found) == 1 else found)
        except (OSError, InvalidAttribute) as error:
            raise Stop(f"--file {file}: {error}", 2) from None
    parsed = keys_of(keys)
    try:
        given = decode(identifier.encode(parsed, EXPLICIT_VR_LITTLE_ENDIAN), EXPLICIT_VR_LITTLE_ENDIAN)
    except QueryError as error:
        raise Stop(str(error), 2) from None
    return DataSet({**attributes, **given})


def show(attributes: DataSet) -> None:
    """Print attributes, one a line; of long values the beginning."""
    for tag, attribute in sorted(attributes.items()):
        words = " ".join(str(value) for value in attribute.values)
        print(f"  {name(tag):48} {escaped(words)[:160]}")


def name(tag: int) -> str:
    """The keyword of an attribute, or its tag."""
    from dicomwire.dicom.dictionary import keyword_of, tag_text

    return keyword_of(tag) or tag_text(tag)
