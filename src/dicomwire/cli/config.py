"""`dicomwire config`: check, show and describe the settings."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from dicomwire.cli.output import Json, Stop, show_json

app = typer.Typer(help="Check, show and describe the settings.", no_args_is_help=True)

File = Annotated[
    Path | None,
    typer.Option("--config", metavar="F", help="TOML file; dicomwire.toml in this folder without it."),
]


@app.command()
def check(*, config: File = None, as_json: Json = False) -> None:
    """Read the settings as `serve` would and say what is wrong with them. Exit status 2: something is."""
    from dicomwire.errors import ConfigurationError
    from dicomwire.node import configuration, exposure

    try:
        loaded = configuration.load(file=config)
        faults = (*exposure.unavailable(loaded.settings), *exposure.refusals(loaded.settings))
    except ConfigurationError as error:
        faults = tuple(str(error).splitlines())
    if as_json:
        show_json({"ok": not faults, "faults": list(faults)})
        if faults:
            raise typer.Exit(2)
        return
    if faults:
        raise Stop("\n".join(faults), 2)
    print(f"The settings are fine: {loaded.file or 'no file, defaults'}, {len(loaded.origins)} values set.")


@app.command()
def show(*, config: File = None, as_json: Json = False) -> None:
    """Show every setting with its value, secrets masked, and where it came from when it is no default."""
    from dicomwire.node import configuration
    from dicomwire.node.show import toml

    loaded = configuration.load(file=config)
    tree = configuration.plain(loaded.settings)
    if as_json:
        show_json({"settings": tree, "origins": dict(loaded.origins)})
    else:
        print(toml(tree, loaded.origins), end="")


@app.command()
def schema() -> None:
    """Print the JSON Schema of dicomwire.toml, for editors."""
    from dicomwire.node import configuration

    print(json.dumps(configuration.schema(), indent=2))


@app.command("hash")
def hash_password() -> None:
    """Ask for a password and print its Argon2 hash, as identity.users takes it; from a pipe, one line."""
    from argon2 import PasswordHasher

    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise Stop("no password was given", 2)
    print(PasswordHasher().hash(password))
