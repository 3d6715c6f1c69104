"""`AE@HOST:PORT`, read strictly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomwire.cli.address import Address, AddressError, is_url, parse


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("PACS@host:104", Address("PACS", "host", 104)),
        ("ORTHANC@127.0.0.1:4242", Address("ORTHANC", "127.0.0.1", 4242)),
        ("A@[::1]:11112", Address("A", "::1", 11112)),
        ("A@[fe80::1%eth0]:104", Address("A", "fe80::1%eth0", 104)),
        ("WITH SPACE@h:1", Address("WITH SPACE", "h", 1)),
        ("AT@SIGN@h:65535", Address("AT@SIGN", "h", 65535)),
    ],
)
def test_addresses_are_read(text: str, address: Address) -> None:
    assert parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no AE title"),
        ("host:104", "names no AE title"),
        ("@host:104", "names no AE title"),
        ("   @host:104", "names no AE title"),
        ("A@host", "names no port"),
        ("A@host:", "names no port"),
        ("A@:104", "names no host"),
        ("A@ho st:104", "names no host"),
        ("A@host:0", "is no port"),
        ("A@host:65536", "is no port"),
        ("A@host:104x", "is no port"),
        ("A@host:-1", "is no port"),
        ("A@host:١٠٤", "is no port"),
        ("A@host:99999999999999999999", "is no port"),
        ("A@::1:104", "in brackets"),
        ("A@[::1:104", "brackets hold"),
        ("A@[host]:104", "brackets hold"),
        ("A@[::1]104", "names no port"),
        ("A@[::1]", "names no port"),
        ("SEVENTEEN-LETTERS@h:1", "at most 16"),
        ("BACK\\SLASH@h:1", "no backslash"),
        ("TAB\t@h:1", "printable"),
        ("A@host/path:104", "names no host"),
    ],
)
def test_what_is_no_address_is_refused_with_words(text: str, words: str) -> None:
    with pytest.raises(AddressError, match=words):
        parse(text)


@given(st.text())
def test_any_text_is_an_address_or_an_error(text: str) -> None:
    try:
        address = parse(text)
    except AddressError:
        return
    assert parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "url"), [("http://h/x", True), ("HTTPS://h", True), ("A@h:1", False), ("ftp://h", False)]
)
def test_a_url_is_told_from_an_address(text: str, url: bool) -> None:
    assert is_url(text) is url
