"""Which release this code is."""

from __future__ import annotations

from mailstead import __version__
from mailstead.settings.schema import MIGRATIONS
from mailstead.store.schema import QUEUE_STEPS, SHARD_STEPS


def release() -> str:
    """What the code of this process brings databases to: version and numbers of the schemas."""
    return f"{__version__}/{len(MIGRATIONS)}/{len(SHARD_STEPS)}/{len(QUEUE_STEPS)}"
