"""What a mailing list says when nobody has written its own words (LST-01).

A template is the text of a mail. Its first line may be ``Subject: ...``. Placeholders, replaced wherever they stand:

| placeholder | what |
|---|---|
| ``$LIST`` | name of the list |
| ``$ADDRESS`` | its address |
| ``$DESCRIPTION`` | its description, its name where it has none |
| ``$EMAIL`` | the address the request is about |
| ``$NAME`` | the name that came with it |
| ``$COMMAND`` | the command or request that is answered |
| ``$CONFIRM`` | the address that takes the confirmation |
| ``$HOURS`` | how long a confirmation is waited for |
| ``$REASON`` | why something was refused |
| ``$OWNER`` | the address of whoever looks after the list |
| ``$SUBSCRIBE``, ``$UNSUBSCRIBE``, ``$REQUEST`` | its other addresses |

Invariants: what a request brings along is put in as one line without controls, and no placeholder in it is replaced again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

PLACEHOLDERS = (
    "LIST", "ADDRESS", "DESCRIPTION", "EMAIL", "NAME", "COMMAND", "CONFIRM", "HOURS", "REASON", "OWNER", "SUBSCRIBE",
    "UNSUBSCRIBE", "REQUEST",
)  # fmt: skip
_placeholder = re.compile(r"\$(" + "|".join(sorted(PLACEHOLDERS, key=len, reverse=True)) + r")\b")
_controls = re.compile(r"[\x00-\x1f\x7f]+")
MAX_VALUE = 1000

DEFAULTS: Mapping[str, str] = {
    "addHeader": "",
    "bodyBegin": "",
    "bodyEnd": "",
    "unknownCommand": """Subject: $LIST: unknown command

There is no command "$COMMAND". The list $ADDRESS knows these, one on a line:

  help                 this text
  info                 what the list is about
  subscribe            subscribe the address you write from
  unsubscribe          unsubscribe it
  set digest on|off    get digests instead of single messages
  set mail on|off      pause and resume
  end                  what follows is not read

With a line "password" and the list's password in front: who, add, remove,
pending, approve, reject, and set with the address of a member behind it.
Send them to $REQUEST.
""",
    "invalidUserName": """Subject: $LIST: address not usable

"$EMAIL" cannot be used as the address of a member of $ADDRESS.
""",
    "notAUser": """Subject: $LIST: not a member

$EMAIL is not a member of $ADDRESS, so nothing was done.
""",
    "badConfirmation": """Subject: $LIST: confirmation not valid

This confirmation for $ADDRESS is not valid, or no longer. Please send your request again.
""",
    "userAlreadySubscribed": """Subject: $LIST: already a member

$EMAIL is a member of $ADDRESS already, so nothing was done.
""",
    "invalidFormat": """Subject: $LIST: request not understood

"$COMMAND" was not understood: $REASON
Send "help" to $REQUEST to learn what can be said.
""",
    "requestNeedsConfirmation": """Subject: $LIST: please confirm

Somebody, probably you, asked to $COMMAND $EMAIL
for the mailing list $ADDRESS.

To confirm, answer this message, or send an empty one to

  $CONFIRM

within $HOURS hours. If you did not ask for this, do nothing.
""",
    "requestNeedsAdminConfirmation": """Subject: $LIST: waiting for the administrator

Your request to $COMMAND $EMAIL for $ADDRESS
waits for the administrator of the list. You will hear of it.
""",
    "autoRejectResponse": """Subject: $LIST: message not accepted

Your message was not sent to the list $ADDRESS: $REASON
The administrator of the list is $OWNER.
""",
    "welcome": """Subject: Welcome to $LIST

$EMAIL is now a member of the mailing list $ADDRESS.
$DESCRIPTION

To write to all members, write to $ADDRESS.
To leave the list, send a message to $UNSUBSCRIBE.
For everything else, send "help" to $REQUEST.
""",
    "goodbye": """Subject: Goodbye from $LIST

$EMAIL is no longer a member of the mailing list $ADDRESS.
""",
    "subscribeDenied": """Subject: $LIST: subscription refused

The subscription of $EMAIL to $ADDRESS was refused. $REASON
""",
}


def filled(template: str, values: Mapping[str, str]) -> tuple[str, str]:
    """``(subject, body)`` of a template; the subject is empty where the template has none. ``values``: text by placeholder."""
    subject, body = "", template
    first, newline, rest = template.partition("\n")
    if first.lower().startswith("subject:"):
        subject, body = first[8:].strip(), rest.lstrip("\r\n") if newline else ""

    def value(found: re.Match[str]) -> str:
        return _controls.sub(" ", values.get(found[1], ""))[:MAX_VALUE].strip()

    return _placeholder.sub(value, subject), _placeholder.sub(value, body)
