"""Person names as they are compared: folded, by component group, word and sound (PS3.4 C.2.2.2.1, PS3.5 6.2).

Without regard to case and accents, over all three component groups. The sound of a word is a code of its
consonants in which spellings of one name fall together, whatever the language that spells it: Meyer and
Maier, Smith and Schmidt, Catherine and Katharina but for its ending.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

_ACCENTS: Final = re.compile("[\u0300-\u036f]")
# Letters that are no letter with an accent to Unicode, and are to whoever types a name
_LETTERS: Final = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "æ": "ae", "œ": "oe", "\u0131": "i", "þ": "th", "ħ": "h"}
)
_SEPARATORS: Final = re.compile(r"[\^=\s,.'\u2019\-]+")
_LATIN: Final = re.compile("[a-z]+")
# Spellings of one sound, the longest first
_SPELLINGS: Final = (
    *(("tsch", "s"), ("sch", "s"), ("ph", "f"), ("th", "t"), ("dt", "t"), ("ck", "k"), ("cz", "s")),
    *(("sh", "s"), ("ch", "k"), ("tz", "s"), ("ts", "s"), ("qu", "k"), ("x", "ks"), ("wr", "r")),
    *(("gh", "g"), ("ce", "se"), ("ci", "si"), ("cy", "sy")),
)
_CODES: Final = str.maketrans("bpdtgkqcfvwlmnrszj", "PPTTKKKKFFFLMNRSSJ", "aeiouyh")


@lru_cache(maxsize=4096)
def folded(text: str) -> str:
    """A name as it is compared: without case, accents and empty components at the end of its groups."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    plain = unicodedata.normalize("NFC", _ACCENTS.sub("", decomposed)).casefold().translate(_LETTERS)
    return "=".join(group.strip().rstrip("^ ") for group in plain.split("=")).rstrip("=")


def groups(text: str) -> tuple[str, str, str]:
    """The alphabetic, ideographic and phonetic component groups of a name, folded; "" where it has none."""
    found = [*folded(text).split("=", 2), "", ""]
    return found[0], found[1], found[2]


def words(text: str) -> list[str]:
    """The words of a name or of several, folded, in their order."""
    return [word for word in _SEPARATORS.split(folded(text.replace("\\", "="))) if word]


def vocabulary(text: str) -> str:
    """What fuzzy matching looks in: the words of a name in small and their sounds in capital letters.

    Each has a blank before and behind it.
    """
    found = words(text)
    sounds = [code for code in map(sound, found) if code]
    known = dict.fromkeys([*found, *sounds])
    return f" {' '.join(known)} " if known else ""


def sound(word: str) -> str:
    """The code of how a word of Latin letters sounds; "" for any other, and for one too short to tell."""
    if len(word) < 3 or not _LATIN.fullmatch(word):
        return ""
    spelled = word
    for spelling, plain in _SPELLINGS:
        spelled = spelled.replace(spelling, plain)
    code = spelled.translate(_CODES)
    if spelled[0] in "aeiouyh":
        code = "A" + code
    return "".join(c for at, c in enumerate(code) if at == 0 or c != code[at - 1])
