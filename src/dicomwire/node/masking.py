"""Takes out of logs and facts what may be secret or name a patient, for whoever they are sent to."""

from __future__ import annotations

import re
from typing import Final

MASK: Final = "***"

_NAMES: Final = (
    r"password|passcode|passwd|secret|token|authorization|cookie|api_?key|credentials?"
    r"|user(?:_?name)?|subject|identity|principal"
    r"|patient\w*|accession\w*|birth_?date|referring\w*|operators?_?name"
)
_VALUE: Final = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|\{[^{}]*\}|\[[^\[\]]*\]|[^\s,;}]+"
_FIELD: Final = re.compile(rf"(?i)([\"']?\b(?:{_NAMES})\b[\"']?\s*[=:]\s*)({_VALUE})")
_SCHEME: Final = re.compile(r"(?i)\b(basic|bearer|negotiate)\s+[A-Za-z0-9+/=._~-]{6,}")
_PERSON_NAME: Final = re.compile(r"[^\s\"'=\\]+\^[^\s\"'=]*")
_URL: Final = re.compile(r"(://)[^/@\s:]+(?::[^/@\s]*)?@")
_SECRET_KEY: Final = re.compile(rf"(?i)(?:{_NAMES})$")


def masked_line(line: str) -> str:
    """A log line, human or JSON, with what it says of people and logins as asterisks."""
    line = _SCHEME.sub(rf"\1 {MASK}", line)
    line = _FIELD.sub(rf"\1{MASK}", line)
    line = _PERSON_NAME.sub(MASK, line)
    return _URL.sub(rf"\1{MASK}@", line)


def masked(value: object) -> object:
    """Facts as JSON has them, likewise, by the names of their keys."""
    if isinstance(value, dict):
        return {
            key: MASK if _SECRET_KEY.match(str(key)) and one not in ("", None, {}, []) else masked(one)
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [masked(one) for one in value]
    return _PERSON_NAME.sub(MASK, value) if isinstance(value, str) else value
