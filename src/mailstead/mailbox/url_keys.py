"""Secrets that sign the URLs a reader gives others (RFC 4467): one for each reader and folder, made when first needed.

Invariants: a key is durable before anything signed with it is shown; once it is reset nothing signed with it is valid;
keys lie in the shard of the folder's owner and go with the folder.
"""

from __future__ import annotations

import secrets

from mailstead.mailbox.base import MailboxBase
from mailstead.mailbox.errors import StoreUnavailable
from mailstead.mailbox.model import Folder
from mailstead.store.operations import Operation, SetUrlKey

KEY_OCTETS = 32


class UrlKeyVerbs(MailboxBase):
    """Keys of the reader ``account``."""

    def url_key(self, account: int, folder: Folder) -> bytes | None:
        """The key there is."""
        return self._store.sharing(folder.shard).url_key(account, folder.id)

    async def ensure_url_key(self, account: int, folder: Folder) -> bytes:
        """The key, made where there is none. Raises StoreUnavailable."""
        found = self.url_key(account, folder)
        if found is None:
            key = secrets.token_bytes(KEY_OCTETS)
            await self._done(self._store.change([SetUrlKey(folder.shard, account, folder.id, key)]))
            found = self.url_key(account, folder)
        if found is None:
            raise StoreUnavailable("the key of the mailbox was reset just now")
        return found

    async def reset_url_keys(self, account: int, folder: Folder | None) -> None:
        """Make everything invalid that is signed with the key of a folder, or of all folders."""
        shards = [folder.shard] if folder is not None else self._store.shards
        operations: list[Operation] = [SetUrlKey(shard, account, folder.id if folder else 0, None) for shard in shards]
        await self._done(self._store.change(operations))
