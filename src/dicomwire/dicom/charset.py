"""Character sets of text: Specific Character Set and code extensions (PS3.5 6.1, PS3.3 C.12.1.1.2).

Neither way fails: bytes that a character set does not define become U+FFFD, characters that it lacks "?".
Names come from the standard's list only, never from Python's codecs, but for misspellings seen in files
("ISO-IR 100").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

# Defined terms of PS3.3 Tables C.12-2 to C.12-5 by the number or name in them
_CODECS: Final = {
    "6": "latin_1",  # ASCII; bytes above 7FH are not allowed, and are Latin-1 where they occur
    "13": "shift_jis",  # JIS X 0201: its two halves are the single bytes of Shift JIS
    "58": "gb2312",
    "87": "iso2022_jp",
    "100": "latin_1",
    "101": "iso8859_2",
    "109": "iso8859_3",
    "110": "iso8859_4",
    "126": "iso8859_7",
    "127": "iso8859_6",
    "138": "iso8859_8",
    "144": "iso8859_5",
    "148": "iso8859_9",
    "149": "euc_kr",
    "159": "iso2022_jp_2",
    "166": "tis_620",
    "192": "utf_8",
    "203": "iso8859_15",
    "GB18030": "gb18030",
    "GBK": "gbk",
}

# Escape sequences of PS3.3 Tables C.12-3 and C.12-4: codec, and whether the codec reads them itself
_ESCAPES: Final = {
    b"\x1b(B": ("latin_1", False),
    b"\x1b(J": ("shift_jis", False),
    b"\x1b)I": ("shift_jis", False),
    b"\x1b$B": ("iso2022_jp", True),
    b"\x1b$(D": ("iso2022_jp_2", True),
    b"\x1b$)C": ("euc_kr", False),
    b"\x1b$)A": ("gb2312", False),
    b"\x1b-A": ("latin_1", False),
    b"\x1b-B": ("iso8859_2", False),
    b"\x1b-C": ("iso8859_3", False),
    b"\x1b-D": ("iso8859_4", False),
    b"\x1b-F": ("iso8859_7", False),
    b"\x1b-G": ("iso8859_6", False),
    b"\x1b-H": ("iso8859_8", False),
    b"\x1b-L": ("iso8859_5", False),
    b"\x1b-M": ("iso8859_9", False),
    b"\x1b-T": ("tis_620", False),
    b"\x1b-b": ("iso8859_15", False),
}

_FRAGMENT: Final = re.compile(rb"^[^\x1b]+|\x1b[^\x1b]*")
# Where code extensions end (PS3.5 6.1.2.5.3): control characters, delimiters of values and parts of names
_RESETS: Final = re.compile(rb"[\t\n\f\r\\]")
_RESETS_IN_NAMES: Final = re.compile(rb"[\t\n\f\r\\^=]")
_DELIMITERS: Final = re.compile(r"([\t\n\f\r\\])")
_DELIMITERS_IN_NAMES: Final = re.compile(r"([\t\n\f\r\\^=])")
_TERM: Final = re.compile(r"(?:ISO[ _-]?IR[ _-]?|ISO[ _-]?2022[ _-](?:IR[ _-]?)?)?(\d+|GBK|GB18030)")


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """The character set of a data set or of an item.

    Attributes:
        codec: Python's codec of what no escape sequence precedes.
        unknown: values of Specific Character Set that are no defined terms.
        extensions: Python's codecs of what escape sequences may introduce.
        default: the codec stands for the default repertoire, beside code extensions: it writes ASCII alone.
    """

    codec: str
    unknown: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    default: bool = False

    def decode(self, value: bytes, *, name: bool = False) -> str:
        """Text of a value's bytes, nothing trimmed.

        name: it is a Person Name, in which "^" and "=" end code extensions.
        """
        if b"\x1b" in value and self.codec not in _STAND_ALONE:
            resets = _RESETS_IN_NAMES if name else _RESETS
            return "".join(self._fragment(part, resets) for part in _FRAGMENT.findall(value))
        return value.decode(self.codec, "replace")

    def encode(self, text: str, *, name: bool = False) -> bytes:
        """The bytes of a value's text, nothing padded; "?" for what the character set lacks.

        name: it is a Person Name, in which "^" and "=" end code extensions.
        """
        if text.isascii() or not (self.extensions or self.codec == "shift_jis"):
            return text.encode(self.codec, "replace")
        resets = _DELIMITERS_IN_NAMES if name else _DELIMITERS
        return b"".join(
            part.encode("ascii") if resets.match(part) else b"".join(self._extended(part))
            for part in resets.split(text)
        )

    def _extended(self, text: str) -> Iterator[bytes]:
        """The bytes of a part between two delimiters, with the escape sequences before what needs one."""
        roman = b"\x1b(J" if self.codec == "shift_jis" else b"\x1b(B"
        own = "ascii" if self.default else self.codec
        low, high = roman, _HIGH.get(own, b"")  # what the two halves of the code table hold now
        for character in text:
            for codec in (own, *self.extensions):
                found = _coded(character, codec)
                if found is not None:
                    break
            else:
                found = (b"", b"?")
            escape, code = found
            if code[0] < 0x80:
                escape = escape or roman
                if escape != low:
                    yield escape
                    low = escape
            elif escape != high:
                yield escape
                high = escape
            yield code
        if low != roman:
            yield roman

    def _fragment(self, part: bytes, resets: re.Pattern[bytes]) -> str:
        size = 4 if part.startswith((b"\x1b$(", b"\x1b$)")) else 3
        codec, stateful = _ESCAPES.get(part[:size], ("", False))
        if not codec:
            return part.decode(self.codec, "replace")
        if stateful:
            return part.decode(codec, "replace")
        end = resets.search(part, size)
        if end is None:
            return part[size:].decode(codec, "replace")
        reset = end.start()
        return part[size:reset].decode(codec, "replace") + part[reset:].decode(self.codec, "replace")


@lru_cache(maxsize=4096)
def _coded(character: str, codec: str) -> tuple[bytes, bytes] | None:
    """The escape sequence that a character needs in a codec, and its code; None where it is not in it."""
    try:
        code = character.encode(codec)
    except UnicodeEncodeError:
        return None
    if code.startswith(b"\x1b"):  # a stateful codec escapes and comes back itself
        escape = next(each for each in (b"\x1b$(D", b"\x1b$B", code[:3]) if code.startswith(each))
        return (escape, code[len(escape) : -3]) if escape in (b"\x1b$B", b"\x1b$(D") else None
    if codec == "shift_jis" and (len(code) > 1 or not (character.isascii() or code[0] > 0x7F)):
        return None  # of Shift JIS only what JIS X 0201 has; its yen sign would be a delimiter of values
    return (b"", code) if code[0] < 0x80 else (_HIGH.get(codec, b""), code)


_HIGH: Final = {
    codec: escape for escape, (codec, stateful) in _ESCAPES.items() if not stateful and escape[1:2] != b"("
}
"""The escape sequence that puts a codec's characters into the upper half of the code table."""

_STAND_ALONE: Final = frozenset({"utf_8", "gb18030", "gbk"})  # no code extensions (PS3.3 Table C.12-5)

DEFAULT: Final = CharacterSet("latin_1")


@lru_cache(maxsize=256)
def character_set(specific_character_set: bytes) -> CharacterSet:
    """The character set that the raw value of (0008,0005) names; the default repertoire for an empty one."""
    terms = [term.strip(" \0") for term in specific_character_set.decode("latin_1").split("\\")]
    codecs, unknown = [], []
    for term in terms:
        match = _TERM.fullmatch(term.upper().replace("UTF-8", "192").replace("UTF8", "192"))
        codec = _CODECS.get(match[1]) if match is not None else None
        codecs.append(codec or "latin_1")
        if term and codec is None:
            unknown.append(term)
    extensions = () if codecs[0] in _STAND_ALONE else tuple(codecs[1:])
    default = bool(extensions) and terms[0] in ("", "ISO_IR 6", "ISO 2022 IR 6")
    return CharacterSet(codecs[0], tuple(unknown), extensions, default)


def defined(specific_character_set: str) -> str:
    """Specific Character Set as it is, its values joined by backslashes; "" where one is no defined term."""
    unknown = character_set(specific_character_set.encode("ascii", "replace")).unknown
    return "" if unknown else specific_character_set


def encodable(specific_character_set: str) -> str | None:
    """Python's codec that writes text for a Specific Character Set, its values joined by backslashes.

    Returns: None where code extensions would be needed, or the term is unknown (PS3.3 C.12.1.1.2).
    """
    terms = [term.strip() for term in specific_character_set.split("\\")]
    if len(terms) > 1:
        return None
    if not terms[0]:
        return "ascii"
    match = _TERM.fullmatch(terms[0].upper())
    codec = _CODECS.get(match[1]) if match is not None else None
    return None if codec in ("iso2022_jp", "iso2022_jp_2", "euc_kr", "gb2312") else codec
