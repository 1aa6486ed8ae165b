"""REGISTER Domain, the old name of ENABLE Domain: programs that send it send COMMIT after it, so it opens a context.

Invariants: the domain is enabled by COMMIT, and by nothing else here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mailstead.admin_cli.context import COMMITTING, CliContext, Result, SubContext, command
from mailstead.admin_cli.responses import Reply
from mailstead.admin_cli.syntax import Arguments


class DomainRegisterContext(SubContext):
    """`<domain-register#>`."""

    name = "domain-register"
    title = "domain-register"

    def __init__(self, parent: CliContext, enable: Callable[[], Awaitable[Result] | Result]) -> None:
        super().__init__(parent.session, parent)
        self._enable = enable

    @command("COMMIT", "enables the domain and goes to the previous context")
    async def commit(self, arguments: Arguments) -> Result:
        """COMMIT."""
        result = self._enable()
        if isinstance(result, Awaitable):
            await result
        self.session.leave(self)
        return Reply(notes=(COMMITTING,))
