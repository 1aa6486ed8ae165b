"""What threading and sorting need (RFC 5256): base subject and message ids.

Invariants
- Linear time; nothing raises.
- The base subject is decoded and lower-case, so that equal means equal.
"""

import re

from .encoded_words import decode_words
from .headers import unfold

MAX_REFERENCES = 50
_MAX_SUBJECT = 2000
_MAX_ID = 1000

_id = re.compile(rb"<([^<>]{1,1000})>")
_blanks = re.compile(rb"\s+")
# RFC 5256 section 2.1: subj-refwd and subj-blob. The reply marks beyond re/fw/fwd are what mail programs of other
# languages write; "[123]" and ":" after a counter are theirs, too.
_leader = re.compile(r"(?:re|fw|fwd|aw|wg|sv|vs|antw|odp)[ ]?(?:\[[^\[\]]{0,200}\][ ]?|\(\d{1,3}\)[ ]?)?[:：]\s?").match
_blob = re.compile(r"\[[^\[\]]{0,200}\][ ]?").match


def base_subject(value: bytes) -> str:
    """RFC 5256 section 2.1 base subject of a Subject field's raw value, lower-case."""
    return subject_of(value)[0]


def subject_of(value: bytes) -> tuple[str, bool]:
    """The base subject, and whether the message is a reply or was forwarded by what was taken off (RFC 5256 section 2.1)."""
    text = " ".join(decode_words(value[:_MAX_SUBJECT]).lower().split())
    start = 0
    reply = False
    while True:
        # (2) trailing "(fwd)"
        while text.endswith("(fwd)"):
            text = text[:-5].rstrip()
            reply = True
        # (3)-(5) leaders and blobs; a blob goes only if something is left
        while True:
            found = _leader(text, start)
            if found is not None:
                start = found.end()
                reply = True
                continue
            found = _blob(text, start)
            if found is None:
                break
            leader = _leader(text, found.end())
            if leader is not None:
                start = leader.end()
                reply = True
            elif found.end() < len(text):
                start = found.end()
            else:
                break
        # (6) the whole wrapped in [fwd: ...]
        if text.startswith("[fwd:", start) and text.endswith("]"):
            text = text[start + 5 : -1].strip()
            start = 0
            reply = True
            continue
        return text[start:].strip(), reply


def _clean(found: bytes) -> str:
    if b" " in found or b"\t" in found or b"\n" in found:
        found = _blanks.sub(b"", found)
    return found.decode("utf-8", "replace").replace("\0", "")


def message_id(value: bytes | None) -> str:
    """The id of a Message-ID field's raw value without angle brackets, '' if there is none."""
    if value is None:
        return ""
    found = _id.search(value)
    if found is not None:
        return _clean(found.group(1))
    words = unfold(value).strip(b"<>").split(None, 1)
    return _clean(words[0][:_MAX_ID]) if words else ""


def field_ids(value: bytes, newest: int) -> list[str]:
    """The last `newest` ids of a References or In-Reply-To field's raw value as they are written, with repetitions."""
    return [_clean(found) for found in _id.findall(value[-60_000:])[-newest:]]


def reference_ids(references: bytes | None, in_reply_to: bytes | None) -> tuple[str, ...]:
    """Ids of References, then In-Reply-To, without repetition, the newest 50 (RFC 5256 section 3)."""
    if references is None and in_reply_to is None:
        return ()
    found = _id.findall(references[-60_000:]) if references else []
    if in_reply_to:
        found += _id.findall(in_reply_to[:4000])
    return tuple(dict.fromkeys(map(_clean, found[-200:])))[-MAX_REFERENCES:]
