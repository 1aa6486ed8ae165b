"""The commands, one file each or small family, and the table by which the session finds them.

Invariants: a command's function takes (session, arguments) and gives the reply after the tag, or None when it has
replied itself; it raises BadSyntax, Refusal or MailboxError instead of writing a refusal.  `expunge` says whether
EXPUNGE may be told before its tagged reply (RFC 9051 section 7.5.1).  A command that takes message numbers is not for
sessions that enabled UIDONLY (RFC 9586).  One that looks at messages of the selected mailbox waits until a large mailbox
is read in; FETCH of the newest ones (`partly`) need not.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from mailstead.observe.metrics import imap_commands

if TYPE_CHECKING:
    from mailstead.imap.grammar import Arguments
    from mailstead.imap.session import Session

Reply = bytes | None
Function = Callable[["Session", "Arguments"], "Reply | Coroutine[Any, Any, Reply]"]


#: RFC 9586 section 3.
_NUMBERED = frozenset(("COPY", "FETCH", "MOVE", "REPLACE", "SEARCH", "SORT", "STORE", "THREAD"))
#: They need a selected mailbox and look at none of its messages.
_BLIND = frozenset(("CHECK", "CLOSE", "UNSELECT"))


class Entry:
    """One command: its function, the state it needs (any, fresh, authenticated, selected), and its counters."""

    __slots__ = ("bad", "by_uid", "expunge", "function", "no", "numbered", "ok", "partly", "state", "whole")

    def __init__(self, name: str, function: Function, state: str, expunge: bool = True) -> None:
        self.function = function
        self.state = state
        self.expunge = expunge
        self.numbered = name in _NUMBERED
        self.by_uid = name.startswith("UID ")
        self.whole = state == "selected" and name not in _BLIND
        self.partly = name in ("FETCH", "UID FETCH")
        self.ok = imap_commands.labels(name, "OK")
        self.no = imap_commands.labels(name, "NO")
        self.bad = imap_commands.labels(name, "BAD")

    def wrong_state(self, session: Session) -> str | None:
        """Why the command makes no sense now, None where it does."""
        if self.state == "any":
            return None
        if session.account is None:
            return None if self.state == "fresh" else "Log in first"
        if self.state == "fresh":
            return "Already authenticated"
        if self.state == "selected" and session.selected is None:
            return "No mailbox selected"
        if session.uidonly and self.numbered:
            return "[UIDREQUIRED] Message numbers are not used after ENABLE UIDONLY"
        return None


def table() -> dict[bytes, Entry]:
    """All commands by name; those with UID in front under `UID NAME`."""
    from mailstead.imap.commands import (
        acl,
        append,
        authenticate,
        cancel_update,
        capability,
        close,
        compress,
        copy,
        create,
        delete,
        enable,
        expunge,
        fetch,
        id,
        idle,
        language,
        listing,
        login,
        logout,
        metadata,
        multisearch,
        namespace,
        noop,
        notify,
        quota,
        rename,
        replace,
        search,
        select,
        sort,
        starttls,
        status,
        store,
        subscribe,
        thread,
        unauthenticate,
        urlauth,
    )

    rows: tuple[tuple[str, Function, str, bool], ...] = (
        ("CAPABILITY", capability.capability, "any", True),
        ("NOOP", noop.noop, "any", True),
        ("LOGOUT", logout.logout, "any", True),
        ("ID", id.identify, "any", True),
        ("LANGUAGE", language.language, "any", True),
        ("STARTTLS", starttls.starttls, "fresh", True),
        ("AUTHENTICATE", authenticate.authenticate, "fresh", True),
        ("LOGIN", login.login, "fresh", True),
        ("GENURLAUTH", urlauth.genurlauth, "authenticated", True),
        ("URLFETCH", urlauth.urlfetch, "authenticated", True),
        ("RESETKEY", urlauth.resetkey, "authenticated", True),
        ("NOTIFY", notify.notify, "authenticated", True),
        ("UNAUTHENTICATE", unauthenticate.unauthenticate, "authenticated", True),
        ("ENABLE", enable.enable, "authenticated", True),
        ("SELECT", select.select, "authenticated", True),
        ("EXAMINE", select.examine, "authenticated", True),
        ("CREATE", create.create, "authenticated", True),
        ("DELETE", delete.delete, "authenticated", True),
        ("RENAME", rename.rename, "authenticated", True),
        ("SUBSCRIBE", subscribe.subscribe, "authenticated", True),
        ("UNSUBSCRIBE", subscribe.unsubscribe, "authenticated", True),
        ("LIST", listing.list_mailboxes, "authenticated", True),
        ("LSUB", listing.lsub, "authenticated", True),
        ("GETACL", acl.getacl, "authenticated", True),
        ("SETACL", acl.setacl, "authenticated", True),
        ("DELETEACL", acl.deleteacl, "authenticated", True),
        ("LISTRIGHTS", acl.listrights, "authenticated", True),
        ("MYRIGHTS", acl.myrights, "authenticated", True),
        ("GETMETADATA", metadata.getmetadata, "authenticated", True),
        ("SETMETADATA", metadata.setmetadata, "authenticated", True),
        ("NAMESPACE", namespace.namespace, "authenticated", True),
        ("STATUS", status.status, "authenticated", True),
        ("ESEARCH", multisearch.esearch, "authenticated", True),
        ("APPEND", append.append, "authenticated", True),
        ("IDLE", idle.idle, "authenticated", True),
        ("COMPRESS", compress.compress, "authenticated", True),
        ("GETQUOTA", quota.getquota, "authenticated", True),
        ("SETQUOTA", quota.setquota, "authenticated", True),
        ("GETQUOTAROOT", quota.getquotaroot, "authenticated", True),
        ("CHECK", noop.check, "selected", True),
        ("CLOSE", close.close, "selected", True),
        ("UNSELECT", close.unselect, "selected", True),
        ("EXPUNGE", expunge.expunge, "selected", True),
        ("UID EXPUNGE", expunge.uid_expunge, "selected", True),
        ("SEARCH", search.search, "selected", False),
        ("UID SEARCH", search.uid_search, "selected", True),
        ("CANCELUPDATE", cancel_update.cancel_update, "selected", True),
        ("SORT", sort.sort, "selected", False),
        ("UID SORT", sort.uid_sort, "selected", True),
        ("THREAD", thread.thread, "selected", False),
        ("UID THREAD", thread.uid_thread, "selected", True),
        ("FETCH", fetch.fetch, "selected", False),
        ("UID FETCH", fetch.uid_fetch, "selected", True),
        ("STORE", store.store, "selected", False),
        ("UID STORE", store.uid_store, "selected", True),
        ("COPY", copy.copy, "selected", True),
        ("UID COPY", copy.uid_copy, "selected", True),
        ("REPLACE", replace.replace, "selected", True),
        ("UID REPLACE", replace.uid_replace, "selected", True),
        ("MOVE", copy.move, "selected", True),
        ("UID MOVE", copy.uid_move, "selected", True),
    )
    return {name.encode("ascii"): Entry(name, function, state, expunge) for name, function, state, expunge in rows}
