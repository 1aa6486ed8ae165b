"""The mails that the server writes to users about their accounts, when nobody has written better ones.

A template is a file below ``server.templatesPath``: a text whose first lines may be ``Subject:`` and ``From:`` fields, followed by
an empty line. Placeholders, replaced wherever they stand (each template has those that make sense for it):

| placeholder | what |
|---|---|
| ``$DOMAIN`` | the account's domain |
| ``$ACCOUNT`` | its address |
| ``$FULLNAME`` | the name of its owner, the address where there is none |
| ``$THRESHOLD`` | percentage from which a warning is sent |
| ``$SIZEQUOTA``, ``$SIZEUSED``, ``$SIZEPERCENT`` | quota of size in KB, use in KB and in percent; "unlimited" and "-" without |
| ``$COUNTQUOTA``, ``$COUNTUSED``, ``$COUNTPERCENT`` | the same for messages |
| ``$LIMIT`` | which sending limit was overstepped, in words |
| ``$MESSAGES``, ``$RECIPIENTS``, ``$SIZE`` | what was sent in the interval; size in KB |
| ``$INTERVAL`` | the interval in seconds |
| ``$EXPIRES``, ``$DAYS`` | when the password expires, and in how many days |
"""

from __future__ import annotations

QUOTA_ALERT = """Subject: Your mailbox is $SIZEPERCENT / $COUNTPERCENT full

Hello $FULLNAME,

your mailbox $ACCOUNT has reached $THRESHOLD% of what it may hold:

  size:      $SIZEUSED of $SIZEQUOTA KB ($SIZEPERCENT)
  messages:  $COUNTUSED of $COUNTQUOTA ($COUNTPERCENT)

When it is full, new mail can no longer be delivered to you. Please delete what
you no longer need, and empty the Trash.
"""
SENDING_LIMIT = """Subject: $ACCOUNT has reached its sending limit

The account $ACCOUNT ($FULLNAME) has reached its limit of $LIMIT
in $INTERVAL seconds, and may not send until the interval is over.

Sent in this interval:

  messages:    $MESSAGES
  recipients:  $RECIPIENTS
  size:        $SIZE KB

If this is more than its owner would send, the password may be known to others.
"""
PASSWORD_WARNING = """Subject: Your password expires in $DAYS days

Hello $FULLNAME,

the password of $ACCOUNT expires on $EXPIRES.
Please change it before; afterwards you cannot log in with it.
"""
WELCOME = """Subject: Welcome

Hello $FULLNAME,

your mailbox $ACCOUNT is ready.

Your user name is your address. Your mail program finds the settings of the
server by itself in most cases; otherwise ask your administrator for them.
"""
