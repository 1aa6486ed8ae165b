"""What a session is told without asking (RFC 5465): of the selected mailbox, of others, of names, subscriptions and notes.

Invariants: only what is durable is told, in whole responses and between commands (or during IDLE); what changed while a
command ran is told after it; a change is told of as the request's groups say, by the first that names the mailbox;
message numbers change only under SELECTED, or during IDLE; more than ``MAX_WATCHED`` mailboxes are not watched:
NOTIFICATIONOVERFLOW, and nothing is told any more.

How: a `Watch` wakes us; we read what there is and compare it with what the client knows.  The session runs `tell` as it
runs a command, so that no two write at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailstead.imap.fetch_items import FetchList
from mailstead.imap.notify_request import EventGroup, NotifyRequest
from mailstead.imap.responses import Refusal, one_line
from mailstead.imap.selected import Selected
from mailstead.mailbox.errors import MailboxError
from mailstead.mailbox.model import Folder, FolderStatus
from mailstead.mailbox.watch import Names

if TYPE_CHECKING:
    from mailstead.imap.session import Session

MAX_WATCHED = 2000


class Notifier:
    """NOTIFY SET in force. `stop` it once; `pending`: there is something to tell."""

    def __init__(self, session: Session, request: NotifyRequest) -> None:
        self._session = session
        self.request = request
        self.pending = False
        self._stopped = False
        self._watch = session.services.mailbox.watch(self.changed)
        self._names = Names({}, frozenset())
        self._notes: dict[tuple[int, str], bytes] = {}
        self._groups: dict[int, EventGroup] = {}
        self._known: dict[int, FolderStatus | None] = {}
        self._followed: Selected | None = None

    # ---- the selected mailbox ----------------------------------------------------------------------------------

    @property
    def tells_selected(self) -> bool:
        """Whether it tells of the selected mailbox; IDLE then need not."""
        return self.request.selected is not None

    @property
    def delays(self) -> bool:
        """Whether expunges of the selected mailbox wait for a command, while new messages do not."""
        return self.request.selected is not None and self.request.selected.kind == b"SELECTED-DELAYED"

    @property
    def new_items(self) -> FetchList | None:
        """What is fetched of messages that are new in the selected mailbox."""
        return self.request.selected.items if self.request.selected is not None else None

    @property
    def flag_changes(self) -> bool:
        """Whether changes of flags in the selected mailbox are told."""
        return self.request.selected is None or "FlagChange" in self.request.selected.events

    def follow(self) -> None:
        """A command is done: another mailbox may be selected."""
        selected = self._session.selected
        if selected is self._followed:
            return
        self.leave()
        if selected is None:
            return
        self._followed = selected
        if self.request.selected is not None and self.request.selected.counts:
            selected.view.attach(self._selected_changed)

    def leave(self) -> None:
        """The mailbox is no longer selected."""
        selected, self._followed = self._followed, None
        if selected is None:
            return
        if self.request.selected is not None and self.request.selected.counts:
            selected.view.detach(self._selected_changed)
        if selected.folder.id in self._known:
            self._known[selected.folder.id] = None  # the client has seen it change

    def _selected_changed(self) -> None:
        self.changed()

    # ---- life --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to watch; STATUS of what is watched where the request says so. Raises Refusal NOTIFICATIONOVERFLOW."""
        mailbox, account = self._session.services.mailbox, self._session.account_id
        self._watch.set_accounts({account})
        self._names = await mailbox.names(account)
        if not self._set_groups():
            raise Refusal("Too many mailboxes to watch", "NOTIFICATIONOVERFLOW")
        if self._wants_notes():
            self._notes = await mailbox.notes(account, self._owners())
        for id in list(self._groups):
            folder = self._names.folders[id]
            known = self._known[id] = await self._status(folder)
            if known is not None and self.request.status and not self._is_selected(id):
                self._write_status(folder, known, unseen=False)
            await self._session.breathe()

    def stop(self) -> None:
        """Watch nothing any more."""
        self.leave()
        self._stopped = True
        self.pending = False
        self._watch.close()

    def changed(self) -> None:
        """Something may have changed."""
        if not self._stopped:
            self.pending = True
            self._session.interject()

    # ---- telling -----------------------------------------------------------------------------------------------

    async def tell(self) -> None:
        """Tell all there is to tell."""
        session = self._session
        try:
            while self.pending and not self._stopped and not session.logged_out:
                self.pending = False
                await self._tell_once()
        except (MailboxError, OSError) as error:
            # What is lost now the client would wait for in vain (section 5.8).
            session.link.log.error("mailboxes cannot be watched", reason=str(error))
            self._give_up("Mailboxes cannot be watched now")
        session.flush()

    async def _tell_once(self) -> None:
        session, request = self._session, self.request.selected
        if request is not None and request.counts and session.selected is not None and self._followed is session.selected:
            await session.tell_news(request.kind == b"SELECTED" or session.idle is not None)
        changed, names = self._watch.take()
        if names:
            await self._tell_names()
        for id in changed:
            await self._tell_folder(id)
            await session.pace()

    def _give_up(self, why: str) -> None:
        self._session.untagged(b"OK [NOTIFICATIONOVERFLOW] " + one_line(why))
        self._session.notifier = None
        self.stop()

    def _is_selected(self, id: int) -> bool:
        selected = self._session.selected
        return selected is not None and selected.folder.id == id

    async def _status(self, folder: Folder) -> FolderStatus | None:
        try:
            return await self._session.services.mailbox.status(folder)
        except MailboxError:  # gone, or no right to read it: nothing to tell
            return None

    async def _tell_folder(self, id: int) -> None:
        folder, group = self._names.folders.get(id), self._groups.get(id)
        if folder is None or group is None or self._is_selected(id):
            return
        now, before = await self._status(folder), self._known.get(id)
        if now is None or self._is_selected(id):
            return
        self._known[id] = now
        if before is None:
            self._write_status(folder, now, unseen="FlagChange" in group.events)
            return
        came = now.uidnext - before.uidnext
        messages = came > 0 or now.messages != before.messages
        flags = now.unseen != before.unseen or (now.highest_modseq != before.highest_modseq and not messages)
        if messages or (flags and "FlagChange" in group.events):
            self._write_status(folder, now, unseen="FlagChange" in group.events)

    def _write_status(self, folder: Folder, now: FolderStatus, *, unseen: bool) -> None:
        session = self._session
        text = b"MESSAGES %d UIDNEXT %d UIDVALIDITY %d" % (now.messages, now.uidnext, now.uidvalidity)
        if unseen:
            text += b" UNSEEN %d" % now.unseen
        if session.condstore:
            text += b" HIGHESTMODSEQ %d" % now.highest_modseq
        session.untagged(b"STATUS %b (%b)" % (session.mailbox_text(folder.name), text))

    # ---- names, subscriptions, notes ---------------------------------------------------------------------------

    def _owners(self) -> set[int]:
        return {folder.account for folder in self._names.folders.values()}

    def _set_groups(self) -> bool:
        """Which group decides about which folder now; False where that are too many to watch."""
        names = self._names
        found: dict[int, EventGroup] = {}
        for id, folder in names.folders.items():
            group = self.request.of(folder.name, not folder.reader, folder.name in names.subscriptions)
            if group is not None and group.counts and folder.kind == "mail":
                found[id] = group
        if len(found) > MAX_WATCHED:
            return False
        self._groups = found
        self._watch.set_folders(found)
        self._watch.set_accounts({self._session.account_id, *self._owners()})
        self._known = {id: self._known.get(id) for id in found}
        return True

    def _wants(self, event: str, name: str, own: bool = True, subscribed: bool = False) -> bool:
        group = self.request.of(name, own, subscribed)
        return group is not None and event in group.events

    def _wants_notes(self) -> bool:
        return self.request.wants("MailboxMetadataChange") or self.request.wants("ServerMetadataChange")

    async def _tell_names(self) -> None:
        session = self._session
        before = self._names
        self._names = now = await session.services.mailbox.names(session.account_id)
        for id, old in before.folders.items():
            folder = now.folders.get(id)
            own, subscribed = not old.reader, old.name in before.subscriptions
            if folder is None:
                if self._wants("MailboxName", old.name, own, subscribed):
                    self._write_list(old.name, now, "\\NonExistent")
            elif folder.name != old.name and (
                self._wants("MailboxName", old.name, own, subscribed)
                or self._wants("MailboxName", folder.name, own, folder.name in now.subscriptions)
            ):
                self._write_list(folder.name, now, old=old.name)
        for id in now.folders.keys() - before.folders.keys():
            folder = now.folders[id]
            if self._wants("MailboxName", folder.name, not folder.reader, folder.name in now.subscriptions):
                self._write_list(folder.name, now)
        for name in sorted(before.subscriptions ^ now.subscriptions):
            own = all(folder.name != name or not folder.reader for folder in now.folders.values())
            if self._wants("SubscriptionChange", name, own, subscribed=True):
                there = any(folder.name == name for folder in now.folders.values())
                self._write_list(name, now, *(() if there else ("\\NonExistent",)))
        if self._wants_notes():
            await self._tell_notes()
        await self._watch_again(before)

    async def _watch_again(self, before: Names) -> None:
        if not self._set_groups():
            self._give_up("Too many mailboxes to watch")
            return
        for id in self._groups:
            if self._known[id] is None and id not in before.folders:
                folder = self._names.folders[id]
                known = self._known[id] = await self._status(folder)
                if known is not None and known.messages and not self._is_selected(id):
                    # They came before the mailbox was watched, and nothing else would tell of them.
                    self._write_status(folder, known, unseen="FlagChange" in self._groups[id].events)

    def _write_list(self, name: str, now: Names, *attributes: str, old: str | None = None) -> None:
        session = self._session
        words = [*attributes]
        if "\\NonExistent" not in words:
            below = name + "/"
            children = any(folder.name.startswith(below) for folder in now.folders.values())
            words.append("\\HasChildren" if children else "\\HasNoChildren")
        if name in now.subscriptions:
            words.append("\\Subscribed")
        extra = b' ("OLDNAME" (%b))' % session.mailbox_text(old) if old is not None else b""
        session.untagged(b'LIST (%b) "/" %b%b' % (" ".join(words).encode("ascii"), session.mailbox_text(name), extra))

    async def _tell_notes(self) -> None:
        session = self._session
        before = self._notes
        self._notes = now = await session.services.mailbox.notes(session.account_id, self._owners())
        changed: dict[int, list[str]] = {}
        for key in sorted(before.keys() | now.keys()):
            if before.get(key) != now.get(key):
                changed.setdefault(key[0], []).append(key[1])
        for id, entries in changed.items():
            folder = self._names.folders.get(id)
            if not id:
                if not self.request.wants("ServerMetadataChange"):
                    continue
                name = b'""'
            elif (
                folder is None
                or not set("rswip") & set(folder.rights)
                or not self._wants(
                    "MailboxMetadataChange", folder.name, not folder.reader, folder.name in self._names.subscriptions
                )
            ):  # RFC 5464 section 3.3
                continue
            else:
                name = session.mailbox_text(folder.name)
            session.untagged(b"METADATA %b %b" % (name, " ".join(entries).encode("utf-8")))
