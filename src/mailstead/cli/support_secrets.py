"""What must not be in the bundle for support: every secret the server knows, and what looks like one.

Invariants: a secret goes wherever it stands, as it is, in JSON, or as one of the keys that are kept together; the time that takes
does not grow with the number of accounts but with the length of the text.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mailstead.migration.service import secret_context
from mailstead.settings.declarations import ACCOUNT, ACCOUNT_DATA_CONTEXTS, DOMAIN, DOMAIN_CONTEXTS, OBJECT_KINDS, SERVICE_CONTEXTS
from mailstead.settings.sealing import KEY_FILE, Sealer, SealError
from mailstead.settings.service import Settings

SHORTEST_SECRET = 4
SHORTEST_KEY = 16
"""Of octets within a secret that are one by themselves, in characters."""
TAIL = 16
"""Characters at the end of a secret by which it is looked for; hashes begin alike."""
REMOVED = "[removed]"
STATIC_VALUE = ("staticParam", "value")
"""What a gateway of short messages is told with each of them: where the key of the account is, as a rule."""
_CONTEXTS = {**SERVICE_CONTEXTS, **DOMAIN_CONTEXTS, **ACCOUNT_DATA_CONTEXTS}

_QUOTED = r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'"
_NAMED = re.compile(
    r"(\b[\w-]{0,40}(?:password|passwd|pass|passphrase|secret|secret[-_]?(?:key|answer)|(?:api|private|access|cluster)[-_]?key|token|"
    r"authorization|cookie|community|credentials?)[\"']?\s*[=:]\s*)"
    rf"({_QUOTED}|(?:(?:basic|bearer|digest|negotiate)\s+)?[^\s,;}}]+)",
    re.I,
)
_COMMANDS = re.compile(
    r"(\bAUTH(?:ENTICATE)?\s+[A-Z][A-Z0-9-]+\s+)[A-Za-z0-9+/=]{8,}"
    rf"|(\bLOGIN\s+(?:{_QUOTED}|\S+)\s+)(?:{_QUOTED}|\S+)"
    rf"|(\bPASS\s+)\S+"
)
_ADDRESSES = re.compile(r"(://[^\s/:@]*:)[^\s/@]+(?=@)")
_KEYS = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S)
_HASHES = re.compile(
    r"\$(?:argon2\w*|2[abxy]|[1567y]|gy|apr1|sha1|md5|pbkdf2[\w-]*|scram[\w-]*)\$[\w./+=,$-]+"
    r"|\{(?:s?sha\d*|s?md5|crypt|\w+-crypt|pbkdf2[\w-]*|argon2\w*|scram[\w-]*|plain\w*|clear\w*)(?:\.\w+)?\}[^\s\"',;]{4,}"
    r"|scram-sha-\d+\$[\w./+=,$:-]+",
    re.I,
)


def known_secrets(settings: Settings, data_dir: Path) -> set[str]:
    """Every secret of a server: of settings and objects, passwords in whatever form, passwords at other servers, what deleted
    objects had of these, keys of certificates and the master key. Blocking."""
    query = settings.database.query
    found: set[str] = set()
    for name, value in query("SELECT name, value FROM setting"):
        if _is_secret_setting(str(name)):
            found.add(str(value))
    for kind, attributes in query("SELECT kind, attributes FROM object"):
        found.update(_of_object(str(kind), json.loads(attributes)))
    for table, columns in (
        ("account", ("password", "scram", "recoverable")), ("admin", ("password", "scram")),
        ("recipient", ("password", "scram", "recoverable")),
        ("password_history", ("password",)), ("migration_job", ("secret",)), ("meta", ("value",)),
    ):  # fmt: skip
        where = " WHERE key LIKE '%ecret%'" if table == "meta" else ""
        for row in query(f"SELECT {', '.join(columns)} FROM {table}{where}"):
            found.update(str(value) for value in row if value)
    for table, content in query("SELECT name, content FROM deleted_row"):
        found.update(_of_deleted(str(table), json.loads(content)))
    sealer = Sealer(data_dir / "keys")
    for job, sealed in query("SELECT id, secret FROM migration_job WHERE secret <> ''"):
        with contextlib.suppress(SealError, OSError):  # of another master key: nobody can open it
            found.add(sealer.open(str(sealed), secret_context(int(job))))
    found.update(_of_files(data_dir))
    return found | {part for one in found for part in _parts(one)}


def _is_secret_setting(name: str) -> bool:
    context, _, rest = name.rpartition(".")
    setting = _CONTEXTS.get(context, ACCOUNT).by_name.get(rest.lower()) or DOMAIN.by_name.get(rest.lower())
    return setting.secret if setting is not None else _sounds_secret(rest)


def _of_object(kind_name: str, attributes: dict[str, Any]) -> Iterator[str]:
    kind = OBJECT_KINDS.get(kind_name)
    for name, value in attributes.items():
        setting = kind.context.by_name.get(name.lower()) if kind is not None else None
        if (kind_name, name) == STATIC_VALUE or (setting.secret if setting is not None else _sounds_secret(name)):
            yield str(value)


def _of_deleted(table: str, row: dict[str, Any]) -> Iterator[str]:
    for name, value in row.items():
        if value and (name in ("password", "scram", "recoverable") or _sounds_secret(name)):
            yield str(value)
    if table == "setting" and _is_secret_setting(str(row.get("name", ""))):
        yield str(row.get("value", ""))
    if table == "object":
        yield from _of_object(str(row.get("kind", "")), json.loads(row.get("attributes") or "{}"))


def _of_files(data_dir: Path) -> Iterator[str]:
    """Lines of private keys, for a log may have one without what stands around them; the master key as it would be written."""
    for path in (data_dir / "certs").rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file() and path.stat().st_size < 1 << 20:
                for block in _KEYS.findall(path.read_text("utf-8", "replace")):
                    yield from (line for line in block.splitlines() if len(line) >= SHORTEST_KEY and not line.startswith("-----"))
    with contextlib.suppress(OSError):
        key = (data_dir / "keys" / KEY_FILE).read_bytes()
        yield from (key.hex(), base64.b64encode(key).decode())


def _parts(secret: str) -> Iterator[str]:
    """Keys that a secret holds several of, as SCRAM's are kept (JSON)."""
    if secret[:1] not in "{[":
        return
    with contextlib.suppress(ValueError):
        waiting = [json.loads(secret)]
        while waiting:
            one = waiting.pop()
            if isinstance(one, dict):
                waiting.extend(one.values())
            elif isinstance(one, list):
                waiting.extend(one)
            elif isinstance(one, str) and len(one) >= SHORTEST_KEY:
                yield one


def _sounds_secret(name: str) -> bool:
    return bool(re.search(r"passw|passwd|secret|token|clusterkey|apikey|community|bindpass", name, re.I))


class Cleaner:
    """Takes secrets out of texts: those that are known wherever they stand, and what looks like one."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._by_tail: dict[int, dict[str, list[str]]] = {}
        wanted = {one for one in secrets if len(one) >= SHORTEST_SECRET}
        escaped = {json.dumps(one, ensure_ascii=ascii)[1:-1] for one in wanted for ascii in (True, False)}
        for one in wanted | escaped:
            length = min(TAIL, len(one))
            self._by_tail.setdefault(length, {}).setdefault(one[-length:], []).append(one)

    def __call__(self, text: str) -> str:
        """The text without them."""
        text = _KEYS.sub(REMOVED, self._without_known(text))
        text = _HASHES.sub(REMOVED, text)
        text = _NAMED.sub(lambda found: found[1] + _kept(found[2]), text)
        text = _COMMANDS.sub(lambda found: (found[1] or found[2] or found[3]) + REMOVED, text)
        return _ADDRESSES.sub(rf"\1{REMOVED}", text)

    def _without_known(self, text: str) -> str:
        spans: list[tuple[int, int]] = []
        for length, tails in self._by_tail.items():
            for end in range(length, len(text) + 1):
                whole = tails.get(text[end - length : end])
                if whole is not None:
                    fitting = [len(one) for one in whole if text.endswith(one, 0, end)]
                    if fitting:
                        spans.append((end - max(fitting), end))
        parts: list[str] = []
        done = 0
        for start, end in sorted(spans):
            if start >= done:
                parts += (text[done:start], REMOVED)
            done = max(done, end)
        return "".join(parts) + text[done:]


def _kept(value: str) -> str:
    """What stands behind a name that promises a secret: words that are none stay."""
    bare = value.strip("\"'")
    plain = bare.lower() in ("", "yes", "no", "true", "false", "none", "(secret)", REMOVED) or bare.isdigit()
    return value if plain else REMOVED
