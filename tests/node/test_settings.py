"""Settings: what they may be, and what they are without anything being said."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dicomwire.node.settings import Settings


def refusal(**values: object) -> str:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(values)
    return str(caught.value)


def test_defaults_are_those_of_the_design() -> None:
    settings = Settings.model_validate({})
    assert settings.node.ae_title == "DICOMWIRE"
    assert str(settings.node.data) == "dicomwire-data"
    assert (settings.dimse.host, settings.dimse.port) == ("127.0.0.1", 11112)
    assert (settings.web.host, settings.web.port) == ("127.0.0.1", 8080)
    assert settings.dimse.maximum_length == 262_144
    assert settings.dimse.on_no_accepted_context == "reject"
    assert settings.dimse.transfer_syntax_policy == "as_proposed"
    assert settings.dimse.limits.associations == 2_000
    timeouts = settings.dimse.timeouts
    assert (timeouts.connect, timeouts.tls, timeouts.artim, timeouts.dimse, timeouts.idle) == (
        10,
        10,
        30,
        60,
        300,
    )
    assert settings.archive.duplicates == "keep"
    assert settings.web.delete is False
    assert settings.web.cors_origins == ()


@pytest.mark.parametrize(
    ("written", "bytes"),
    [("256 KiB", 262_144), ("1MB", 1_000_000), (4096, 4096), ("0 B", 0), ("2 GiB", 2 << 30)],
)
def test_sizes_take_units(written: object, bytes: int) -> None:
    assert Settings.model_validate({"dimse": {"maximum_length": written}}).dimse.maximum_length == bytes


@pytest.mark.parametrize(
    "origin", ["viewer.example", "https://viewer.example/", "https://a/b", "https://", ""]
)
def test_an_origin_that_no_browser_sends_is_refused(origin: str) -> None:
    assert "SCHEME://HOST[:PORT]" in refusal(web={"cors_origins": [origin]})


def test_an_origin_is_in_lower_case_as_browsers_send_it() -> None:
    written = ["HTTPS://Viewer.Example:8443", "*", "null"]
    settings = Settings.model_validate({"web": {"cors_origins": written}})
    assert settings.web.cors_origins == ("https://viewer.example:8443", "*", "null")


def test_a_size_with_an_unknown_unit_is_refused() -> None:
    assert "unknown unit 'parsecs'" in refusal(dimse={"maximum_length": "12 parsecs"})


@pytest.mark.parametrize("title", ["", "   ", "SEVENTEEN-LETTERS", "BACK\\SLASH", "TAB\t", "UMLAUT-Ü"])
def test_ae_titles_that_are_none_are_refused(title: str) -> None:
    assert "AE title" in refusal(node={"ae_title": title})


def test_ae_titles_lose_their_padding() -> None:
    assert Settings.model_validate({"node": {"ae_title": " PACS  "}}).node.ae_title == "PACS"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"dimse": {"maximum_length": 100}}, "at least 4096"),
        ({"dimse": {"port": 65_536}}, "65535"),
        ({"dimse": {"timeouts": {"artim": 0}}}, "greater than 0"),
        ({"dimse": {"extra_sop_classes": ["1..2"]}}, "UID"),
        ({"dimse": {"tls": {"key": "key.pem"}}}, "certificate"),
        ({"identity": {"required": True}}, "nobody can log in"),
        ({"identity": {"users": [{"name": "ann", "password": "secret"}]}}, "Argon2"),
        ({"peers": [{"ae_title": "A", "host": "h"}]}, "host and port belong together"),
        ({"peers": [{"ae_title": "A"}, {"ae_title": "A"}]}, "two [[peers]]"),
        ({"ae_titles": [{"ae_title": "DICOMWIRE"}]}, "two [[ae_titles]]"),
        ({"ae_titles": [{"ae_title": "B", "peers": ["NOBODY"]}]}, "no [[peers]]"),
        ({"peers": [{"ae_title": "A", "addresses": ["not-an-address"]}]}, "not-an-address"),
        ({"peers": [{"ae_title": "A", "character_set": "klingon"}]}, "no Specific Character Set"),
        ({"archive": {"catalogue": "mysql://x"}}, "postgresql://"),
        ({"archive": {"segments": "tape"}}, "s3://"),
        ({"web": {"public_url": "example.org"}}, "http"),
    ],
)
def test_what_cannot_be_is_refused_with_words(values: dict[str, object], words: str) -> None:
    assert words in refusal(**values)


def test_secrets_are_in_no_repr() -> None:
    settings = Settings.model_validate({"peers": [{"ae_title": "A", "password": "hush"}]})
    assert "hush" not in repr(settings)


def test_an_ipv6_host_may_stand_in_brackets() -> None:
    assert Settings.model_validate({"dimse": {"host": "[::1]"}}).dimse.host == "::1"
