"""The command group. A command's module is loaded when the command is called, or when help is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import click

from mailstead import __version__

#: Where each command is: module in this package, and its name there.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "admin": ("administrators", "admin"),
    "backup": ("backup", "backup"),
    "config": ("configuration_files", "config"),
    "demo": ("serve", "demo"),
    "doctor": ("maintenance", "doctor"),
    "domain": ("domains", "domain"),
    "export": ("maintenance", "export"),
    "fsck": ("maintenance", "fsck"),
    "history": ("history", "history"),
    "import": ("import_mail", "import_mail"),
    "init": ("serve", "init"),
    "listener": ("configuration", "listener"),
    "migrate": ("migration", "migrate"),
    "reindex": ("reindex", "reindex"),
    "restore": ("restore", "restore"),
    "run": ("run", "run"),
    "setting": ("configuration", "setting"),
    "support": ("maintenance", "support"),
    "undelete": ("undelete", "undelete"),
    "user": ("accounts", "user"),
}


class Commands(click.Group):
    """Finds the commands of `COMMANDS` beside those that are added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted."""
        return sorted({*super().list_commands(ctx), *COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, loaded now; None when there is none."""
        place = COMMANDS.get(cmd_name)
        if place is None:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(importlib.import_module(f"mailstead.cli.{place[0]}"), place[1])
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Mailstead: one server for mail and collaboration."""


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"mailstead {__version__}")
