"""Whether a backup is whole: every octet of it is read and held against its hash.

Invariants: nothing is changed; everything that is wrong is named, by the file of the data directory that it is of.
"""

from __future__ import annotations

from collections.abc import Callable

from mailstead.store.backup.create import Throttle
from mailstead.store.backup.repository import Damaged, Manifest, Piece, Repository


def verify(
    repository: Repository, labels: list[str], told: Callable[[str], None], *, quick: bool = False, rate: float = 0.0
) -> tuple[int, int]:
    """Check backups; pieces they share are read once. ``quick``: only whether pieces are there in their size. Returns files
    checked and findings, which ``told`` got in words. Blocking. Raises BackupError for a label that is not there, OSError."""
    throttle = Throttle(rate)
    seen: dict[Piece, str] = {}
    files = findings = 0
    for label in labels:
        try:
            manifest = repository.manifest(label)
        except Damaged as error:
            told(f"{label}: {error}")
            findings += 1
            continue
        for text in _contents(manifest):
            told(f"{label}: {text}")
            findings += 1
        for entry in manifest.files:
            files += 1
            for piece in entry.pieces:
                if piece not in seen:
                    seen[piece] = _fault(repository, piece, quick, throttle)
                if seen[piece]:
                    told(f"{label}: {entry.path}: {seen[piece]}")
                    findings += 1
    return files, findings


def _fault(repository: Repository, piece: Piece, quick: bool, throttle: Throttle) -> str:
    if not repository.holds(piece):
        path = repository.piece_path(piece.sha256)
        return f"piece {path} {'has another size' if path.exists() else 'is missing'}"
    if quick:
        return ""
    try:
        for chunk in repository.read(piece):
            throttle.passed(len(chunk))
    except Damaged as error:
        return str(error)
    except OSError as error:
        return f"piece {repository.piece_path(piece.sha256)} cannot be read: {error.strerror}"
    return ""


def _contents(manifest: Manifest) -> list[str]:
    """What a backup of a data directory cannot be without."""
    paths = manifest.by_path()
    wanted = ["index/system.db", *(f"index/{stem}.db" for stem in manifest.commits)]
    found = [f"{path} is not in it" for path in wanted if path not in paths]
    found += [
        f"{entry.path}: its pieces do not make up its size"
        for entry in manifest.files
        if sum(piece.size for piece in entry.pieces) != entry.size
    ]
    return found
