"""Sentences of a grammar of IMAP's commands, right ones and those that went wrong somewhere.

Invariants: every command of the table is said, one that has no rule here with arguments of every kind; what `say` gives is
framed well (a literal has the size that is announced, and no line ends within a command) unless it is asked for raw octets.
"""

from __future__ import annotations

import random
import re

from mailstead.imap.commands import Entry

ENDING = (b"LOGOUT", b"UNAUTHENTICATE", b"CLOSE", b"UNSELECT", b"COMPRESS", b"EXAMINE", b"DELETE", b"EXPUNGE")
RULES: dict[str, list[str]] = {
    "LOGIN": [" <user> <password>", " <astring> <astring>"],
    "AUTHENTICATE": [" PLAIN", " PLAIN <b64>", " LOGIN", " SCRAM-SHA-256 <b64>", " <atom>", " PLAIN =", " EXTERNAL ="],
    "ID": [" NIL", " (<string> <string>)", " (<string> NIL <string> <string>)", " ()"],
    "LANGUAGE": ["", " <string>", " de en", " *"],
    "ENABLE": [" <ext>", " <ext> <ext>", " <atom>"],
    "SELECT": [" <box>", " <box>", " <box> (CONDSTORE)", " <box> (QRESYNC (<number> <number>))",
               " <box> (QRESYNC (<number> <number> <uids> (<uids> <uids>)))"],
    "EXAMINE": [" <box>"],
    "CREATE": [" <box>", " <box> (USE (\\Drafts))", " <box> (USE (\\<atom>))"],
    "DELETE": [" <box>"],
    "RENAME": [" <box> <box>"],
    "SUBSCRIBE": [" <box>"],
    "UNSUBSCRIBE": [" <box>"],
    "LIST": [" <box> <pattern>", " (<listsel>) <box> <pattern>", " \"\" (<pattern> <pattern>) RETURN (<listret>)",
             " (SUBSCRIBED RECURSIVEMATCH) \"\" <pattern> RETURN (<listret> <listret>)"],
    "LSUB": [" <box> <pattern>"],
    "GETACL": [" <box>"],
    "SETACL": [" <box> <who> <rights>"],
    "DELETEACL": [" <box> <who>"],
    "LISTRIGHTS": [" <box> <who>"],
    "MYRIGHTS": [" <box>"],
    "GETMETADATA": [" <box> <entry>", " (MAXSIZE <number>) <box> (<entry> <entry>)", " (DEPTH <depth>) <box> <entry>"],
    "SETMETADATA": [" <box> (<entry> <nstring>)", " <box> (<entry> <nstring> <entry> <nstring>)"],
    "STATUS": [" <box> (<statusitem>)", " <box> (<statusitem> <statusitem> <statusitem>)"],
    "APPEND": [" <box> <appended>", " <box> <appended> <appended>"],
    "REPLACE": [" <one> <box> <appended>"],
    "COMPRESS": [" DEFLATE", " <atom>"],
    "GETQUOTA": [" <astring>", ' ""'],
    "SETQUOTA": [' "" (STORAGE <number>)'],
    "GETQUOTAROOT": [" <box>"],
    "UID EXPUNGE": [" <set>"],
    "SEARCH": [" <key>", " <key> <key>", " RETURN (<ret>) <key>", " CHARSET UTF-8 <key>", " RETURN (<ret> <ret>) <key> <key>"],
    "ESEARCH": [" IN (<scope>) <key>", " IN (<scope> <scope>) RETURN (<ret>) <key>"],
    "CANCELUPDATE": [' "<tag>"'],
    "SORT": [" (<order>) UTF-8 <key>", " RETURN (<ret>) (REVERSE <order> <order>) US-ASCII <key>"],
    "THREAD": [" REFERENCES UTF-8 <key>", " ORDEREDSUBJECT US-ASCII <key>", " REFS UTF-8 ALL", " <atom> UTF-8 <key>"],
    "FETCH": [" <set> <item>", " <set> (<item> <item>)", " <set> ALL", " <set> (<item>) (CHANGEDSINCE <number>)",
              " <set> (<item>) (CHANGEDSINCE <number> VANISHED)", " <set> (<item> <item> <item>) (PARTIAL <range>)"],
    "STORE": [" <set> <mode> (<flag>)", " <set> (UNCHANGEDSINCE <number>) <mode> (<flag> <flag>)", " <set> <mode> <flag> <flag>"],
    "COPY": [" <set> <box>"],
    "MOVE": [" <set> <box>"],
    "NOTIFY": [" NONE", " SET (<filter> (<event>))", " SET STATUS (<filter> (MessageNew MessageExpunge <event>))",
               " SET (selected (MessageNew (<item>) MessageExpunge)) (<filter> (<event>))"],
    "GENURLAUTH": [' "<url>" INTERNAL', ' "<url>;URLAUTH=anonymous" INTERNAL'],
    "URLFETCH": [' "<url>"', ' ("<url>" BODYPARTSTRUCTURE BINARY)'],
    "RESETKEY": ["", " <box>", " <box> INTERNAL"],
    "": ["", "", " <any>", " <any> <any>", " (<any> <any>)", " <any> (<any>) <any> <any>"],
    "any": ["<atom>", "<string>", "<set>", "<box>", "<number>", "<flag>", "()", "(<any>)", "NIL", "<key>", "<item>", "<literal>"],
    "user": ["alice@example.test", "bob@example.test"], "password": ["wonder-land-1"],
    "who": ["alice", "bob", "anyone", "-bob", "group=none", "<astring>"],
    "rights": ["lr", "+s", "-r", '""', "lrswipkxtea", "<atom>"],
    "b64": ["=", "AGFsaWNlAHdvbmRlci1sYW5kLTE=", "biws", "<atom>"],
    "ext": [*["CONDSTORE", "QRESYNC", "IMAP4rev2", "UTF8=ACCEPT", "<atom>"] * 3, "UIDONLY"],
    "atom": ["x", "INBOX", "NIL", "abc", "a.b", "ALL", "12"],
    "string": ['"x"', '""', '"a\\"b"', "<literal>", '"two words"'],
    "nstring": ["NIL", "<string>", "~<literal>"],
    "astring": ["<atom>", "<string>"],
    "literal": ["<%x>", "<%>", "<%a b>", "<%\xc3\xbc>"],
    "box": ["INBOX", "inbox", "Work", "Work/Plans", "Work/Plans", '"Other Users/alice/Work"', '"Public Folders/News"',
            "&AOQ-x", "New",
            '"Other Users"', '""', "<astring>", "a//b", "/", "Sent"],
    "pattern": ["*", "%", "Work/%", '""', "*%*", "Other*", "<astring>"],
    "listsel": ["SUBSCRIBED", "REMOTE", "SPECIAL-USE", ""],
    "listret": ["CHILDREN", "SUBSCRIBED", "STATUS (<statusitem>)", "MYRIGHTS", "METADATA (<entry>)", "SPECIAL-USE", "<atom>"],
    "entry": ["/private/comment", "/shared/comment", "/private/vendor/x", "/private/filters/values/f", "/x", "<astring>"],
    "depth": ["0", "1", "infinity", "2"],
    "statusitem": ["MESSAGES", "UNSEEN", "DELETED", "SIZE", "UIDNEXT", "HIGHESTMODSEQ", "MAILBOXID", "DELETED-STORAGE", "<atom>"],
    "appended": ["<%Subject: s\r\n\r\ntext\r\n>", "(<flag> <flag>) <%Subject: s\r\n\r\nb>",
            '"12-Mar-2024 10:00:00 +0100" <%a: b\r\n\r\n>',
                 "~<%Subject: s\r\n\r\n\0>", "UTF8 (~<%Subject: \xc3\xbc\r\n\r\n>)",
            'CATENATE (TEXT <%a: b\r\n\r\n> URL "<url>")', "<string>"],
    "url": ["/INBOX/;UID=1", "/INBOX/;UID=2/;SECTION=1", "imap://bob@127.0.0.1/INBOX/;UID=1", "/Work/;UID=1/;PARTIAL=1.5", "x",
            "/%zz"],
    "one": ["1", "2", "*", "<set>"],
    "set": ["1", "1:*", "*", "2,4:5", "$", "9:1", "4294967295", "1:2,1", "3", "0"],
    "uids": ["1", "1:3", "2,5", "1:4294967295"],
    "number": ["0", "1", "3", "20", "4294967295", "18446744073709551615"],
    "range": ["1:3", "-1:-2", "1:1", "0:1"],
    "mode": ["FLAGS", "+FLAGS", "-FLAGS", "+FLAGS.SILENT", "FLAGS.SILENT"],
    "flag": ["\\Seen", "\\Deleted", "\\Flagged", "$Work", "\\Recent", "Key", "\\Odd"],
    "item": ["FLAGS", "UID", "ENVELOPE", "BODYSTRUCTURE", "BODY", "RFC822.SIZE", "INTERNALDATE", "MODSEQ", "EMAILID",
            "PREVIEW (LAZY)",
             "BODY[]", "BODY.PEEK[<section>]", "BODY[<section>]<<<number>.<number>>", "BINARY[1]", "BINARY.PEEK[2.1]",
            "BINARY.SIZE[1]",
             "SAVEDATE", "RFC822", "RFC822.HEADER", "THREADID", "<atom>"],
    "section": ["", "HEADER", "TEXT", "1", "1.MIME", "2.1", "HEADER.FIELDS (Subject From)", "HEADER.FIELDS.NOT (<astring>)",
            "9.9", "MIME"],
    "key": ["ALL", "SEEN", "NOT <key>", "OR <key> <key>", "(<key> <key>)", "SUBJECT <string>", "TEXT <string>",
            "BODY <string>", "<set>",
            "UID <set>", "SINCE 1-Jan-2020", "LARGER <number>", "KEYWORD <flag>", "HEADER <astring> <string>", "MODSEQ <number>",
            "OLDER <number>", "FUZZY SUBJECT <string>", "FILTER f", "SAVEDBEFORE 1-Feb-2030", "EMAILID <atom>",
            "FROM <string>", "<atom>",
            'MODSEQ "/flags/\\\\Seen" all <number>'],
    "ret": ["ALL", "COUNT", "MIN", "MAX", "SAVE", "PARTIAL <range>", "UPDATE", "CONTEXT", "", "<atom>"],
    "scope": ["selected", "personal", "subtree <box>", "subtree-one (<box> <box>)", "mailboxes <box>", "inboxes", "<atom>"],
    "order": ["DATE", "SUBJECT", "SIZE", "FROM", "ARRIVAL", "DISPLAYFROM", "CC", "<atom>"],
    "filter": ["personal", "selected", "selected-delayed", "inboxes", "subscribed", "subtree <box>", "mailboxes (<box> <box>)"],
    "event": ["MessageNew", "MessageExpunge", "FlagChange", "MailboxName", "SubscriptionChange", "MailboxMetadataChange", "<atom>"],
}  # fmt: skip
_symbol = re.compile(r"<(%?)((?:[^<>]|\r\n)*)>", re.S)
ODD = [
    b"(",
    b")",
    b"[",
    b"]",
    b'"',
    b"\\",
    b"*",
    b"%",
    b" ",
    b"  ",
    b"{",
    b"}",
    b"<",
    b">",
    b"\xff",
    b"~",
    b",",
    b":",
    b"-",
    b"\t",
    b"NIL",
    b"\x01",
]


class Speaker:
    """Says commands; `tag` is the last one used."""

    def __init__(self, rng: random.Random, commands: dict[bytes, Entry], name: str) -> None:
        self.rng = rng
        self.commands = sorted(commands)
        # Those in a selected mailbox have most to do; those that end something are seldom wanted.
        self.weights = [0.3 if n in ENDING else 3.0 if commands[n].state == "selected" else 1.0 for n in self.commands]
        self.name = name
        self.count = 0
        self.tag = b""

    def _expand(self, rule: str, depth: int = 0) -> list[tuple[bool, bytes]]:
        """Pieces: (is it a literal, its octets)."""
        out: list[tuple[bool, bytes]] = []
        at = 0
        for found in _symbol.finditer(rule):
            out.append((False, rule[at : found.start()].encode("latin-1")))
            at = found.end()
            if found[1]:
                out.append((True, found[2].encode("latin-1")))
            elif found[2] == "tag":
                out.append((False, self.tag))
            elif found[2] not in RULES:
                out.append((False, found[0].encode("latin-1")))
            else:
                choices = RULES[found[2]]
                out += self._expand(
                    choices[-1] if depth > 8 and found[2] != "any" else self.rng.choice(choices[: 4 if depth > 8 else None]),
                    depth + 1,
                )
        out.append((False, rule[at:].encode("latin-1")))
        return out

    def _spoil(self, octets: bytes) -> bytes:
        """One fault in a text."""
        rng, at = self.rng, self.rng.randrange(len(octets) + 1)
        end = min(len(octets), at + rng.randrange(1, 6))
        return rng.choice([
            lambda: octets[:at] + octets[end:], lambda: octets[:at] + rng.choice(ODD) + octets[at:],
            lambda: octets[:at] + octets[at:end] * 3 + octets[end:], lambda: octets[:at],
            lambda: octets[:at] + b"(" * 60 + octets[at:], lambda: octets[:at] + b"9" * 30 + octets[at:], lambda: octets.swapcase(),
            lambda: octets[:at] + b"A" * rng.choice([300, 5000, 70000]) + octets[at:],
        ])()  # fmt: skip

    def say(self, name: bytes | None = None, spoil: float = 0.35) -> list[bytes]:
        """A command, cut where the client waits for a continuation before it sends the next piece."""
        rng = self.rng
        self.count += 1
        name = name or rng.choices(self.commands, self.weights)[0]
        plain = name.decode()
        choices = RULES.get(plain) or RULES.get(plain.removeprefix("UID ")) or RULES[""]
        if rng.random() < 0.05:
            choices = RULES[""]
        tag = f"{self.name}{self.count}".encode()
        pieces = [(False, name), *self._expand(rng.choice(choices))]
        out = [tag + b" "]
        for literal, octets in pieces:
            if not literal:
                text = self._spoil(octets) if octets and rng.random() < spoil / len(pieces) else octets
                # The end of a line must not announce a literal that does not come.
                out[-1] += re.sub(rb"[\r\n]|\+?\}", b"", text) if text is not octets else text
                continue
            if not re.search(rb"[\r\n\0]", octets) and octets and rng.random() < 0.1:
                out[-1] += b'"%b"' % octets.replace(b'"', b"'").replace(b"\\", b"/")
            elif rng.random() < 0.5:
                out[-1] += b"{%d}\r\n" % len(octets)
                out.append(octets)
            else:
                out[-1] += b"{%d+}\r\n" % len(octets) + octets
        out[-1] += b"\n" if rng.random() < 0.05 else b"\r\n"
        self.tag = tag
        return out

    def raw(self) -> bytes:
        """Several commands, and what a broken or hostile client makes of them: any octet anywhere."""
        rng = self.rng
        octets = b"".join(b"".join(self.say()) for _ in range(rng.randrange(1, 6)))
        for _ in range(rng.randrange(1, 8)):
            at = rng.randrange(len(octets) + 1)
            end = at + rng.randrange(0, 12)
            odd = rng.choice(
                [*ODD, b"\r", b"\n", b"\0", b"\r\n", b"{5}\r\n", b"{70000+}\r\n", b"{3+}\n", b"{99999999999}\r\n", b"~{4+}\r\n"]
            )
            octets = octets[:at] + odd + octets[end:]
        return octets
