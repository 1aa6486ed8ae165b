"""DEBUG: the one thing programs ask of it, the help of all contexts in a file.

Invariants: the file lies under run/, whatever path was given; an administrator without every right does not get here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

from mailstead.admin_cli.context import CliContext, Result, SubContext, _table_of, command
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.responses import Reply
from mailstead.admin_cli.syntax import Arguments

_NAME = re.compile(r"[\w][\w.-]{0,80}\Z")


def _kinds(kind: type[CliContext]) -> Iterator[type[CliContext]]:
    for one in kind.__subclasses__():
        yield one
        yield from _kinds(one)


def whole_help() -> str:
    """HELP of every context, as an administrator with every right sees it."""
    found: dict[tuple[str, str], type[CliContext]] = {}
    for kind in _kinds(CliContext):
        title, name = kind.title, kind.__dict__.get("name", "")
        if title and isinstance(name, str):
            found.setdefault((title, name), kind)
    parts = []
    for (title, name), kind in sorted(found.items(), key=lambda item: (item[0][1], item[0][0].lower())):
        lines = [f"The commands of the context {title} {f'<{name}#>' if name else ''}".rstrip() + " are:", ""]
        lines += [
            f"{entry.syntax.form} - {entry.help}" if entry.help else entry.syntax.form
            for entry in _table_of(kind)[0]
            if not entry.hidden
        ]
        parts.append("\n".join([*lines, ""]))
    return "\n".join(parts)


class DebugContext(SubContext):
    """`<debug#>`."""

    name = "debug"
    title = "DEBUG"

    @command("EXEC listCliHelp <path>", "writes the help of all contexts to a file under run/")
    async def list_help(self, arguments: Arguments) -> Result:
        """EXEC listCliHelp."""
        name = Path(arguments["path"]).name
        if not _NAME.match(name):
            raise CommandError("the name of the file has letters, digits, dots and dashes")
        path = self.session.services.data_dir / "run" / f"help-{name}"

        def write() -> None:
            path.parent.mkdir(exist_ok=True)
            path.write_text(whole_help(), encoding="utf-8")

        try:
            await asyncio.to_thread(write)
        except OSError as error:
            raise CommandError(f"the file cannot be written: {error.strerror}") from error
        return Reply(notes=(f"written to {path}",))

    @command("QUIT DEBUG", "leaves this context")
    def quit_debug(self, arguments: Arguments) -> Result:
        """QUIT DEBUG."""
        self.session.leave(self)
        return None
