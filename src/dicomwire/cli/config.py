"""`dicomwire config`: check, show and describe the settings."""

from __future__ import annotations

import json
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
    """Ask for a password and print its Argon2 hash, for [[identity.users]]."""
    from argon2 import PasswordHasher

    password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    print(PasswordHasher().hash(password))
