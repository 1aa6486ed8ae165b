"""What a command looks like: one written form from which lines are matched and HELP is made.

Invariants: a form matches without regard to case of its words; parameters come as `name value` in any order; the name of the
identifying parameter may be left out; every value reaches the handler as text, lists as lists.

The form is written as HELP shows it:

- `WORD`            a word that must stand there; behind the second one only if it begins with a capital
- `<x>`             a value
- `[name] <x>`      a value whose name may be written in front
- `name <x>`        a named value that must be given
- `[name <x>]`      a named value that may be given
- `[word]`, `[a|b]` a flag, or one of several; a bare word behind a value must be given
- `[<x>]`           a value that may be given
- `<x...>`          all the rest, as words
- `(<x>)`           a value that is a list in parentheses (a single word is taken as a list of one)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mailstead.admin_cli.grammar import CommandError, Word

_PIECE = re.compile(
    r"\[(?P<optname>[\w-]+)\] (?P<optlist>\(?)<(?P<optvalue>[^>]+)>\)?"
    r"|\[(?P<pair>[\w-]+) (?P<pairlist>\(?)<(?P<pairvalue>[^>]+)>\)?\]"
    r"|\[(?P<maylist>\(?)<(?P<may>[^>.]+)(?P<mayrest>\.\.\.)?>\)?\]"
    r"|\[(?P<flag>[\w|-]+)\]"
    r"|(?P<list>\(?)<(?P<value>[^>.]+)(?P<rest>\.\.\.)?>\)?"
    r"|(?P<word>[^\s<>\[\]()]+)"
)


class Arguments(dict[str, str]):
    """Values by parameter name (lower case); `lists` those given as lists, `flags` the words given, `rest` what follows."""

    __slots__ = ("flags", "lists", "rest")

    def __init__(self) -> None:
        super().__init__()
        self.lists: dict[str, tuple[str, ...]] = {}
        self.flags: set[str] = set()
        self.rest: list[Word] = []


class Parameter(NamedTuple):
    """One parameter; `name` is what may or must be written in front, `key` where the value goes."""

    name: str
    key: str
    required: bool
    named: bool
    is_list: bool


@dataclass(frozen=True, slots=True)
class Syntax:
    """A form taken apart; see the module."""

    form: str
    head: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    flags: tuple[tuple[str, ...], ...]
    keywords: tuple[str, ...]
    rest: str
    rest_required: bool
    _heads: tuple[frozenset[str], ...] = field(init=False, repr=False, compare=False)
    _flag_words: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_heads", tuple(frozenset(wanted.lower().split("|")) for wanted in self.head))
        object.__setattr__(self, "_flag_words", frozenset(choice.lower() for choices in self.flags for choice in choices))

    def match(self, words: Sequence[Word]) -> int:
        """How many words of the head stand at the start of `words`; -1 when not all do."""
        if len(words) < len(self.head):
            return -1
        for choices, word in zip(self._heads, words, strict=False):
            if word.keyword not in choices:
                return -1
        return len(self.head)

    def arguments(self, words: Sequence[Word]) -> Arguments:
        """The values in what follows the head. Raises CommandError that names what is missing or unknown."""
        found = Arguments()
        place, size = len(self.head), len(words)
        found.flags.update(word.text.lower() for word in words[:place])
        while place < size:
            word = words[place]
            named = self._named(word, found)
            if named is not None and place + 1 < size:
                _store(found, named, words[place + 1])
                place += 2
                continue
            flag = self._flag(word)
            if flag is not None:
                found.flags.add(flag)
                place += 1
                continue
            free = self._free(found)
            if free is not None:
                _store(found, free, word)
                place += 1
                continue
            if self.rest:
                found.rest = list(words[place:])
                break
            if named is not None:
                raise CommandError(f"the parameter {named.name} has no value")
            raise CommandError(f"unknown parameter {word.value[:80]!r}; the form is: {self.form}")
        for parameter in self.parameters:
            if parameter.required and parameter.key not in found:
                raise CommandError(f"the parameter {parameter.name or parameter.key} is missing; the form is: {self.form}")
        for keyword in self.keywords:
            if keyword not in found.flags:
                raise CommandError(f"the word {keyword} is missing; the form is: {self.form}")
        if self.rest_required and not found.rest:
            raise CommandError(f"{self.rest} is missing; the form is: {self.form}")
        return found

    def _named(self, word: Word, found: Arguments) -> Parameter | None:
        keyword = word.keyword
        for parameter in self.parameters:
            if parameter.name and parameter.key == keyword and keyword not in found:
                return parameter
        return None

    def _free(self, found: Arguments) -> Parameter | None:
        """The next parameter whose name may be left out."""
        for parameter in self.parameters:
            if not parameter.named and parameter.key not in found:
                return parameter
        return None

    def _flag(self, word: Word) -> str | None:
        return word.keyword if word.keyword in self._flag_words else None


def _store(found: Arguments, parameter: Parameter, word: Word) -> None:
    if parameter.is_list:
        found.lists[parameter.key] = word.items if word.items is not None else (word.text,)
    elif word.items is not None and not parameter.is_list:
        found.lists[parameter.key] = word.items
    found[parameter.key] = word.value


def parse(form: str) -> Syntax:
    """Take a written form apart. Raises ValueError for one that cannot be."""
    head: list[str] = []
    parameters: list[Parameter] = []
    flags: list[tuple[str, ...]] = []
    keywords: list[str] = []
    rest, rest_required = "", False
    waiting = ""  # a bare word behind parameters, or before `<x>`: the name of the value that follows
    pieces = list(_PIECE.finditer(form))
    for index, piece in enumerate(pieces):
        group = piece.groupdict()
        if group["word"]:
            following = pieces[index + 1].groupdict() if index + 1 < len(pieces) else None
            names_value = following is not None and following["value"] and not following["rest"] and len(head) > 1
            if names_value and _is_parameter_name(group["word"], bool(parameters)):
                waiting = group["word"]
            elif parameters or flags:
                keywords.append(group["word"].lower())
                flags.append((group["word"],))
            else:
                head.append(group["word"])
        elif group["optname"]:
            parameters.append(Parameter(group["optname"], group["optname"].lower(), True, False, bool(group["optlist"])))
        elif group["pair"]:
            parameters.append(Parameter(group["pair"], group["pair"].lower(), False, True, bool(group["pairlist"])))
        elif group["flag"]:
            flags.append(tuple(group["flag"].split("|")))
        elif group["may"]:
            if group["mayrest"]:
                rest = group["may"]
            else:
                parameters.append(Parameter("", group["may"].lower(), False, False, bool(group["maylist"])))
        elif group["rest"]:
            rest, rest_required = group["value"], True
        elif group["value"]:
            key = (waiting or group["value"]).lower()
            parameters.append(Parameter(waiting, key, True, bool(waiting), bool(group["list"])))
            waiting = ""
    return Syntax(form, tuple(head), tuple(parameters), tuple(flags), tuple(keywords), rest, rest_required)


def _is_parameter_name(word: str, behind: bool) -> bool:
    """In `ADD Account [name] <name> password <password>`: lower-case words name values, capitals belong to the head."""
    return behind or word[0].islower()


def unknown(words: Iterable[Word]) -> CommandError:
    """The refusal of a command that no form matches."""
    # No more than the verb and its object: what follows may be a password.
    text = " ".join(word.value for word in list(words)[:2])
    return CommandError(f"unknown command: {text[:80]!r}; HELP lists the commands of this context")
