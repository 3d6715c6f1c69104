"""The data folder that a command works on: its options, and the settings that they and the file make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dicomwire.node.settings import Settings

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="F", help="TOML file; dicomwire.toml in this folder without it."),
]
Data = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="Data folder; without it node.data.")
]


@dataclass(frozen=True, slots=True)
class Where:
    """Options that name a data folder."""

    data: Data = None
    config: Config = None

    def settings(self) -> Settings:
        """The node's settings, with this folder. Raises: ConfigurationError."""
        from dicomwire.node import configuration

        return configuration.load(file=self.config, flags={"node.data": self.data}).settings
