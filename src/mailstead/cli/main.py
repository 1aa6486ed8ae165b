"""The command group."""

from __future__ import annotations

import click

from mailstead import __version__
from mailstead.cli.accounts import user
from mailstead.cli.administrators import admin
from mailstead.cli.backup import backup
from mailstead.cli.configuration import listener, setting
from mailstead.cli.configuration_files import config
from mailstead.cli.domains import domain
from mailstead.cli.history import history
from mailstead.cli.import_mail import import_mail
from mailstead.cli.maintenance import doctor, export, fsck, support
from mailstead.cli.migration import migrate
from mailstead.cli.reindex import reindex
from mailstead.cli.restore import restore
from mailstead.cli.serve import demo, init, run
from mailstead.cli.undelete import undelete
from mailstead.cli.unique_ids import pop3_ids


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Mailstead: one server for mail and collaboration."""


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"mailstead {__version__}")


user.add_command(pop3_ids)
for command in (
    admin,
    init, run, demo, user, domain, setting, listener, config, history,
    export, fsck, reindex, doctor, support, backup, restore, undelete, migrate, import_mail,
):  # fmt: skip
    main.add_command(command)
