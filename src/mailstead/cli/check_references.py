"""Names in settings that lead nowhere: domains, files, connectors, filters, user maps.

Invariants: only what the server would look for is looked for (see `settings.references`); a value that many places have is told
once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mailstead.delivery.account_mail import read_template
from mailstead.directory.service import Directory
from mailstead.settings.references import dangling_filters, is_there, references


def dangling_references(directory: Directory, data_dir: Path) -> Iterator[str]:
    """In words, one for each setting and value."""
    places: dict[tuple[str, str, str], list[str]] = {}
    for where, setting, text in references(directory.database):
        places.setdefault((setting.name, setting.names, text), []).append(where)
    for (setting_name, names, text), found in places.items():
        fault = _fault(directory, data_dir, names, text)
        if fault:
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            yield f"{found[0]}{more}: {setting_name} names {text[:200]}: {fault}"
    yield from dangling_filters(directory.database)


def _fault(directory: Directory, data_dir: Path, names: str, text: str) -> str:
    if names == "domain":
        return "" if directory.domain_by_name(text) is not None else "there is no such domain"
    if names in ("file", "template"):
        try:
            if names == "file":
                Path(directory.settings.file(text)).read_bytes()
            else:
                read_template(data_dir, str(directory.settings.service("server").templatesPath), text)
        except OSError as error:
            return f"it cannot be read: {(error.strerror or str(error)).lower()}"
        except ValueError as error:
            return f"it cannot be read: {error}"
        return ""
    return "" if is_there(directory.database.query, names, text) else f"there is no such {names}"
