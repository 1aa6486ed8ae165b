"""Replies taken apart as programs that speak the protocol do it: contract sections 1, 2, 3, 4 and 7.

Pieces of a reply are what CRLF separates, the prompt last; the slices are those of the programs.
"""

from __future__ import annotations

import asyncio
import re
import time

import pytest

from tests.admin_cli.conftest import ADMIN, PASSWORD, Client, Face

CRLF = "\r\n"
REPLY = re.compile(r"(((\+OK)|(-ERR)):.*)\r\n\<([A-Za-z0-9\-]*#?)\> ")
"""What a program looks for in everything it has read so far: the end of a reply, and never anything before it."""
ALARMING = re.compile(r"error|unknown|invalid|failed|already exists|does not exist", re.I)
DATE = "%a, %d %b %Y %H:%M:%S"
DOMAIN = "UPDATE DOMAIN NAME example.test"
REGISTRY = (
    "Internal ID", "Creation Date", "Modification Date", "POP3 Last Login Date", "POP3 Last Login IP", "IMAP Last Login Date",
    "IMAP Last Login IP", "WebMail Last Login Date", "WebMail Last Login IP", "Active Sync Last Login Date",
    "Active Sync Last Login IP", "OLK Last Login Date", "OLK Last Login IP", "Internal Mbox Container ID",
    "Configuration Version", "Mbox Storage Version", "Associated LDAP ID", "Associated LDAP DN", "Configuration Status",
    "Mbox size", "Mbox message count", "Mbox folder count", "Mbox Storage Status",
)  # fmt: skip


class Raw:
    """A program: one octet stream, replies as text with their prompt, stopping at the first end it sees."""

    def __init__(self, client: Client) -> None:
        self.reader, self.writer = client.reader, client.writer
        self.context = ""

    async def reply(self, line: str) -> str:
        self.writer.write((line + CRLF).encode())
        data = b""
        while not (found := REPLY.search(data.decode())):
            part = await asyncio.wait_for(self.reader.read(1 << 20), 60)
            assert part, data
            data += part
        text = data.decode()
        assert found.end() == len(text), f"something follows the end of the reply: {text[found.start() :]!r}"
        self.context = found[5].removesuffix("#")
        assert not ALARMING.search(found[1]) or found[1].startswith("-ERR"), found[1]
        return text

    async def pieces(self, *lines: str) -> list[str]:
        """Pieces of the last reply; all must succeed."""
        pieces: list[str] = []
        for line in lines:
            pieces = (await self.reply(line)).split(CRLF)
            assert pieces[-2].startswith("+OK: "), (line, pieces)
        return pieces

    async def root(self) -> None:
        """As many BACKs as the prompt has components."""
        for _ in self.context.split("-") if self.context else ():
            if self.context:
                await self.pieces("BACK")
        assert self.context == ""

    async def pairs(self, line: str) -> dict[str, str]:
        """A SHOW: [2:-3], split on ' = '."""
        pieces = await self.pieces(line)
        assert pieces[0] == "" and pieces[1] and " = " not in pieces[1] and pieces[-3] == ""
        found = {}
        for piece in pieces[2:-3]:
            if "=" in piece:
                found[piece.split(" = ")[0]] = piece.split(" = ")[1]
        return found


@pytest.fixture
async def raw(face: Face) -> Raw:
    face.endpoint.max_errors = 0
    return Raw(await face.client())


# -- section 1 -----------------------------------------------------------------------------------------------------------


async def test_login_reads_as_one_receive_each(face: Face) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", face.port)

    async def receive(line: str = "") -> str:
        if line:
            writer.write((line + CRLF).encode())
        return (await asyncio.wait_for(reader.read(1024), 60)).decode()

    greeting = await receive()
    assert "Welcome to AXIGEN's Command Line Interface" in greeting and greeting.split("\n").pop().strip(" \r\n\t") == "<login>"
    version = (await receive("GET VERSION")).split(CRLF)
    assert len(version[0].split("|")) == 3 and int(version[0].split("|")[0].split()[0].split(".")[0]) >= 10
    assert version[-2] == "+OK: command successful" and version[-1] == "<login> "
    asked = (await receive("USER admin")).split(CRLF)
    assert asked[-1] == "<password> " and asked[-2][0] == "+"
    wrong = (await receive("nonsense")).split(CRLF)
    assert wrong[-2].startswith("-ERR: ") and "failed" in wrong[-2] and wrong[-1] == "<login> "
    await receive("user admin")
    assert await receive(PASSWORD) == "+OK: Authentication successful\r\n<#> "
    assert await receive("EXIT") == "+OK: have a nice day\r\n"
    assert await receive() == ""


@pytest.mark.parametrize("line", ["HELP", "SHOW", "SET CONSOLE-CODES off", "SET QUIET on", "set quiet OFF"])
async def test_commands_before_the_login(face: Face, line: str) -> None:
    client = await face.raw()
    assert (await client.ok(line)) is not None
    assert client.prompt == "<login> "


async def test_long_replies_keep_their_layout(face: Face) -> None:
    for number in range(400):
        await face.directory.create_domain(f"d{number}.example.net", actor=ADMIN)
    client = await face.client()
    client.writer.write(b"LIST Domains\r\n")
    text = ""
    while not REPLY.search(text):
        text += (await client.reader.read(1 << 20)).decode()
    assert len(text.split(CRLF)[5:-3]) == 401


async def test_commit_says_what_it_does_and_done_is_plain(raw: Raw) -> None:
    pieces = await raw.pieces(DOMAIN, "SET catchAllType disabled", "COMMIT")
    assert any("committing changes and switching back to previous context" in piece for piece in pieces[:-2])
    assert pieces[-1] == "<#> "
    pieces = await raw.pieces(DOMAIN, "UPDATE ACCOUNT NAME alice", "CONFIG QUOTAS", "DONE")
    assert pieces[-2] == "+OK: command successful"


# -- section 2 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["plain", 'a"b', "it's", "a\\b", "two words", "(x)", "", "a\\\\", '\\"', "grün ⚘", "a  b", "*?"])
async def test_a_quoted_value_comes_back(raw: Raw, value: str) -> None:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    await raw.pieces(DOMAIN, "UPDATE Account alice", "CONFIG ContactInfo", f'SET nickName "{escaped}"')
    shown = (await raw.pairs("SHOW"))["nickName"]
    assert shown == f'"{escaped}"' and (await raw.pieces("SHOW ATTR nickName"))[0] == f'nickName = "{escaped}"'
    if "'" not in value and value:
        await raw.pieces(f"SET firstName '{value}'")
        assert (await raw.pairs("SHOW"))["firstName"] == shown
    if value:
        bare = re.sub(r"([ '\"\\()])", r"\\\1", value)
        await raw.pieces(f"SET lastName {bare}")
        assert (await raw.pairs("SHOW"))["lastName"] == shown


async def test_names_in_any_case_and_order(raw: Raw) -> None:
    await raw.pieces("update DOMAIN Example.TEST", 'add account PASSWORD "secret-1-x" NAME "Zoe"', "commit")
    assert "zoe" in [piece.strip().lower() for piece in (await raw.pieces("LIST accounts"))[5:-3]]
    await raw.pieces("UPDATE Account zoe", "CONFIG Quotas", "SET totalMessageSize 10 TOTALMESSAGECOUNT 20")
    assert (await raw.pairs("SHOW"))["totalMessageCount"].split()[0] == "20"


async def test_texts_end_at_the_mark_and_lose_their_stuffing(raw: Raw) -> None:
    await raw.pieces("SET multilineEOF THE-END", DOMAIN)
    raw.writer.write(b"ESET appenderHtml\r\n")
    assert (await raw.reader.readline()).startswith(b"+OK")
    raw.writer.write(b"one\r\n..two\r\n.\r\n")
    assert "+OK: " in await raw.reply("THE-END")
    shown = await raw.pieces("SHOW appenderHtml")
    # SHOW stuffs as the client does.
    assert shown[:3] == ["one", "..two", ".."]


# -- section 3 -----------------------------------------------------------------------------------------------------------


async def test_tables_of_domains(raw: Raw) -> None:
    for line in ("LIST DOMAINS", "LIST AllDomains", "list domains exam*"):
        pieces = await raw.pieces(line)
        assert pieces[0] == "" and pieces[2] == "" and set(pieces[4]) == {"-"} and len(pieces[4]) >= 6 and pieces[-3] == ""
        assert [piece.split()[0] for piece in pieces[5:-3]] == ["example.test"]
    pieces = await raw.pieces("LIST AllDomains")
    assert pieces[3].split()[0] == "name" and pieces[3].split()[-1] == "Status" and pieces[5].split()[-1] == "enabled"
    await raw.pieces("DISABLE Domain name example.test")
    assert (await raw.pieces("LIST AllDomains"))[5].split()[-1] == "disabled"


async def test_tables_with_one_column_hold_bare_local_names(raw: Raw) -> None:
    await raw.pieces(
        DOMAIN, 'ADD GROUP NAME "g"', "COMMIT", 'ADD FOLDERRCPT NAME "f"', "SET mboxName News", "BACK",
        'ADD LIST NAME "l" PASSWORD "secret-1-x" ADMINEMAIL "a@b.test"', "COMMIT", 'ADD accountClass name "gold"', "COMMIT",
    )  # fmt: skip
    for line, name in (("LIST ACCOUNTS", "alice"), ("LIST GROUPS", "g"), ("LIST LISTS", "l"), ("LIST AccountClasses", "gold")):
        pieces = await raw.pieces(line)
        assert [piece.strip() for piece in pieces[5:-3]] == [name], line
        assert "|" not in "".join(pieces)
    assert (await raw.pieces("LIST FOLDERRCPTS"))[5:-3] == []
    assert (await raw.pieces("LIST ACCOUNTS zzz*"))[5:-3] == []


async def test_users_of_a_list_and_addresses_of_a_group(raw: Raw) -> None:
    await raw.pieces(DOMAIN, 'ADD LIST NAME "l" PASSWORD "secret-1-x" ADMINEMAIL "a@b.test"')
    for number in range(2):
        await raw.pieces(f'ADD USER EMAIL "u{number}@else.test" NAME "Name {number}"', "DONE")
    rows = [piece.split(" | ") for piece in (await raw.pieces("LIST USERS"))[5:-3]]
    assert [(row[0].strip(), row[1].strip()) for row in rows] == [("u0@else.test", "Name 0"), ("u1@else.test", "Name 1")]
    await raw.pieces("COMMIT", 'ADD GROUP NAME "g"', 'ADD ADDRESS "alice@example.test"')
    assert (await raw.pieces("LIST ADDRESSES"))[2:-3] == ["alice@example.test"]


async def test_aliases_are_a_plain_list_with_its_known_title(raw: Raw) -> None:
    assert (await raw.pieces(DOMAIN, "LIST ALIASES"))[2:-3] == []
    pieces = await raw.pieces('ADD Alias "example.net"', "COMMIT", DOMAIN, "LIST ALIASES")
    assert pieces[0] == "" and pieces[1] == "The list of aliases for this domain:" and pieces[2:-3] == ["example.net"]
    assert (await raw.pieces("UPDATE ACCOUNT NAME alice", 'ADD ALIAS "al"', "LIST ALIASES"))[2:-3] == ["al"]


async def test_show_of_account_and_registry(raw: Raw) -> None:
    pieces = await raw.pieces(DOMAIN, "SHOW ACCOUNT NAME alice")
    shown = {}
    for piece in pieces[2:-2]:
        equals = piece.find(" = ")
        shown[piece[:equals]] = piece[equals + 3 :]
    del shown[""]
    assert shown["name"].strip('"') == "alice" and {"accountClassName", "accountType", "customerReference"} <= shown.keys()
    pieces = await raw.pieces("UPDATE ACCOUNT NAME alice", "SHOW ATTR name")
    assert pieces[0].split(" = ")[1].strip('"') == "alice"
    registry = await raw.pairs("SHOW REGISTRYINFORMATION")
    assert set(REGISTRY) <= registry.keys()
    for key, value in registry.items():
        if "Date" in key:
            when = time.mktime(time.strptime(value.rsplit(" ", 1)[0], DATE))
            assert re.fullmatch(r"[+-]\d{4}", value.rsplit(" ", 1)[1]) and when >= -86400
    contact = await raw.pairs("SHOW CONTACTINFO")
    assert {"firstName", "lastName"} <= contact.keys()


async def test_inherited_values_have_the_value_in_the_third_word(raw: Raw) -> None:
    await raw.pieces(DOMAIN, "UPDATE ACCOUNT NAME alice", "CONFIG QUOTAS")
    for name, text in (await raw.pairs("SHOW")).items():
        assert re.fullmatch(r'("[^"]*"|\([^)]*\)|\S+) \[inherited from [\w ]+: .*\]', text), (name, text)
    await raw.pieces("SET totalMessageSize 2097152")
    line = (await raw.pieces("SHOW ATTR totalMessageSize"))[0]
    assert line.split()[2] == "2097152" and re.search(r" \[explicit, overrides inherited value: \d+\]$", line)
    assert not ALARMING.search("\n".join(await raw.pieces("SHOW")))
    assert re.match(r"General parameters|Inherited from|Using defaults", (await raw.pieces("SHOW"))[1])
    await raw.pieces("RESET totalMessageSize")
    assert "inherited" in (await raw.pieces("SHOW ATTR totalMessageSize"))[0]


async def test_catch_all_of_a_domain(raw: Raw) -> None:
    await raw.pieces(DOMAIN)
    assert (await raw.pieces("SHOW ATTR catchAllType"))[0].split(" = ")[1] == "disabled"
    await raw.pieces("SET catchAllType account", 'SET catchAllAccountName "alice"')
    assert (await raw.pieces("SHOW ATTR catchAllType"))[0].split(" = ")[1] == "account"
    assert re.sub('"', "", (await raw.pieces("SHOW ATTR catchAllAccountName"))[0].split(" = ")[1]) == "alice"


async def test_folder_quotas_of_an_account_that_never_logged_in(raw: Raw) -> None:
    await raw.pieces(DOMAIN, "UPDATE ACCOUNT NAME alice", "CONFIG QUOTAS")
    folders = (await raw.pieces("LIST MBOXES"))[5:-3]
    assert "INBOX" in folders and "Trash" in folders
    await raw.pieces('SET MboxQuota mboxName "INBOX" messageCount 5 messageSize 7')
    pieces = await raw.pieces('SHOW MBOXQUOTA MBOXNAME "INBOX"')
    assert {piece.split("=")[0].strip(): piece.split("=")[1].strip() for piece in pieces[2:-3]} == {
        "messageCount": "5", "messageSize": "7",
    }  # fmt: skip


async def test_storages(raw: Raw) -> None:
    pieces = await raw.pieces(DOMAIN, "SHOW STORAGEINFORMATION")
    rows = [piece.split() for piece in pieces[1:-2]][:-1]
    assert rows and all(rows)
    usids = [piece.split()[0] for piece in (await raw.pieces("LIST STORAGES"))[2:-3]]
    assert usids and set(usids) <= {row[0] for row in rows}


@pytest.mark.parametrize("way", [
    ("CONFIG SERVER", "CONFIG FILTERS"),
    (DOMAIN, "CONFIG FILTERS"),
    (DOMAIN, "UPDATE ACCOUNT NAME alice", "CONFIG FILTERS"),
])  # fmt: skip
async def test_filters_in_every_place_have_their_three_sections(raw: Raw, way: tuple[str, ...]) -> None:
    await raw.pieces("CONFIG SERVER", "CONFIG FILTERS")
    await raw.pieces("ADD SocketFilter name ClamAV address inet://127.0.0.1:3310 protocolFile c.afsl", "DONE", "COMMIT", "BACK")
    await raw.pieces(*way, "ADD ScriptFilter name s file s.sieve", "DONE")
    await raw.pieces("ADD ActiveFilter priority 7 filterName s filterType script", "DONE")
    text = CRLF.join(await raw.pieces("LIST FILTERS"))
    found: dict[str, list[list[str]]] = {}
    place = ""
    for line in text.split(CRLF):
        if title := re.fullmatch(r"List of (Socket|Script|Active) Filters:", line):
            place = title[1]
            found[place] = []
        elif place and "|" in line:
            if all(word in line for word in ("name", "type", "file")):
                continue
            if all(word in line for word in ("priority", "filterName", "filterType")):
                continue
            found[place].append([cell.strip() for cell in line.split("|")])
    assert set(found) == {"Socket", "Script", "Active"}
    assert [found["Script"][0][0], found["Script"][0][-1]] == ["s", "s.sieve"] and found["Active"][-1][:2] == ["7", "s"]
    assert "ClamAV" in [row[0] for row in found["Socket"]] and all(row[0] != "name" for row in found["Socket"])


@pytest.mark.parametrize("way", [
    ("CREATE Domain name new.test domainLocation /d postmasterPassword secret-1-x",),
    ("CREATE DOMAIN NAME new.test DOMAINLOCATION /d POSTMASTERPASSWD secret-1-x",),
    ("CREATE DOMAIN NAME new.test DOMAINLOCATION /d POSTMASTERPASSWD secret-1-x", "SET maclSupport no",
     "add messageslocation /d/messages?maxFileSize=262144&maxFiles=8"),
    (DOMAIN, "SET maclSupport no"),
    ("ENTER AACL", 'ADD admin-user name "a" password "secret-1-x"'),
    (DOMAIN, 'ADD Account name "n" password "secret-1-x"'),
    (DOMAIN, 'ADD ACCOUNT NAME "n" PASSWD "secret-1-x"'),
    (DOMAIN, "UPDATE Account alice", "CONFIG Limits", "SET imapConnectionCount 200"),
    (DOMAIN, "UPDATE Account alice", 'SET passwd "secret-1-x"'),
    (DOMAIN, "REMOVE Account alice"),
    (DOMAIN, "ADD FORWARDER NAME g", "ADD Address alice@example.test"),
    ("CONFIG SERVER", "CONFIG IMAP", "ADD Listener address 127.0.0.1:10143", "SET enable no"),
    ("CONFIG SERVER", "CONFIG WEBADMIN", "SET enableTwoFactorAuth enabled"),
    (DOMAIN, "CONFIG accountDefaultLimits", "SET passwordRecoveryFileName x"),
    (DOMAIN, "CONFIG accountDefaultLimits", "SET passwordRecoveryMethods (peaBased)"),
    ("UNREGISTER DOMAIN NAME example.test",),
])  # fmt: skip
async def test_first_line_is_the_status_and_old_names_work(raw: Raw, way: tuple[str, ...]) -> None:
    for line in way:
        assert (await raw.reply(line)).startswith("+OK: "), line


async def test_registering_a_location_is_committed(raw: Raw) -> None:
    await raw.pieces("CREATE DOMAIN NAME new.test DOMAINLOCATION /d/new.test POSTMASTERPASSWD secret-1-x", "COMMIT")
    await raw.pieces("UNREGISTER DOMAIN NAME new.test")
    pieces = await raw.pieces("REGISTER DOMAIN DOMAINLOCATION /d/new.test", "COMMIT", "SAVE CONFIG")
    assert pieces[-1] == "<#> "
    assert "new.test" in [piece.split()[0] for piece in (await raw.pieces("LIST DOMAINS"))[5:-3]]


async def test_the_old_name_of_groupware_support_sets_it(raw: Raw) -> None:
    await raw.pieces("CREATE DOMAIN NAME new.test DOMAINLOCATION /d POSTMASTERPASSWD secret-1-x", "SET maclSupport no", "COMMIT")
    await raw.pieces("UPDATE DOMAIN NAME new.test")
    assert (await raw.pairs("SHOW"))["groupwareSupport"] == "no"


async def test_a_domain_is_entered_from_a_domain(face: Face, raw: Raw) -> None:
    """Programs enter the domain again after the COMMIT of an account, and end with that of the account."""
    await raw.pieces("update domain example.test", "add account joe password secret-1-x", "commit")
    await raw.pieces("update domain example.test", "update account joe", "set accountType basic", "CONFIG ContactInfo")
    await raw.pieces('set firstName "Joe"', "done", "commit")
    assert raw.context == "domain"
    await raw.pieces("UPDATE ACCOUNT joe", "CONFIG ContactInfo")
    assert (await raw.pairs("SHOW"))["firstName"] == '"Joe"'
    await raw.root()
    await raw.pieces("CREATE Domain name other.test postmasterPassword secret-1-x", "COMMIT", DOMAIN)
    await raw.pieces("UPDATE Domain name other.test")
    assert (await raw.pairs("SHOW"))["name"] == '"other.test"'
    await raw.root()


async def test_nothing_that_waits_is_lost_on_the_way_to_another_domain(face: Face, raw: Raw) -> None:
    await face.directory.create_domain("other.test", actor=ADMIN)
    for change in ("SET customerReference one", "ADD Alias alias.test", "SET name renamed.test"):
        await raw.pieces(DOMAIN, change, "UPDATE Domain example.test")
        refused = await raw.reply("UPDATE Domain other.test")
        assert refused.startswith("-ERR: ") and "COMMIT" in refused and refused.endswith("<domain#> "), change
        await raw.pieces("BACK")
    await raw.pieces(DOMAIN, "SET customerReference one", "UPDATE Domain example.test", "COMMIT", DOMAIN)
    assert (await raw.pairs("SHOW"))["customerReference"] == '"one"'
    assert (await raw.reply("UPDATE Domain no.test")).startswith("-ERR: ")


async def test_a_filter_is_uploaded_in_the_account_s_context(raw: Raw) -> None:
    """A line each write; what comes back is looked at only for its first three letters."""
    await raw.pieces(DOMAIN, "UPDATE ACCOUNT NAME alice")
    raw.writer.write(b"UPLOAD WMFILTER\r\n")
    assert (await asyncio.wait_for(raw.reader.readline(), 60)).startswith(b"+OK")
    for line in ("# one", "..two", "keep;"):
        raw.writer.write(f"{line}\r\n".encode())
    assert (await raw.reply(".")).startswith("+OK")
    await raw.pieces("COMMIT", "UPDATE ACCOUNT NAME alice", "CONFIG Filters")
    text = await raw.pieces("SHOW WMFilter")
    assert text[0] == "# one" and text[1].lstrip(".") == "two" and text[2] == "keep;"


async def test_objects_exist_after_their_own_commit_alone(raw: Raw) -> None:
    await raw.pieces(DOMAIN, 'ADD ACCOUNT NAME "joe" PASSWORD "secret-1-x"', "COMMIT", "BACK", DOMAIN)
    assert "joe" in (await raw.pieces("LIST ACCOUNTS"))[5:-3]
    await raw.pieces('REMOVE ACCOUNT NAME "joe"', "BACK", DOMAIN)
    assert "joe" not in (await raw.pieces("LIST ACCOUNTS"))[5:-3]


async def test_back_drops_and_done_waits_for_commit(raw: Raw) -> None:
    account = (DOMAIN, "UPDATE ACCOUNT NAME alice")
    await raw.pieces(*account, "CONFIG QUOTAS", "SET messageCount 11", "BACK", "CONFIG QUOTAS")
    assert (await raw.pairs("SHOW"))["messageCount"].split()[0] != "11"
    await raw.pieces("SET messageCount 12", "DONE", "BACK", "BACK", *account, "CONFIG QUOTAS")
    assert (await raw.pairs("SHOW"))["messageCount"].split()[0] != "12"
    await raw.pieces("SET messageCount 13", "DONE", "COMMIT", "BACK", *account, "CONFIG QUOTAS")
    assert (await raw.pairs("SHOW"))["messageCount"].split()[0] == "13"
    await raw.root()


@pytest.mark.parametrize("line", ["FROB", "UPDATE Domain no.test", "ADD Account x", "SHOW ATTR", "COMMIT", "'open", "(open"])
async def test_refusals_keep_the_prompt(raw: Raw, line: str) -> None:
    text = await raw.reply(line)
    assert text.split(CRLF)[-2].startswith("-ERR: ") and text.endswith("\r\n<#> ") and len(text.split(CRLF)) == 2


# -- section 7 -----------------------------------------------------------------------------------------------------------


async def test_permissions_of_an_administrator(raw: Raw) -> None:
    await raw.pieces("ENTER AACL", 'ADD admin-user name "carol" password "secret-1-x"')
    await raw.pieces('GRANT permission (manageAccounts) domain "example.test"', "DONE", "DONE")
    assert raw.context == ""
    text = await raw.reply("ENTER AACL") and await raw.reply('UPDATE admin-user name "carol"') and await raw.reply("SHOW")
    domains = [line[23:-3] for line in text.split("\n") if line[:22] == "Permissions on Domain "]
    assert domains == ["example.test"]
    await raw.pieces("BACK")
    rows = (await raw.pieces("LIST admin-users"))[5:-3]
    assert [row.split()[0] for row in rows] == ["admin", "carol"]
    await raw.pieces("REMOVE admin-user carol", "DONE")


async def test_grants_from_the_domain_s_side_and_evaluation(face: Face, raw: Raw) -> None:
    await raw.pieces("ENTER AACL", "ADD admin-group name helpers", "GRANT permission (manageAccounts) domain example.test", "DONE")
    await raw.pieces("ADD admin-user name carol password secret-1-x", "ADD parent-group name helpers", "DONE", "DONE")
    carol = Raw(await face.client("carol", "secret-1-x"))
    await carol.pieces(DOMAIN, "UPDATE ACCOUNT NAME alice", "SET customerReference x", "COMMIT")
    await raw.pieces(DOMAIN, "CONFIG PERMISSIONS", "DENY permission (manageAccounts) admin-user name carol", "DONE", "COMMIT")
    assert (await carol.reply("UPDATE ACCOUNT NAME alice")).split(CRLF)[-2].startswith("-ERR: ")
    await raw.pieces(DOMAIN, "CONFIG PERMISSIONS", "REVOKE permission (manageAccounts) admin-user name carol", "DONE", "COMMIT")
    carol = Raw(await face.client("carol", "secret-1-x"))
    await carol.pieces(DOMAIN, "UPDATE ACCOUNT NAME alice", "SET customerReference y", "COMMIT")
