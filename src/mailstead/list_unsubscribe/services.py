"""What the face of one-click unsubscribing is given to work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailstead.delivery.lists.service import Lists


@dataclass(slots=True)
class ListUnsubscribeServices:
    """The mailing lists of the process."""

    lists: Lists
