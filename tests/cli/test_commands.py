"""Every command: exit statuses, errors in one line, JSON, and that it is documented."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from argon2 import PasswordHasher

from dicomwire import __version__
from dicomwire.cli.main import app
from tests.cli.conftest import Run

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "cli.md"
SERVE_FLAGS = (
    "--config",
    "--data",
    "--host",
    "--dimse-port",
    "--http-port",
    "--ae-title",
    "--workers",
    "--open",
)


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command with its flags."""
    yield from _commands(typer.main.get_command(app), "dicomwire")


def _commands(command: object, name: str) -> Iterator[tuple[str, list[str]]]:
    below = getattr(command, "commands", None)
    if below is None:
        flags = [flag for parameter in command.params for flag in parameter.opts if flag.startswith("--")]  # type: ignore[attr-defined]
        yield name, [flag for flag in flags if flag != "--help"]
        return
    for each, inner in below.items():
        yield from _commands(inner, f"{name} {each}")


def _leaves(command: object) -> Iterator[object]:
    below = getattr(command, "commands", None)
    if below is None:
        yield command
    else:
        for each in below.values():
            yield from _leaves(each)


def _helps(command: object) -> Iterator[str]:
    yield getattr(command, "help", None) or ""
    for parameter in command.params:  # type: ignore[attr-defined]
        yield getattr(parameter, "help", None) or ""


@pytest.mark.parametrize(("name", "flags"), list(commands()), ids=lambda value: str(value)[:40])
def test_every_command_and_flag_is_documented(name: str, flags: list[str]) -> None:
    sections = DOCUMENTATION.read_text().split("\n## ")
    section = next((each for each in sections if each.startswith(f"`{name}")), "")
    assert section, f"docs/cli.md has no section `{name}`"
    shared = next(each for each in sections if each.startswith("Flags that many commands share"))
    assert [flag for flag in flags if f"`{flag}" not in section + shared] == []


def test_serve_has_exactly_the_flags_of_the_contract() -> None:
    flags = dict(commands())["dicomwire serve"]
    assert sorted(flags) == sorted([*SERVE_FLAGS, "--verbose"])


def test_without_a_command_the_help_is_shown(run: Run) -> None:
    result = run()
    assert result.status == 2
    assert "serve" in result.out + result.err


def test_an_unknown_command_or_flag_is_wrong_use(run: Run) -> None:
    assert run("nonsense").status == 2
    assert run("echo", "A@h:1", "--nonsense").status == 2


def test_version_tells_what_runs(run: Run) -> None:
    assert run("version").out.startswith(f"dicomwire {__version__}\n")
    facts = json.loads(run("version", "--json").out)
    assert facts["dicomwire"] == __version__
    assert run("--version").out == f"dicomwire {__version__}\n"
    assert facts["sqlite"]
    assert facts["libraries"]["pydicom"]


def test_uids_lists_all_of_an_edition(run: Run) -> None:
    facts = json.loads(run("uids", "--json").out)
    assert len(facts["sop_classes"]) == 323
    assert len(facts["transfer_syntaxes"]) == 63
    assert len(json.loads(run("uids", "--json", "--edition", "2025").out)["sop_classes"]) == 320


def test_uids_searches_by_words(run: Run) -> None:
    result = run("uids", "ct", "image", "storage")
    assert result.status == 0
    assert "1.2.840.10008.5.1.4.1.1.2\tCT Image Storage\t" in result.out
    only = run("uids", "jpeg", "--kind", "transfer-syntax")
    assert "SOP Class" not in only.out


def test_uids_that_do_not_exist_are_status_1(run: Run) -> None:
    assert run("uids", "xyzzy").status == 1
    assert run("uids", "--edition", "1993").status == 2


def test_config_check_says_what_is_wrong(run: Run, tmp_path: Path) -> None:
    assert run("config", "check").status == 0
    (tmp_path / "dicomwire.toml").write_text('[node]\nae_titel = "X"\n')
    wrong = run("config", "check")
    assert wrong.status == 2
    assert wrong.err == "dicomwire: dicomwire.toml: node.ae_titel: unknown key; did you mean 'ae_title'?\n"
    assert json.loads(run("config", "check", "--json").out) == {
        "ok": False,
        "faults": ["dicomwire.toml: node.ae_titel: unknown key; did you mean 'ae_title'?"],
    }


def test_config_check_refuses_what_serve_would(run: Run, tmp_path: Path) -> None:
    (tmp_path / "dicomwire.toml").write_text('[dimse]\nhost = "0.0.0.0"\n')
    assert run("config", "check").status == 2


def test_config_show_masks_secrets_and_names_origins(run: Run, tmp_path: Path) -> None:
    text = '[dimse]\nport = 104\n[[peers]]\nae_title = "A"\npassword = "hush"\n'
    (tmp_path / "dicomwire.toml").write_text(text)
    shown = run("config", "show").out
    assert "port = 104  # dicomwire.toml" in shown
    assert "hush" not in shown
    facts = json.loads(run("config", "show", "--json").out)
    assert facts["settings"]["dimse"]["port"] == 104
    assert facts["origins"]["dimse.port"] == "dicomwire.toml"


def test_config_hash_reads_a_password_from_a_pipe(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("se cret\n"))
    hashed = run("config", "hash")
    assert (hashed.status, hashed.err) == (0, "")
    assert PasswordHasher().verify(hashed.out.strip(), "se cret")
    assert run("config", "hash").status == 2  # the pipe has nothing more


def test_help_shows_every_word_of_its_source() -> None:
    # The help reads what stands in brackets as markup and drops it.
    texts = [text for command in _leaves(typer.main.get_command(app)) for text in _helps(command)]
    assert len(texts) > 100
    assert [text for text in texts if "[[" in text] == []


def test_config_schema_is_json(run: Run) -> None:
    assert "dimse" in json.loads(run("config", "schema").out)["properties"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--workers", "2"), "node.workers"),
        (("--host", "0.0.0.0"), "--open"),
        (("--dimse-port", "70000"), "flag: dimse.port: should be less than or equal to 65535, got 70000"),
        (("--ae-title", "SEVENTEEN-LETTERS"), "16 characters"),
        (("--config", "absent.toml"), "absent.toml: No such file or directory"),
    ],
)
def test_serve_refuses_what_cannot_be_in_a_line(run: Run, arguments: tuple[str, ...], words: str) -> None:
    result = run("serve", *arguments)
    assert result.status == 2
    assert words in result.err
    assert "Traceback" not in result.err
    assert result.out == ""


def test_errors_come_with_a_traceback_only_when_asked(run: Run) -> None:
    assert "Traceback" not in run("echo", "A@127.0.0.1:1").err
    assert "Traceback" in run("echo", "A@127.0.0.1:1", "--verbose").err


def test_echo_to_nobody_is_status_1_in_one_line(run: Run) -> None:
    result = run("echo", "A@127.0.0.1:1")
    assert result.status == 1
    assert result.err.startswith("dicomwire: ")
    assert result.err.count("\n") == 1


def test_echo_to_no_address_is_wrong_use(run: Run) -> None:
    assert run("echo", "no-port-here").status == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--password", "x"), "--password needs --user"),
        (("--user", "ann", "--token-file", "f"), "--user and --token-file are 2 logins"),
        (("--kerberos-file", "f", "--saml-file", "g"), "2 logins"),
        (("--kerberos-file", "absent"), "absent: No such file"),
        (("--saml-file", "/dev/null"), "0 bytes"),
        (("--tls-ca", "absent.pem"), "absent.pem"),
        (("--token-file", "absent"), "absent"),
    ],
)
def test_flags_that_cannot_be_are_wrong_use(run: Run, arguments: tuple[str, ...], words: str) -> None:
    result = run("echo", "A@127.0.0.1:1", *arguments)
    assert result.status == 2
    assert words in result.err


def test_send_of_a_file_that_is_not_there_is_wrong_use(run: Run) -> None:
    result = run("send", "A@127.0.0.1:1", "absent.dcm")
    assert result.status == 2
    assert result.err == "dicomwire: absent.dcm: no such file or folder\n"


def test_send_of_nothing_is_status_1(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = run("send", "A@127.0.0.1:1", "empty")
    assert result.status == 1
    assert "nothing to send" in result.out


def test_the_module_is_the_command() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "dicomwire", "version"], capture_output=True, text=True, check=True
    )
    assert ran.stdout.startswith("dicomwire ")


def test_a_reader_that_has_enough_is_no_failure() -> None:
    command = f"{sys.executable} -m dicomwire uids | head -n 1"
    ran = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in ran.stderr
    assert "BrokenPipe" not in ran.stderr


def test_a_command_that_needs_no_node_loads_none() -> None:
    code = (
        "import sys; import dicomwire.cli.main; "
        "heavy = {'sqlalchemy', 'starlette', 'uvicorn', 'pydantic_settings', 'httpx', 'rich.progress', "
        "'pydicom', 'numpy', 'alembic', 'structlog', 'dicomwire.dicom', 'dicomwire.services', "
        "'dicomwire.archive', 'dicomwire.node'}; print(sorted(heavy & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
