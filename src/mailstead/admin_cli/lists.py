"""Commands over a setting that is a list of words: ADD, REMOVE, LIST, RESET.

Invariants: changes wait as all others do, and are shown on top of what is stored.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import Any

from mailstead.admin_cli.attributes import AttributeContext
from mailstead.admin_cli.context import Command, Result, make
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.responses import items
from mailstead.admin_cli.syntax import Arguments

MAX_LIST_VALUES = 1000


def matching(names: Sequence[str], pattern: str) -> list[str]:
    """Names that a wildcard with `*` and `?` matches, in any case; an empty pattern matches all."""
    if not pattern:
        return list(names)
    lowered = pattern.lower()
    return [name for name in names if fnmatch.fnmatchcase(name.lower(), lowered)]


def value_list_commands(
    setting: str, *, singular: str, plural: str, title: str, reset: bool = True, argument: str = "pattern"
) -> list[Command]:
    """ADD, REMOVE, LIST and RESET over a setting that is a list of words."""

    def current(context: AttributeContext) -> list[str]:
        declared = context.setting_named(setting)
        assert declared is not None
        waits, text = context.pending_value(declared.name)
        if not waits:
            text = context.stored().get(declared.name)
        if text is None:
            for source in context.sources() or ():
                if declared.name in source.values:
                    text = source.values[declared.name]
                    break
        value: Any = declared.default if text is None else declared.parse(text)
        return list(value)

    def keep(context: AttributeContext, values: list[str]) -> None:
        declared = context.setting_named(setting)
        assert declared is not None
        context.begin()
        context.keep_value(declared, "(" + " ".join(values) + ")")

    def add(context: AttributeContext, arguments: Arguments) -> Result:
        values = current(context)
        word = arguments[argument.lower()]
        if not word or any(character in " \t,()" for character in word):
            raise CommandError(f"{word[:80]!r} cannot be in this list")
        if word.lower() in (value.lower() for value in values):
            raise CommandError(f"{word} already exists in the list")
        if len(values) >= MAX_LIST_VALUES:
            raise CommandError(f"the list has at most {MAX_LIST_VALUES} entries")
        keep(context, [*values, word])
        return None

    def remove(context: AttributeContext, arguments: Arguments) -> Result:
        values = current(context)
        word = arguments[argument.lower()].lower()
        left = [value for value in values if value.lower() != word]
        if len(left) == len(values):
            raise CommandError(f"{arguments[argument.lower()]} does not exist in the list")
        keep(context, left)
        return None

    def show_all(context: AttributeContext, arguments: Arguments) -> Result:
        return items(title, current(context))

    def forget(context: AttributeContext, arguments: Arguments) -> Result:
        declared = context.setting_named(setting)
        assert declared is not None
        context.begin()
        context.keep_value(declared, None)
        return None

    def may(context: AttributeContext) -> bool:
        declared = context.setting_named(setting)
        return declared is not None and context.may_set(declared)

    commands = [
        make(f"LIST {plural}", "lists them", show_all),
        make(f"ADD {singular} <{argument}>", "adds one", add, listed=may),
        make(f"REMOVE {singular} <{argument}>", "removes one", remove, listed=may),
    ]
    if reset:
        commands.append(make(f"RESET {plural}", "makes the list inherited again", forget, listed=may))
    return commands
