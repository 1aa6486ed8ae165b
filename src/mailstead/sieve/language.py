"""The words of the language: commands, tests, their arguments and the extensions they belong to.

Invariants: what stands here is evaluated; an extension that is not whole is not named in ``EXTENSIONS``.

RFC 5228 (base, envelope, fileinto, encoded-character), RFC 5429 (reject, ereject), RFC 5233 (subaddress), RFC 3894 (copy),
RFC 5231 (relational), RFC 4790 (i;ascii-numeric), RFC 5232 (imap4flags), RFC 5229 (variables), RFC 5173 (body), RFC 5260
(date, index), RFC 5490 (mailbox), RFC 5463 (ihave).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

EXTENSIONS = (
    "fileinto", "reject", "ereject", "envelope", "encoded-character", "comparator-i;ascii-numeric", "relational", "subaddress",
    "copy", "imap4flags", "variables", "body", "date", "index", "mailbox", "ihave",
)  # fmt: skip
#: Comparators that need no require (RFC 5228 section 2.7.3).
ALWAYS = ("comparator-i;octet", "comparator-i;ascii-casemap")

STRING, STRINGS, NUMBER = "a string", "strings", "a number"


@dataclass(frozen=True, slots=True)
class TagSpec:
    """A tagged argument: those of one ``group`` exclude each other; ``value`` is the type of what follows it."""

    group: str
    value: str | None = None
    extension: str | None = None


@dataclass(frozen=True, slots=True)
class Spec:
    """A command or test. ``tests``: how many tests it takes (-1: a list of them); ``optional``: positional arguments in
    front that may be left out."""

    positional: tuple[str, ...] = ()
    tags: Mapping[str, TagSpec] = field(default_factory=dict)
    tests: int = 0
    block: bool = False
    extension: str | None = None
    optional: int = 0


_COMPARATOR = {"comparator": TagSpec("comparator", STRING)}
_MATCH = {
    "is": TagSpec("match"),
    "contains": TagSpec("match"),
    "matches": TagSpec("match"),
    "value": TagSpec("match", STRING, "relational"),
    "count": TagSpec("match", STRING, "relational"),
}
_PART = {
    "all": TagSpec("part"),
    "localpart": TagSpec("part"),
    "domain": TagSpec("part"),
    "user": TagSpec("part", None, "subaddress"),
    "detail": TagSpec("part", None, "subaddress"),
}
_INDEX = {"index": TagSpec("index", NUMBER, "index"), "last": TagSpec("last", None, "index")}
_FLAGS = {"flags": TagSpec("flags", STRINGS, "imap4flags")}
_COPY = {"copy": TagSpec("copy", None, "copy")}
_ZONE = {"zone": TagSpec("zone", STRING), "originalzone": TagSpec("zone")}
_MODIFIERS = {
    name: TagSpec(group)
    for name, group in (
        ("lower", "case"), ("upper", "case"), ("lowerfirst", "first"), ("upperfirst", "first"), ("quotewildcard", "quote"),
        ("length", "length"),
    )
}  # fmt: skip

COMMANDS: Mapping[str, Spec] = {
    "require": Spec((STRINGS,)),
    "if": Spec(tests=1, block=True),
    "elsif": Spec(tests=1, block=True),
    "else": Spec(block=True),
    "stop": Spec(),
    "keep": Spec(tags=_FLAGS),
    "discard": Spec(),
    "redirect": Spec((STRING,), _COPY),
    "fileinto": Spec((STRING,), {**_COPY, **_FLAGS, "create": TagSpec("create", None, "mailbox")}, extension="fileinto"),
    "reject": Spec((STRING,), extension="reject"),
    "ereject": Spec((STRING,), extension="ereject"),
    "setflag": Spec((STRING, STRINGS), extension="imap4flags", optional=1),
    "addflag": Spec((STRING, STRINGS), extension="imap4flags", optional=1),
    "removeflag": Spec((STRING, STRINGS), extension="imap4flags", optional=1),
    "set": Spec((STRING, STRING), _MODIFIERS, extension="variables"),
    "error": Spec((STRING,), extension="ihave"),
}

TESTS: Mapping[str, Spec] = {
    "true": Spec(),
    "false": Spec(),
    "not": Spec(tests=1),
    "allof": Spec(tests=-1),
    "anyof": Spec(tests=-1),
    "address": Spec((STRINGS, STRINGS), {**_COMPARATOR, **_MATCH, **_PART, **_INDEX}),
    "envelope": Spec((STRINGS, STRINGS), {**_COMPARATOR, **_MATCH, **_PART}, extension="envelope"),
    "header": Spec((STRINGS, STRINGS), {**_COMPARATOR, **_MATCH, **_INDEX}),
    "exists": Spec((STRINGS,)),
    "size": Spec((NUMBER,), {"over": TagSpec("relation"), "under": TagSpec("relation")}),
    "hasflag": Spec((STRINGS, STRINGS), {**_COMPARATOR, **_MATCH}, extension="imap4flags", optional=1),
    "string": Spec((STRINGS, STRINGS), {**_COMPARATOR, **_MATCH}, extension="variables"),
    "body": Spec(
        (STRINGS,),
        {
            **_COMPARATOR,
            **_MATCH,
            "raw": TagSpec("transform"),
            "text": TagSpec("transform"),
            "content": TagSpec("transform", STRINGS),
        },
        extension="body",
    ),
    "date": Spec((STRING, STRING, STRINGS), {**_COMPARATOR, **_MATCH, **_ZONE, **_INDEX}, extension="date"),
    "currentdate": Spec((STRING, STRINGS), {**_COMPARATOR, **_MATCH, "zone": TagSpec("zone", STRING)}, extension="date"),
    "mailboxexists": Spec((STRINGS,), extension="mailbox"),
    "ihave": Spec((STRINGS,), extension="ihave"),
}
