"""Settings from file, environment and flags: which wins, what is unknown, what was meant."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from dicomwire.errors import ConfigurationError
from dicomwire.node import configuration
from dicomwire.node.configuration import load, plain, schema
from dicomwire.node.settings import Settings
from dicomwire.node.show import toml


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(text: str, path: str = "dicomwire.toml") -> Path:
    Path(path).write_text(text)
    return Path(path)


def faults(file: Path | None = None, flags: dict[str, object] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(file=file, flags=flags)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("file", "variable", "flag", "port", "origin"),
    [
        (None, None, None, 11112, None),
        (1, None, None, 1, "dicomwire.toml"),
        (None, "2", None, 2, "DICOMWIRE_DIMSE__PORT"),
        (None, None, 3, 3, "flag"),
        (1, "2", None, 2, "DICOMWIRE_DIMSE__PORT"),
        (1, None, 3, 3, "flag"),
        (None, "2", 3, 3, "flag"),
        (1, "2", 3, 3, "flag"),
    ],
)
def test_flags_are_over_the_environment_and_that_over_the_file(
    file: int | None,
    variable: str | None,
    flag: int | None,
    port: int,
    origin: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if file is not None:
        written(f"[dimse]\nport = {file}\n")
    if variable is not None:
        monkeypatch.setenv("DICOMWIRE_DIMSE__PORT", variable)
    loaded = load(flags={"dimse.port": flag})
    assert loaded.settings.dimse.port == port
    assert loaded.origins.get("dimse.port") == origin


def test_sources_are_merged_key_by_key(monkeypatch: pytest.MonkeyPatch) -> None:
    written('[dimse]\nhost = "::1"\n[dimse.timeouts]\nidle = 5\n')
    monkeypatch.setenv("DICOMWIRE_DIMSE__TIMEOUTS__DIMSE", "7")
    dimse = load(flags={"dimse.port": 4}).settings.dimse
    assert (dimse.host, dimse.port, dimse.timeouts.idle, dimse.timeouts.dimse) == ("::1", 4, 5, 7)


def test_a_file_can_be_named_by_flag_or_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    written('[node]\nae_title = "HERE"\n')
    other = written('[node]\nae_title = "OTHER"\n', "other.toml")
    monkeypatch.setenv("DICOMWIRE_CONFIG", str(other))
    assert load().settings.node.ae_title == "OTHER"
    assert load(file=Path("dicomwire.toml")).settings.node.ae_title == "HERE"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[node]\nae_titel = "X"', "node.ae_titel: unknown key; did you mean 'ae_title'?"),
        ("[dims]\nport = 1", "dims: unknown key; did you mean 'dimse'?"),
        ("port = 1", "port: unknown key; did you mean 'dimse.port'?"),
        ("[dimse.timeouts]\nartm = 1", "dimse.timeouts.artm: unknown key; did you mean 'artim'?"),
        ('[[peers]]\nae_title = "A"\nhots = "x"', "peers[0].hots: unknown key; did you mean 'host'?"),
        ("[node]\nxyzzy = 1", "node.xyzzy: unknown key"),
        ('[[peers]]\nhost = "x"\nport = 1', "peers[0].ae_title: must be set"),
        ("[dimse]\nport = 70000", "dimse.port: should be less than or equal to 65535, got 70000"),
    ],
)
def test_an_unknown_key_in_the_file_is_an_error_with_a_suggestion(text: str, fault: str) -> None:
    written(text)
    assert faults() == [f"dicomwire.toml: {fault}"]


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("DICOMWIRE_DIMSE__PRT", "1", "no such setting; did you mean DICOMWIRE_DIMSE__PORT?"),
        ("DICOMWIRE_DIMES__PORT", "1", "no such setting; did you mean DICOMWIRE_DIMSE__PORT?"),
        ("DICOMWIRE_AE_TITLE", "X", "no such setting; did you mean DICOMWIRE_NODE__AE_TITLE?"),
        ("DICOMWIRE_DIMSE_PORT", "1", "no such setting; did you mean DICOMWIRE_DIMSE__PORT?"),
        ("DICOMWIRE_XYZZY", "1", "no such setting"),
        ("DICOMWIRE_PEERS", "nonsense", "tables and lists are written as JSON"),
    ],
)
def test_an_unknown_variable_is_an_error_with_a_suggestion(
    name: str, value: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    (line,) = faults()
    assert line.startswith(f"environment variable {name}: {fault}")


def test_every_fault_is_told_at_once() -> None:
    written('[node]\nae_titel = "X"\n[dimse]\nport = -1\n')
    assert len(faults()) == 2


def test_a_wrong_value_names_the_variable_it_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOMWIRE_DIMSE__PORT", "many")
    (line,) = faults()
    assert line.startswith("DICOMWIRE_DIMSE__PORT: dimse.port: ")
    assert "'many'" in line


def test_a_wrong_secret_is_not_repeated() -> None:
    written('[[identity.users]]\nname = "ann"\npassword = "hush-hush"\n')
    assert "hush-hush" not in "\n".join(faults())


def test_lists_in_the_environment_are_json_or_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOMWIRE_DIMSE__EXTRA_SOP_CLASSES", "1.2.3, 4.5")
    monkeypatch.setenv("DICOMWIRE_PEERS", '[{"ae_title": "A", "host": "h", "port": 104}]')
    settings = load().settings
    assert settings.dimse.extra_sop_classes == ("1.2.3", "4.5")
    assert settings.peers[0].port == 104


def test_a_file_that_is_missing_or_no_toml_is_one_line() -> None:
    assert faults(Path("absent.toml")) == ["absent.toml: No such file or directory"]
    (line,) = faults(written("= what"))
    assert line.startswith("dicomwire.toml: not TOML: ")


def test_what_is_shown_is_toml_that_loads_to_the_same_settings() -> None:
    written('[node]\nae_title = "PACS"\n[[peers]]\nae_title = "A"\n[peers.timeouts]\nidle = 3\n')
    loaded = load()
    text = toml(plain(loaded.settings), loaded.origins)
    assert 'ae_title = "PACS"  # dicomwire.toml' in text
    assert Settings.model_validate(tomllib.loads(text)) == loaded.settings


def test_what_is_shown_holds_no_secret() -> None:
    written(
        '[archive]\ncatalogue = "postgresql://ann:hush@db/dicom"\n'
        '[[peers]]\nae_title = "A"\npassword = "hush"\nuser = "ann"\n'
        '[identity.jwt]\nsecret = "hushhushhushhush"\n'
    )
    text = toml(plain(load().settings), {})
    assert "hush" not in text
    assert f"ann:{configuration.MASK}@db" in text


def test_the_schema_describes_every_section() -> None:
    properties = schema()["properties"]
    assert isinstance(properties, dict)
    assert set(properties) == set(Settings.model_fields)
