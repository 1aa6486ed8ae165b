"""ESEARCH over several mailboxes (RFC 7377).

Invariants: each mailbox is answered by a response of its own, with UIDs, and one without hits by none; mailboxes that do not
exist, or that the user may not read, are passed over without a word, so that nothing is learnt of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mailstead.imap import contexts, progress, search_return, searching
from mailstead.imap.commands.search import search_selected
from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.progress import Progress
from mailstead.imap.search_numbers import AmongUids
from mailstead.imap.search_program import Program
from mailstead.imap.search_return import Returning, extended, tag_of
from mailstead.imap.session import Session
from mailstead.mailbox.base import OTHER_USERS, PUBLIC_FOLDERS
from mailstead.mailbox.errors import FolderMissing, RightMissing
from mailstead.mailbox.model import Folder
from mailstead.mailbox.names import canonical
from mailstead.mailbox.search import Scope, evaluate
from mailstead.store.keywords import Keywords

MAX_NAMES = 1000
_WITHOUT_NAMES = (b"SELECTED", b"INBOXES", b"PERSONAL", b"SUBSCRIBED")
_WITH_NAMES = (b"MAILBOXES", b"SUBTREE", b"SUBTREE-ONE")


@dataclass(frozen=True, slots=True)
class Source:
    """One of the source options (RFC 5465 section 6 filters): which mailboxes."""

    kind: bytes
    names: tuple[str, ...] = ()


def sources_of(session: Session, arguments: Arguments) -> list[Source]:
    """IN and its options at the cursor with the space after them; the selected mailbox without. Raises BadSyntax."""
    if arguments.text[arguments.pos : arguments.pos + 4].upper() != b"IN (":
        return [Source(b"SELECTED")]
    arguments.pos += 4
    found: list[Source] = []
    count = 0
    while True:
        kind = arguments.keyword()
        if kind in _WITHOUT_NAMES:
            found.append(Source(kind))
        elif kind in _WITH_NAMES:
            arguments.space()
            names: list[str] = []
            many = arguments.skip(b"(")
            while True:
                names.append(session.folder_name(arguments.astring()))
                if not many or arguments.skip(b")"):
                    break
                arguments.space()
            count += len(names)
            found.append(Source(kind, tuple(names)))
        else:
            raise BadSyntax("Unknown source option")
        count += 1
        if count > MAX_NAMES:
            raise BadSyntax("Too many mailboxes")
        if arguments.skip(b")"):
            arguments.space()
            return found
        arguments.space()


def _matching(source: Source, folders: Sequence[Folder], subscribed: set[str]) -> Iterable[Folder]:
    if source.kind == b"SUBSCRIBED":
        return [folder for folder in folders if folder.name in subscribed]
    if source.kind in (b"PERSONAL", b"INBOXES"):
        own = [folder for folder in folders if not folder.name.startswith((f"{OTHER_USERS}/", f"{PUBLIC_FOLDERS}/"))]
        # RFC 5465 section 6.3: where mail is delivered; here that is INBOX.
        return own if source.kind == b"PERSONAL" else [folder for folder in own if folder.name == "INBOX"]
    wanted = {canonical(name) for name in source.names}
    if source.kind == b"MAILBOXES":
        return [folder for folder in folders if folder.name in wanted]
    found = []
    for folder in folders:
        if "" in wanted or folder.name in wanted:
            found.append(folder)
            continue
        above = folder.name.rpartition("/")[0]
        while above and above not in wanted and source.kind == b"SUBTREE":
            above = above.rpartition("/")[0]
        if above in wanted:
            found.append(folder)
    if source.kind == b"SUBTREE-ONE" and "" in wanted:
        return [folder for folder in found if "/" not in folder.name or folder.name.rpartition("/")[0] in wanted]
    return found


async def folders_of(session: Session, sources: Sequence[Source]) -> list[Folder]:
    """The mailboxes to search, each once, that the user may read. Raises BadSyntax."""
    mailbox = session.services.mailbox
    found: dict[int, Folder] = {}
    every: list[Folder] = []
    subscribed: set[str] = set()
    if any(source.kind != b"SELECTED" for source in sources):
        shown = session.options.imapShowAllFolders
        every = [f for f in await mailbox.visible(session.account_id) if (shown or f.kind == "mail") and "r" in f.rights]
        subscribed = set(await mailbox.subscriptions(session.account_id))
    for source in sources:
        if source.kind == b"SELECTED":
            if session.selected is None:
                raise BadSyntax("No mailbox selected")
            found[session.selected.folder.id] = session.selected.folder
        else:
            found.update({folder.id: folder for folder in _matching(source, every, subscribed)})
    return list(found.values())


async def _one(session: Session, folder: Folder, parsed: _Parsed, returning: Returning) -> None:
    """Search one mailbox and write its response."""
    view = await session.services.mailbox.open(folder)
    try:
        await view.refresh()
        while not view.is_durable:
            await view.durable()
        uids, flags, modseqs = view.uids, view.flags, view.modseqs
        count = len(uids)
        program = parsed.program(AmongUids(view.keywords, uids, uids[-1] if count else 0))
        scope = Scope(session.services.mailbox, view, uids, flags, modseqs, count)
        first = max(0, count - progress.MESSAGE_LIMIT)
        positions = await evaluate(scope, program.key, range(first, count) if first else None)
        if not positions:
            return
        head = b"%b MAILBOX %b UIDVALIDITY %d" % (tag_of(session.tag), session.mailbox_text(folder.name), folder.uidvalidity)
        session.untagged(await extended(
            head, returning, positions, [uids[at] for at in positions], scope.breathe, by_uid=True,
            modseqs=modseqs if program.wants_modseq else None, relevancy=scope.relevancy if program.fuzzy else None,
        ))  # fmt: skip
    finally:
        view.release()


class _Parsed:
    """The search program, which is parsed anew for each mailbox: keywords and UIDs mean something else in each."""

    def __init__(self, arguments: Arguments, filters: dict[str, bytes]) -> None:
        self._start = arguments.pos, arguments.text, arguments.literals
        self._filters = filters

    def program(self, numbers: AmongUids) -> Program:
        """For the messages of one mailbox. Raises BadSyntax, Refusal."""
        pos, text, literals = self._start
        return Program(Arguments(text, pos, literals), numbers, self._filters)


async def esearch(session: Session, arguments: Arguments) -> bytes:
    """Find messages in many mailboxes."""
    arguments.space()
    sources = sources_of(session, arguments)
    only_selected = all(source.kind == b"SELECTED" for source in sources)
    if only_selected:
        session.check_readable()
        return await search_selected(session, arguments)
    returning = search_return.parse(arguments) or Returning({b"ALL"})
    if returning.save:
        raise BadSyntax("SAVE is for the selected mailbox only")
    searching.check_charset(session, arguments)
    parsed = _Parsed(arguments, dict(await searching.filters_of(session, arguments)))
    # Parsed without any message first, so that BAD comes before the first answer.
    checked = parsed.program(AmongUids(Keywords(), (), 0))
    if b"RELEVANCY" in returning.options and not checked.fuzzy:
        raise BadSyntax("RELEVANCY makes sense for a FUZZY search only")
    session.condstore = session.condstore or checked.wants_modseq
    if returning.update:
        contexts.refuse(session, session.tag, "Only results in the selected mailbox are kept up to date")
    with Progress(session) as told:
        folders = await folders_of(session, sources)
        told.goal = len(folders)
        for folder in folders:
            try:
                await _one(session, folder, parsed, returning)
            except (FolderMissing, RightMissing):
                pass  # it went away, or out of reach, a moment ago
            told.done += 1
            await session.pace()
    return b"OK ESEARCH completed"
