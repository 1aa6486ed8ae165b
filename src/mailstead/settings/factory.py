"""The named objects of a new server, written when its system database is made."""

from __future__ import annotations

import json

from mailstead.settings.database import Transaction
from mailstead.settings.declarations import FACTORY_OBJECTS, OBJECT_KINDS


def factory_objects(transaction: Transaction, author: str) -> None:
    """Add FACTORY_OBJECTS under the server, with their history."""
    for name, objects in FACTORY_OBJECTS.items():
        kind = OBJECT_KINDS[name]
        for attributes in objects:
            stored = {}
            for attribute, text in attributes.items():
                setting = kind.context.setting(attribute)
                stored[setting.name] = setting.render(setting.parse(text))
            row = transaction.row(
                "INSERT INTO object (kind, scope, scope_id, key, attributes) VALUES (?, 'service', 0, ?, ?) RETURNING id",
                (kind.name, kind.key_of(attributes[kind.key]), json.dumps(stored, ensure_ascii=False, sort_keys=True)),
            )
            assert row is not None
            transaction.record(author, "object", row[0], f"add {kind.name}", None, stored)
