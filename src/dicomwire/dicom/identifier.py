"""Identifiers: keys as people write them to a data set, and the values of one back (PS3.4 C.2.2, PS3.5 7).

A key is `Keyword=value`, `(gggg,eeee)=value` or `Sequence.Keyword=value`; without `=` it asks for the
attribute and matches everything. Values are taken as they are: matching is the peer's. Text beyond ASCII is
written in UTF-8 and says so, unless another character set is asked for.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from dicomwire.dicom import data_set
from dicomwire.dicom.charset import character_set
from dicomwire.dicom.context import DECIDING, Context
from dicomwire.dicom.data_set import DataSet
from dicomwire.dicom.dictionary import TAGS, keyword_of, tag_text, vr_of
from dicomwire.dicom.elements import Kind, elements
from dicomwire.dicom.encoding import Buffer, encoding_of
from dicomwire.dicom.indexed import SPECIFIC_CHARACTER_SET
from dicomwire.dicom.values import NUMBER_FORMATS, STRING_VRS, TEXT_VRS, Decoder
from dicomwire.errors import InvalidAttribute, QueryError
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN

QUERY_RETRIEVE_LEVEL: Final = 0x00080052

_TAG: Final = re.compile(r"\(?([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})\)?")

Path: TypeAlias = tuple[int, ...]
"""Tags from the data set down: of sequences, and of the element last."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of an identifier.

    Attributes:
        path: where it stands; only the first item of a sequence has keys (PS3.4 C.2.2.2.6).
        value: what is matched, several values with backslashes between them; "" matches everything.
        given: a value was written, if only an empty one; otherwise the attribute is just asked for.
    """

    path: Path
    value: str = ""
    given: bool = False

    @property
    def name(self) -> str:
        """`Sequence.Keyword`, with tags for what has no keyword."""
        return path_text(self.path)


def parse(text: str) -> Key:
    """Read `Keyword=value`, `(0010,0010)=value`, `00100010`, `Sequence.Keyword=value` or `Keyword`.

    Raises: QueryError, which says which name is unknown and which known ones are close.
    """
    name, equals, value = text.partition("=")
    return Key(path(name.strip()), value, given=bool(equals))


def path(name: str) -> Path:
    """Read a key's name.

    Raises: QueryError.
    """
    tags = tuple(_tag(part, name) for part in name.split("."))
    for tag in tags[:-1]:
        if vr_of(tag) != "SQ":
            raise QueryError(f"key {name!r}: {path_text((tag,))} is no sequence, so nothing is in it")
    return tags


def path_text(tags: Path) -> str:
    """A key's name again."""
    return ".".join(keyword_of(tag) or tag_text(tag) for tag in tags)


def _tag(part: str, name: str) -> int:
    tag = TAGS.get(part)
    if tag is None and (match := _TAG.fullmatch(part)):
        tag = int(match[1] + match[2], 16)
    if tag is None:
        close = difflib.get_close_matches(part, TAGS, 3)
        meant = f"; did you mean {' or '.join(close)}?" if close else "; a tag is written (0010,0010)"
        raise QueryError(f"key {name!r}: no attribute has the keyword {part!r}{meant}")
    if tag >> 16 <= 0x0002 or tag >> 16 >= 0xFFFC:
        raise QueryError(f"key {name!r}: group {tag >> 16:04X} is never in an identifier")
    return tag


# Keys to bytes


def encode(
    keys: Iterable[Key],
    transfer_syntax_uid: str = EXPLICIT_VR_LITTLE_ENDIAN,
    *,
    character_set_name: str | None = None,
) -> bytes:
    """The data set of keys, elements ascending. A key that is there twice has both values.

    transfer_syntax_uid: an uncompressed one.
    character_set_name: Specific Character Set (0008,0005) of the text; None for that among the keys, ASCII
        without, or ISO_IR 192 where ASCII is not enough.
    Raises: QueryError, when a value cannot be written: not in the character set, no number.
    """
    tree = _tree(keys)
    terms = character_set_name or tree.text(SPECIFIC_CHARACTER_SET)
    if terms:
        _check_character_set(tree, terms)
    try:
        return data_set.encode(tree, transfer_syntax_uid, character_set=terms or None, substitute=bool(terms))
    except InvalidAttribute as error:
        raise QueryError(str(error)) from error


def _tree(keys: Iterable[Key]) -> DataSet:
    tree = DataSet()
    for key in keys:
        branch = tree
        for tag in key.path[:-1]:
            items = branch.sequence(tag) or (DataSet(),)
            branch.put(tag, *items)
            branch = items[0]
        tag = key.path[-1]
        if vr_of(tag) != "SQ":
            branch.put(tag, *branch.values_of(tag), *_values_of(key))
        elif key.value:
            raise QueryError(f"key {key.name} is a sequence: name what is in it, as in {key.name}.Keyword")
        elif tag not in branch:
            branch.put(tag)
    return tree


def _values_of(key: Key) -> Iterator[str | int | float]:
    """A key's values as its VR has them."""
    vr = vr_of(key.path[-1])[:2]
    if not key.value:
        return
    if vr in STRING_VRS or vr == "UN":
        if vr not in TEXT_VRS and not key.value.isascii():
            raise QueryError(f"{key.name}={key.value!r}: VR {vr} is ASCII")
        yield key.value
    elif vr == "AT":
        yield from (_tag(part.strip(), part) for part in key.value.split("\\"))
    elif vr in NUMBER_FORMATS:
        convert: Callable[[str], int | float] = float if vr in ("FD", "FL") else int
        try:
            yield from (convert(part) for part in key.value.split("\\"))
        except ValueError:
            raise QueryError(f"{key.name}={key.value!r} is no number of VR {vr}") from None
    else:
        raise QueryError(f"{key.name} has VR {vr}, which matches no value")


def _check_character_set(tree: DataSet, terms: str) -> None:
    """Whether all text can be written as it was asked for; the encoder would put "?" for what cannot."""
    chosen = character_set(terms.encode("ascii", "replace"))
    if chosen.unknown:
        raise QueryError(f"character set {terms!r}: {', '.join(chosen.unknown)} is no defined term (PS3.3)")
    for text in data_set.texts_of(tree):
        if any(chosen.decode(chosen.encode(each, name=True), name=True) != each for each in text.split("\\")):
            raise QueryError(f"{text!r} is not in the character set {terms}")


# Bytes to values


def values(data: Buffer, transfer_syntax_uid: str) -> Mapping[Path, tuple[str, ...]]:
    """The values of every element that has a VR of text or numbers, in the order of the data set.

    data: a data set that is small: an answer to a query.
    Returns: by path; the values in all items of a sequence together. Elements without a value, and sequences
        themselves, have an empty tuple.
    Raises: DataSetError, when the data set cannot be read to its end.
    """
    encoding = encoding_of(transfer_syntax_uid)
    decoders = [Decoder(encoding=encoding)]
    contexts = [Context()]
    sequences: list[int] = []
    found: dict[Path, tuple[str, ...]] = {}
    for kind, tag, vr, start, end, written in elements(data, encoding):
        where = (*sequences, tag)
        if kind is Kind.SEQUENCE:
            found.setdefault(where, ())
            sequences.append(tag)
        elif kind is Kind.SEQUENCE_END:
            sequences.pop()
        elif kind is Kind.ITEM:
            decoders.append(Decoder(decoders[-1].character_set, written))
            contexts.append(contexts[-1].item())
        elif kind is Kind.ITEM_END:
            decoders.pop()
            contexts.pop()
        elif kind is Kind.VALUE:
            raw = bytes(data[start:end])
            if tag == SPECIFIC_CHARACTER_SET:
                decoders[-1] = Decoder(character_set(raw), written)
            elif tag in DECIDING:
                contexts[-1].observe(tag, raw, written)
            vr = contexts[-1].vr(tag) if vr in ("", "UN") else vr
            found[where] = found.get(where, ()) + _values(vr, raw, decoders[-1])
    return found


def _values(vr: str, raw: bytes, decoder: Decoder) -> tuple[str, ...]:
    if vr in STRING_VRS:
        return tuple(decoder.texts(vr, raw))
    if vr in NUMBER_FORMATS:
        return tuple(map(str, decoder.numbers(vr, raw)))
    if vr == "AT":
        return tuple(map(tag_text, decoder.tags(raw)))
    return (f"{len(raw)} bytes",) if raw else ()
