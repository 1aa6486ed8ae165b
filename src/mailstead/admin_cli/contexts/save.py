"""SAVE CONFIG and SHOW Config: the running configuration as a file (CFG-01).

Invariants: changes are durable at COMMIT already, so SAVE loses nothing when it is not given; the file never holds secrets; a
file that was named is never overwritten, a suffix is added.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from mailstead.admin_cli.context import CliContext, Command, Result, make
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.responses import Reply, lines_of
from mailstead.admin_cli.services import AdminServices
from mailstead.admin_cli.syntax import Arguments
from mailstead.directory.configuration import as_toml, read_configuration
from mailstead.directory.service import Directory
from mailstead.settings.actor import Actor

DEFAULT_NAME = "run/mailstead-config.toml"
SAVES_OF_A_SECOND = 100
"""Files of one name that are made within a second at most."""


def configuration_text(directory: Directory, actor: Actor) -> str:
    """The running configuration without accounts and secrets, as far as an administrator may see it."""
    root = read_configuration(directory.database)
    domains = root.children.get("domains", {})
    root.children["domains"] = {key: node for key, node in domains.items() if actor.sees(node.number)}
    if not actor.may("manageAdminACL"):
        for name in ("administrators", "administratorGroups"):
            root.children.pop(name, None)
    return as_toml(root, ())


def save_commands() -> list[Command]:
    """SAVE Config."""
    return [make("SAVE Config [<path>]", "writes the running configuration to a file", save)]


async def save(context: CliContext, arguments: Arguments) -> Result:
    """SAVE Config: relative paths lie under the data directory; with a path a suffix makes the name a new one."""
    services = context.session.services
    if not context.session.actor.may("manageServerConfig") and "path" not in arguments:
        return Reply(notes=("what was committed is kept already",))
    given = arguments.get("path", "")
    if given and not context.session.actor.everything:
        raise CommandError("only an administrator with every right may name a file")
    target = services.data_dir / (given or DEFAULT_NAME)
    try:
        written = await asyncio.to_thread(_save, services.directory, target, bool(given))
    except (OSError, ValueError) as error:
        raise CommandError(f"the configuration cannot be written: {getattr(error, 'strerror', None) or error}") from error
    told = f"written to {written.resolve()}"
    # Programs send SAVE CONFIG without a path, and read the first line as the status.
    return Reply(notes=(told,)) if given else Reply(text=told)


async def show_config(context: Any, arguments: Arguments) -> Result:
    """SHOW Config."""
    text = await asyncio.to_thread(configuration_text, context.session.services.directory, context.session.actor)
    return Reply(["", *lines_of(text), ""])


def _save(directory: Directory, path: Path, new: bool) -> Path:
    """Write the file, a `new` one with the time as its suffix, and a number when that is taken; its path."""
    text = configuration_text(directory, Actor.system())
    if not new:
        _write(path, text, False)
        return path
    first = path.with_name(f"{path.name}.{time.strftime('%Y%m%d%H%M%S')}")
    for number in range(SAVES_OF_A_SECOND):
        named = first.with_name(f"{first.name}.{number}") if number else first
        with contextlib.suppress(FileExistsError):
            _write(named, text, True)
            return named
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(first))


def _write(path: Path, text: str, new: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A draft of its own for each: two who write at once must not write into one.
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        if new:
            os.link(draft, path)  # refused where the file is there already
        else:
            os.replace(draft, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)


def write_domain(services: AdminServices, name: str) -> Path:
    """Write one domain's configuration, with its accounts, under run/; the file's path. Raises OSError."""
    root = read_configuration(services.directory.database, accounts=True)
    domains = root.children.get("domains", {})
    root.fields, root.tables = {}, {}
    root.children = {"domains": {key: node for key, node in domains.items() if node.key == (name,)}}
    path = services.data_dir / "run" / f"domain-{name}.toml"
    _write(path, as_toml(root, ()), False)
    return path
