"""When a failed recipient is tried again, and when no more (SMO-06, SMO-08)."""

from __future__ import annotations


def retry_delay(attempts: int, first: int, longest: int) -> int:
    """Seconds from the ``attempts``-th failure (1, 2, ...) to the next try: ``first`` doubled per retry, at most
    ``longest``."""
    return min(first << min(attempts - 1, 40), longest) if attempts > 0 else 0


def exhausted(attempts: int, retries: int) -> bool:
    """True where the first try and all its ``retries`` have failed."""
    return attempts > retries


def last_try(now: int, attempts: int, first: int, longest: int, retries: int) -> int:
    """Unix time at which a recipient that keeps failing will be given up."""
    at = now
    for attempt in range(attempts, retries + 1):
        if first << min(attempt - 1, 40) >= longest:
            return at + longest * (retries + 1 - attempt)
        at += retry_delay(attempt, first, longest)
    return at
