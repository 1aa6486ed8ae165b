"""The same commands to Mailstead and to Dovecot; where the answers differ, the reason stands here and in docs/standards.md."""

from __future__ import annotations

import random

from tests.oracle.conftest import Pair
from tests.oracle.responses import comparable

#: Command to why our answer is another.
DIFFERENT: dict[str, str] = {
    'LIST "" % RETURN (STATUS (MESSAGES UIDNEXT UNSEEN))': "whether there are children is told although nobody asked, as "
    "RFC 5258 section 4 allows",
    "STATUS Nothing (MESSAGES)": "the response code NONEXISTENT of RFC 5530",
    "SELECT Nothing": "the response code NONEXISTENT of RFC 5530",
    "FETCH 3 (BODY.PEEK[9])": "a part that is not there is NIL and not an empty string",
    'SEARCH SUBJECT "GRÜSSE"': "ss finds ß: case folding of Unicode, where Dovecot knows single letters only",
    "STORE 1:3 +FLAGS (\\Seen)": "flags are told also where they were set already",
    "STORE 1 +FLAGS (\\Seen)": "in a mailbox that was opened with EXAMINE it is refused and not ignored",
    "EXPUNGE": "in a mailbox that was opened with EXAMINE it is refused and not ignored",
    "DELETE Work": "a mailbox with children is not deleted: HASCHILDREN of RFC 9051 section 6.3.5",
    'LIST "" *': "follows from DELETE Work",
}

_WORDS = ["plan", "report", "invoice", "holiday", "Grüße", "lunch", "budget", "résumé", "meeting", "test"]


def mail(number: int) -> bytes:
    """A message of a small, varied mailbox: threads, encodings, attachments, odd dates."""
    rng = random.Random(number)
    subject = rng.choice(_WORDS)
    if number % 5 == 0:
        subject = f"Re: {subject}"
    if number % 7 == 0:
        subject = "=?utf-8?q?Gr=C3=BC=C3=9Fe_aus?= " + subject
    fields = [
        f"From: {rng.choice(['Ann ', 'bob ', 'Zoe ', ''])}<user{rng.randrange(4)}@example{rng.randrange(3)}.test>",
        f"To: <to{rng.randrange(3)}@example.test>, Second <second@example.test>",
        f"Subject: {subject}",
        f"Date: {rng.randrange(1, 28):02d} {rng.choice(['Jan', 'Feb', 'Nov'])} 20{rng.randrange(10, 24)} "
        f"{rng.randrange(24):02d}:11:12 {rng.choice(['+0000', '-0800', '+0530'])}",
        f"Message-ID: <m{number}@example.test>",
    ]
    if number % 3 == 0 and number:
        fields.append(f"References: <m{number // 3}@example.test> <m{number - 1}@example.test>")
    if number % 4 == 1:
        fields.append("Cc: copy@example.test")
        fields.append("X-Colour: blue")
    body = f"Body of number {number} with {rng.choice(_WORDS)}.\r\n" * (number % 6 + 1)
    if number % 6 == 2:
        fields += ["MIME-Version: 1.0", 'Content-Type: multipart/mixed; boundary="b"']
        body = (
            "preamble\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
            "caf=C3=A9 needle\r\n--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
            'Content-Disposition: attachment; filename="a.bin"\r\n\r\nAAECAwQ=\r\n--b--\r\n'
        )
    return ("\r\n".join(fields) + "\r\n\r\n" + body).encode()


COMMANDS = """
CREATE Work
CREATE Work/Plans
CREATE Work
CREATE INBOX
LIST "" *
LIST "" %
LIST "" "Work/%"
LIST "" INBOX
LIST (SUBSCRIBED) "" *
SUBSCRIBE Work
LSUB "" *
LIST (SUBSCRIBED) "" * RETURN (CHILDREN)
LIST "" % RETURN (STATUS (MESSAGES UIDNEXT UNSEEN))
RENAME Work/Plans Work/Done
RENAME Nothing Else
RENAME Work/Done Work
DELETE Nothing
DELETE INBOX
STATUS INBOX (MESSAGES UIDNEXT UNSEEN SIZE)
STATUS Nothing (MESSAGES)
SELECT Nothing
SELECT INBOX
FETCH 1:* (UID FLAGS RFC822.SIZE)
FETCH 1:* (ENVELOPE)
FETCH 1:* (BODYSTRUCTURE)
FETCH 1:* (BODY)
FETCH 3:5 (BODY.PEEK[HEADER.FIELDS (SUBJECT FROM)])
FETCH 3:5 (BODY.PEEK[HEADER.FIELDS.NOT (SUBJECT FROM RECEIVED)])
FETCH 2 (BODY.PEEK[]<0.20> BODY.PEEK[TEXT]<5.1000> BODY.PEEK[HEADER])
FETCH 3 (BODY.PEEK[1] BODY.PEEK[1.MIME] BODY.PEEK[2] BINARY.PEEK[2] BINARY.SIZE[1] BINARY.PEEK[1])
FETCH 3 (BODY.PEEK[9])
FETCH 999 (FLAGS)
FETCH 1:999 (UID)
FETCH *:38 (UID)
UID FETCH 999:* (FLAGS)
UID FETCH 5:3 (UID)
SEARCH ALL
SEARCH SUBJECT plan
SEARCH SUBJECT "GRÜSSE"
SEARCH SUBJECT grüße
SEARCH FROM user1
SEARCH TO second
SEARCH CC copy
SEARCH HEADER X-Colour blue
SEARCH HEADER X-Colour ""
SEARCH HEADER Message-ID "<m5@"
SEARCH TEXT needle
SEARCH BODY café
SEARCH BODY "number 3"
SEARCH NOT SUBJECT plan
SEARCH OR SUBJECT plan SUBJECT report
SEARCH LARGER 300
SEARCH SMALLER 300
SEARCH SENTSINCE 1-Jan-2015
SEARCH SENTBEFORE 1-Jan-2015
SEARCH SENTON 5-Feb-2013
SEARCH 3:6,9 UNSEEN
SEARCH UID 3:6
SEARCH RETURN (MIN MAX COUNT) SUBJECT plan
SEARCH RETURN (ALL) SUBJECT plan
SEARCH RETURN (COUNT) SUBJECT nothing-at-all
SEARCH CHARSET X-UNKNOWN ALL
SEARCH
SEARCH FROB
UID SEARCH SUBJECT plan
SORT (SUBJECT) UTF-8 ALL
SORT (REVERSE DATE) UTF-8 ALL
SORT (FROM SIZE) UTF-8 ALL
SORT (TO CC) UTF-8 ALL
SORT (DISPLAYFROM) UTF-8 ALL
UID SORT (ARRIVAL) UTF-8 SUBJECT plan
SORT RETURN (MIN COUNT) (SUBJECT) UTF-8 ALL
THREAD REFERENCES UTF-8 ALL
THREAD REFS UTF-8 ALL
THREAD ORDEREDSUBJECT UTF-8 ALL
UID THREAD REFERENCES UTF-8 SUBJECT plan
STORE 1:3 +FLAGS (\\Seen)
STORE 2 -FLAGS.SILENT (\\Seen)
STORE 4 FLAGS (\\Flagged $Label)
STORE 999 +FLAGS (\\Seen)
UID STORE 999 +FLAGS (\\Seen)
SEARCH KEYWORD $Label
SEARCH UNKEYWORD $Label
SEARCH SEEN UNFLAGGED
COPY 1:3 Work
COPY 1 Nothing
UID COPY 2,4 Work
UID COPY 999 Work
MOVE 5 Work
STATUS Work (MESSAGES UNSEEN)
STORE 2,4 +FLAGS (\\Deleted)
UID EXPUNGE 3
EXPUNGE
NOOP
CHECK
UNSELECT
EXAMINE INBOX
STORE 1 +FLAGS (\\Seen)
FETCH 1 BODY[TEXT]
FETCH 1 FLAGS
EXPUNGE
CLOSE
FETCH 1 FLAGS
SELECT Work
SEARCH RETURN (SAVE) UNSEEN
FETCH $ (UID)
RENAME INBOX Old
STATUS Old (MESSAGES)
STATUS INBOX (MESSAGES)
UNSELECT
DELETE Work
LIST "" *
NAMESPACE
FROB
""".strip().splitlines()


async def test_answers_are_those_of_dovecot(pair: Pair) -> None:
    for number in range(40):
        words = "(\\Seen)" if number % 4 == 0 else ""
        await pair.append("INBOX", mail(number), f'{words} "{number % 27 + 1:02d}-Mar-2021 10:00:00 +0000"'.strip())
    # Dovecot makes INBOX alone; ours has the special folders from the start.
    for name in ("Drafts", "Sent", "Trash", "Spam", "Archive"):
        await pair.ours.ok(f"DELETE {name}")
        await pair.ours.ok(f"UNSUBSCRIBE {name}")
    await pair.ours.ok("UNSUBSCRIBE INBOX")
    found: dict[str, tuple[object, object]] = {}
    for command in COMMANDS:
        ours, theirs = await pair.both(command)
        mine, other = comparable(ours), comparable(theirs)
        if mine != other:
            found[command] = (mine, other)
    assert DIFFERENT.keys() <= found.keys()
    for command in DIFFERENT:
        del found[command]
    for command, (mine, other) in found.items():
        print("==", command, "\n  ours  ", str(mine)[:1500], "\n  theirs", str(other)[:1500])
    assert not found
