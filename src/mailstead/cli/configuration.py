"""`mailstead setting` and `mailstead listener`: what a server does, changed from the command line.

Invariants: values are checked by their declarations; a running server follows a change by itself; secrets are never shown.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from mailstead.cli.bootstrap_option import config_option, find
from mailstead.cli.check_certificates import certificate_fault
from mailstead.cli.data_directory import opened
from mailstead.settings import Actor
from mailstead.settings.declarations import LISTENER, LISTENING_SERVICES, SERVICE_CONTEXTS
from mailstead.settings.references import NOTHING
from mailstead.settings.suggestion import meant

ACTOR = Actor.system("command line")
SERVICES = tuple(sorted(LISTENING_SERVICES - {"global"}))


@click.group()
def setting() -> None:
    """Settings of the server and its services."""


@setting.command("list")
@config_option
@click.argument("context", required=False, type=click.Choice(sorted(SERVICE_CONTEXTS)), metavar="[CONTEXT]")
@click.option("--changed", is_flag=True, help="Only those that differ from their defaults.")
def show(config: Path | None, context: str | None, changed: bool) -> None:
    """List settings with their values and meanings."""
    with opened(config) as directory:
        for name in [context] if context else sorted(SERVICE_CONTEXTS):
            values = directory.settings.service(name)
            for declared in SERVICE_CONTEXTS[name].settings:
                value = getattr(values, declared.name)
                if changed and value == declared.default:
                    continue
                text = "********" if declared.secret and value else declared.render(value)
                unit = f" {declared.unit}" if declared.unit else ""
                click.echo(f"{name}.{declared.name} = {text}\n    {declared.help}{unit and ';' + unit}")


def _check_name(context: str, name: str) -> None:
    """Raises ClickException with the nearest name, where the context has none of that name."""
    declared = SERVICE_CONTEXTS[context]
    if name.lower() not in declared.by_name:
        raise click.ClickException(f"{context} has no setting {name!r}{meant(name, [one.name for one in declared.settings])}")


@setting.command("set")
@config_option
@click.argument("context", type=click.Choice(sorted(SERVICE_CONTEXTS)), metavar="CONTEXT")
@click.argument("name")
@click.argument("value", nargs=-1, required=True, metavar="VALUE...")
def change(config: Path | None, context: str, name: str, value: tuple[str, ...]) -> None:
    """Change a setting; a running server follows. Several words are one value."""
    _check_name(context, name)
    with opened(config) as directory:
        asyncio.run(directory.settings.set(context, name, " ".join(value), ACTOR))
    click.echo(f"{context}.{name} is changed.")


@setting.command("reset")
@config_option
@click.argument("context", type=click.Choice(sorted(SERVICE_CONTEXTS)), metavar="CONTEXT")
@click.argument("name")
def reset(config: Path | None, context: str, name: str) -> None:
    """Give a setting its default again."""
    _check_name(context, name)
    with opened(config) as directory:
        asyncio.run(directory.settings.reset(context, name, ACTOR))
    click.echo(f"{context}.{name} has its default.")


@click.group()
def listener() -> None:
    """Addresses and ports the services listen on."""


@listener.command("list")
@config_option
def listeners(config: Path | None) -> None:
    """List the listeners."""
    with opened(config) as directory:
        for service in SERVICES:
            for found in directory.settings.listeners(service):
                marks = [
                    word
                    for word, on in (("TLS", found.sslEnable), ("submission", found.submission), ("disabled", not found.enable))
                    if on
                ]
                click.echo(f"{service}\t{found.address}\t{' '.join(marks)}".rstrip())


def _attributes(pairs: tuple[str, ...]) -> dict[str, str]:
    names = ", ".join(declared.name for declared in LISTENER.settings)
    attributes = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.ClickException(f"{pair}: write NAME=VALUE; names are {names}")
        attributes[name] = value
    return attributes


def _warn_of_certificate(config: Path | None, attributes: tuple[str, ...]) -> None:
    """Say so at once where the file that was named cannot serve; it may be put there later, so it is no refusal."""
    named = [value for name, value in _attributes(attributes).items() if name.lower() == "certfile" and value not in NOTHING]
    for value in named:
        fault = certificate_fault(find(config).data_dir / value)
        if fault:
            text = f"Warning: {fault}. Until it can be used, TLS goes on with the last good file, and not at all after a start."
            click.echo(text, err=True)


@listener.command("add")
@config_option
@click.argument("service", type=click.Choice(SERVICES))
@click.argument("address", metavar="HOST:PORT")
@click.argument("attributes", nargs=-1, metavar="[NAME=VALUE]...")
def add(config: Path | None, service: str, address: str, attributes: tuple[str, ...]) -> None:
    """Add a listener, e.g. `smtpIncoming [::]:465 sslEnable=yes submission=yes`."""
    with opened(config) as directory:
        asyncio.run(directory.settings.add_listener(service, address, _attributes(attributes), ACTOR))
    click.echo(f"{service} listens on {address}.")
    _warn_of_certificate(config, attributes)


@listener.command("set")
@config_option
@click.argument("service", type=click.Choice(SERVICES))
@click.argument("address", metavar="HOST:PORT")
@click.argument("attributes", nargs=-1, required=True, metavar="NAME=VALUE...")
def update(config: Path | None, service: str, address: str, attributes: tuple[str, ...]) -> None:
    """Change a listener, e.g. `imap 0.0.0.0:143 enable=no`."""
    with opened(config) as directory:
        asyncio.run(directory.settings.update_listener(service, address, _attributes(attributes), ACTOR))
    click.echo(f"{service} on {address} is changed.")
    _warn_of_certificate(config, attributes)


@listener.command("remove")
@config_option
@click.argument("service", type=click.Choice(SERVICES))
@click.argument("address", metavar="HOST:PORT")
def remove(config: Path | None, service: str, address: str) -> None:
    """Remove a listener with its rules."""
    with opened(config) as directory:
        asyncio.run(directory.settings.remove_listener(service, address, ACTOR))
    click.echo(f"{service} listens on {address} no more.")
