"""REPLACE between two shards (RFC 8508): whole or absent, though no transaction covers both.

Invariants: the body is durable before anything names it; one change record inserts the row there and removes the one
here, so that replay does both or neither.  A crash before that record leaves octets in the log that no row names.
"""

from __future__ import annotations

from mailstead.message.index import MessageIndex, index_message
from mailstead.store.apply_delivery import Delivery, StoredMessage, wide_row
from mailstead.store.operations import Expunge, InsertCopies, Operation
from mailstead.store.record import MessageHead, RelocatedHead
from mailstead.store.service import Store


async def insert_and_expunge(
    store: Store, head: MessageHead, body: bytes, index: MessageIndex | None, source: tuple[int, int, int]
) -> list[Operation]:
    """The operations that put a message where its only target says and remove ``source`` (shard, folder, uid); its body
    is durable when they come. Raises Unavailable, OSError."""
    target = head.targets[0]
    target.mid = store.new_id()
    kept = RelocatedHead(head.sender, head.received, [target], b"", head.external, head.external_size, head.external_hash)
    file, offset = await store.relocate([(kept, body)])[0]
    stored = StoredMessage(
        0, target.mid, file, offset, len(body), head.external, head.external_size, head.sender, head.received,
        index if index is not None else index_message(body),
    )  # fmt: skip
    delivery = Delivery(stored, target)
    row = (target.flags, list(target.keywords), target.date, delivery.size, list(wide_row(delivery)))
    shard, folder, uid = source
    return [
        InsertCopies(
            target.shard, target.folder, [row], head.received, target.quota_size, target.quota_messages,
            folder_size=target.folder_size, folder_messages=target.folder_messages,
        ),
        Expunge(shard, folder, [uid, uid], True, head.received),
    ]
