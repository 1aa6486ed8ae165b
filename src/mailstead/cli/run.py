"""`mailstead run`: loads only what it takes to become the supervisor."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from pathlib import Path

import click

from mailstead.cli.bootstrap_option import config_option, explained, find, remedy_for_root, serves_as_root
from mailstead.observe import log
from mailstead.process import launch


@click.command()
@config_option
@click.option("--workers", type=click.IntRange(0, 30), help="Worker processes; 0: everything in one process.")
@click.option("--log-level", type=click.Choice(sorted(log.LEVELS)), default="information", show_default=True)
@click.option("--log-style", type=click.Choice(["json", "text"]), default="json", show_default=True)
@click.option("--log-file", type=click.Path(path_type=Path), help="Append to this file instead of standard error.")
def run(config: Path | None, workers: int | None, log_level: str, log_style: str, log_file: Path | None) -> None:
    """Serve in the foreground until told to stop (SIGTERM); SIGHUP reloads."""
    bootstrap = find(config)
    configure_log(log_level, log_style, log_file)
    if log_file and bootstrap.user and os.geteuid() == 0:
        # The processes open it by themselves after they have given up root's rights.
        with explained(), contextlib.suppress(LookupError):  # an unknown user is told of a little later
            shutil.chown(log_file, bootstrap.user)
    if os.geteuid() == 0 and serves_as_root(bootstrap):
        log.get_logger("SERVER").warning("the server runs as root", do=remedy_for_root(bootstrap))
    with explained():
        status = launch.run(bootstrap, bootstrap.worker_count() if workers is None else workers)
    sys.exit(status)


def configure_log(level: str, style: str, path: Path | None) -> None:
    """Here and, through the environment, in every child process."""
    os.environ["MAILSTEAD_LOG_STYLE"] = style
    os.environ["MAILSTEAD_LOG_LEVEL"] = level
    os.environ["MAILSTEAD_LOG_FILE"] = str(path.resolve()) if path else ""
    with explained():
        log.configure_from_environment("main")
