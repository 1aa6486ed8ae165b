"""The password of an administrator: from the command line, the environment or the terminal.

Invariants: it is read from a terminal that does not show it, or not at all; one that is too short is refused.
"""

from __future__ import annotations

import getpass
import warnings

import click

VARIABLE = "MAILSTEAD_ADMIN_PASSWORD"
HELP = f"Better given by the prompt or {VARIABLE}."
MIN_LENGTH = 8


def wanted(given: str | None, prompt: str = "Password") -> str:
    """`given`, or what is typed twice. Raises ClickException: too short, or nobody to ask."""
    if given is None:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)  # it would read on from anywhere, and show what is typed
            try:
                given = str(click.prompt(prompt, hide_input=True, confirmation_prompt=True))
            except getpass.GetPassWarning:
                raise click.ClickException(f"no terminal to ask for the administrator's password; set {VARIABLE}") from None
    if len(given) < MIN_LENGTH:
        raise click.ClickException(f"an administrator's password must have at least {MIN_LENGTH} characters")
    return given
