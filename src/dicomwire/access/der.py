"""Distinguished Encoding Rules, as much as a Kerberos message needs (ITU-T X.690 8, 10; RFC 4120 5).

Definite lengths and tags of one byte only. Nothing is built: a reader walks over the bytes and says where and
why they are not what was expected.
"""

from __future__ import annotations

from dicomwire.errors import CredentialsError

INTEGER = 0x02
OCTET_STRING = 0x04
OBJECT_IDENTIFIER = 0x06
GENERAL_STRING = 0x1B
SEQUENCE = 0x30
APPLICATION = 0x60  # constructed, with the number added
CONTEXT = 0xA0

LONGEST_LENGTH = 4  # bytes of a length; item 58H itself counts with two


class Reader:
    """Values one after the other in a part of some bytes.

    Attributes:
        position: of the next value, from the first byte of all.
    """

    def __init__(self, data: bytes, start: int = 0, stop: int | None = None) -> None:
        self._data = data
        self.position = start
        self._stop = len(data) if stop is None else stop

    def __bool__(self) -> bool:
        return self.position < self._stop

    def peek(self) -> int:
        """The tag of the next value, -1 at the end."""
        return self._data[self.position] if self else -1

    def enter(self, tag: int, field: str) -> Reader:
        """The inside of the next value, which must have this tag.

        Raises: CredentialsError, when there is none, another, or one that is longer than what is left.
        """
        at = self.position
        found = self.peek()
        if found != tag:
            got = "nothing" if found < 0 else f"tag {found:02X}H"
            raise CredentialsError(f"{field}: {got}, tag {tag:02X}H is wanted", at, field=field)
        start, length = self._length(at + 1, field)
        if length > self._stop - start:
            raise CredentialsError(
                f"{field} says {length} bytes, {self._stop - start} remain", at, field=field
            )
        self.position = start + length
        return Reader(self._data, start, self.position)

    def context(self, number: int, field: str) -> Reader | None:
        """The inside of an explicit context tag; None where the next value has another."""
        return self.enter(CONTEXT | number, field) if self.peek() == CONTEXT | number else None

    def integer(self, field: str) -> int:
        """The next value as an integer."""
        return int.from_bytes(self.enter(INTEGER, field).rest(), "big", signed=True)

    def text(self, field: str) -> str:
        """The next value as a KerberosString; what is not UTF-8 in it is shown as such (RFC 4120 5.2.1)."""
        return self.enter(GENERAL_STRING, field).rest().decode("utf-8", "backslashreplace")

    def rest(self) -> bytes:
        """All bytes that are left."""
        start, self.position = self.position, self._stop
        return self._data[start : self._stop]

    def _length(self, at: int, field: str) -> tuple[int, int]:
        """Where the value begins, and how long it is."""
        if at >= self._stop:
            raise CredentialsError(f"{field} has no length", at, field=field)
        first = self._data[at]
        if first < 0x80:
            return at + 1, first
        count = first & 0x7F
        if not 1 <= count <= LONGEST_LENGTH or at + count >= self._stop:
            raise CredentialsError(f"{field} has no definite length", at, field=field)
        return at + 1 + count, int.from_bytes(self._data[at + 1 : at + 1 + count], "big")
