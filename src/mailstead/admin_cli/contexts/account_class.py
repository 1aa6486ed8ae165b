"""Account classes (ACC-02): `<domain-accountClass#>`.

Invariants: a new class exists, with its settings, after its COMMIT.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mailstead.admin_cli.attributes import AttributeContext, Special
from mailstead.admin_cli.context import CliContext, Command, CommitContext, Result, make
from mailstead.admin_cli.contexts.filters import ClassFiltersContext, filters_command
from mailstead.admin_cli.contexts.inherited import CLASS_PARTS
from mailstead.admin_cli.grammar import Word
from mailstead.admin_cli.responses import quoted
from mailstead.admin_cli.syntax import Arguments
from mailstead.directory.address import checked_local


class AccountClassContext(AttributeContext, CommitContext):
    """One class, stored or new (`new`)."""

    name = "domain-accountClass"
    title = "accountClass"

    def __init__(self, parent: CliContext, class_id: int, class_name: str, *, new: bool) -> None:
        super().__init__(parent.session, parent)
        self.object_id = class_id
        self.class_name = class_name
        self.new = new
        self.renamed_to = ""
        self.begin()

    def specials(self) -> Sequence[Special]:
        """The name."""
        return (Special("name", "name", _rename, lambda context: quoted(context.renamed_to or context.class_name),
                        allowed=_may_name),)  # fmt: skip

    async def collect(self) -> None:
        """Creation or renaming goes in front."""
        directory, actor = self.session.services.directory, self.session.actor
        wanted = self.renamed_to or self.class_name
        if self.new:
            creation = directory.class_creation(self.object_id, self.domain_id, wanted, actor=actor)
            self.pending.steps[:0] = [creation]
        elif self.renamed_to and self.renamed_to != self.class_name:
            self.pending.steps[:0] = [directory.class_renaming(self.object_id, self.domain_id, wanted, actor=actor)]

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """CONFIG of the parts."""
        filters = filters_command(ClassFiltersContext, "Filters")
        parts = [make(f"CONFIG {word}", f"enters its {word}", _enter(word)) for word in CLASS_PARTS]
        return [*super().extra_commands(), filters, *parts]


def _may_name(context: Any) -> bool:
    return bool(context.new or context.session.actor.may("renameAccountClasses", context.domain_id))


def _rename(context: Any, value: Word) -> None:
    name = checked_local(value.text)
    if not context.new and name != context.class_name:
        context.session.actor.require("renameAccountClasses", context.domain_id)
    context.renamed_to = name


def _enter(word: str) -> Any:
    def handler(context: AccountClassContext, arguments: Arguments) -> Result:
        context.session.enter(CLASS_PARTS[word](context.session, context))
        return None

    return handler
