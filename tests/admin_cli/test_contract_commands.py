"""Every context of the contract: its prompt, its commands, its parameters, the words that leave it.

The file `contract_commands.txt` holds them as the contract lists them: a head `[context] <prompt> BACK COMMIT|DONE MACRO...`,
parameters as `= kind :: name name`, commands as they are written there. A context that has what another has says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.admin_cli.conftest import Client, Face

SERVER = ("CONFIG SERVER",)
DOMAIN = ("UPDATE Domain example.test",)
ACCOUNT = (*DOMAIN, "UPDATE Account alice")
ACCOUNT_CLASS = (*DOMAIN, "ADD accountClass gold")
GROUP = (*DOMAIN, "ADD Group name g")
FOLDER_RCPT = (*DOMAIN, "ADD FolderRcpt name f")
LIST = (*DOMAIN, 'ADD List name l password secret-1-x adminEmail "a@b.test"')
FILTER = "ADD ScriptFilter name s file s.sieve"

# The way to each context as section 4 and 6 of the contract give it, where the name alone does not say it.
WAYS: dict[str, tuple[str, ...]] = {
    "root": (),
    "AACL": ("ENTER AACL",),
    "aacl/admin-group": ("ENTER AACL", "ADD admin-group name helpers"),
    "aacl/admin-user": ("ENTER AACL", "ADD admin-user name carol password secret-1-x"),
    "QUEUE": ("ENTER QUEUE",),
    "QUEUE/QUARANTINE": ("ENTER QUEUE", "ENTER QUARANTINE"),
    "JSONQUERY": ("ENTER JSONQUERY",),
    "TRACER": ("ENTER TRACER",),
    "SERVER": SERVER,
    "SERVER/FILTERS/ActiveFilter": (*SERVER, "CONFIG FILTERS", FILTER, "DONE",
                                    "ADD ActiveFilter priority 3 filterName s filterType script"),
    "SERVER/IMAP/AccessControl/AllowRule": (*SERVER, "CONFIG IMAP", "CONFIG AccessControl", "ADD AllowRule ipSet 10.0.0.0/8"),
    "SERVER/USERDB/ldapConnector": (*SERVER, "CONFIG USERDB", "ADD ldapConnector name l ldapUri ldap://ldap.example.test"),
    "SERVER/USERDB/oauthConnector": (*SERVER, "CONFIG USERDB", "ADD oauthConnector name o mode oidc"),
    "SERVER/Usermap": (*SERVER, "ADD Usermap name u"),
    "SERVER/smsConnector": (*SERVER, "ADD smsConnector name s"),
    "SERVER/smsConnector/Auth": (*SERVER, "ADD smsConnector name s", "CONFIG Auth"),
    "server/DNR/nameserver": (*SERVER, "CONFIG DNR", "ADD Nameserver priority 3"),
    "server/LOG/rule": (*SERVER, "CONFIG LOG", "ADD Rule priority 17"),
    "server/FILTERS/SocketFilter": (*SERVER, "CONFIG FILTERS",
                                    "ADD SocketFilter name s address inet://127.0.0.1:1 protocolFile f.afsl"),
    "server/IMAP/listener": (*SERVER, "CONFIG IMAP", "ADD Listener address 127.0.0.1:10143"),
    "server/POP3-Proxy/listener": (*SERVER, "CONFIG POP3-Proxy", "ADD Listener address 127.0.0.1:10110"),
    "server/IMAP/listener/SSLCONTROL": (*SERVER, "CONFIG IMAP", "ADD Listener address 127.0.0.1:10143", "CONFIG SSLCONTROL"),
    "domain-create": ("CREATE Domain name new.test domainLocation /d/new.test postmasterPassword secret-1-x",),
    "subdomain-create": ("CREATE Subdomain prefix sub parentDomain example.test postmasterPassword secret-1-x",),
    "domain-edit": ("DISABLE Domain name example.test", "EDIT Domain name example.test"),
    "domain": DOMAIN,
    "domain/FILTERS/Preset": (*DOMAIN, "CONFIG FILTERS", "ADD Preset name p"),
    "domain/FILTERS/Preset/Filter": (*DOMAIN, "CONFIG FILTERS", "ADD Preset name p", "ADD Filter name f"),
    "domain/FILTERS/ScriptFilter": (*DOMAIN, "CONFIG FILTERS", FILTER),
    "domain/accountDefaultFilters/ScriptFilter": (*DOMAIN, "CONFIG accountDefaultFilters", FILTER),
    "domain/account": ACCOUNT,
    "domain/accountClass": ACCOUNT_CLASS,
    "domain/autodiscovery/HostNameResolver": (*DOMAIN, "CONFIG autodiscovery", "ADD HostNameResolver host mail.example.test"),
    "domain/autodiscovery/HostNameResolver/SSLCONTROL": (
        *DOMAIN, "CONFIG autodiscovery", "ADD HostNameResolver host mail.example.test", "CONFIG SSLCONTROL"),
    "domain/folderRcpt": FOLDER_RCPT,
    "domain/group": GROUP,
    "domain/list": LIST,
    "domain/list/User": (*LIST, 'ADD User email "u@b.test" name "U"'),
}  # fmt: skip

# Sections 5 and 6.x: what recurs.
LISTENERS = (
    "LIST Listeners", "ADD Listener [address] <ip:port>", "UPDATE Listener [address] <ip:port>",
    "REMOVE Listener [address] <ip:port>", "SHOW Listener [address] <ip:port>",
)  # fmt: skip
SERVICE = ("SAVE Config", "START Service", "STOP Service", "RESET")
RULES = tuple(f"{verb} {kind} <pattern>" for verb in ("ADD", "REMOVE") for kind in ("Whitelist", "Blacklist"))
MACRO_COMMANDS: dict[str, tuple[str, ...]] = {
    "SVC": (*SERVICE, *LISTENERS, "CONFIG AccessControl"),
    "SVC-nolistener": SERVICE,
    "FILTERSET": (
        "LIST ScriptFilters", "LIST ActiveFilters", "LIST Filters", "ADD ScriptFilter [name] <name> file <file>",
        *(f"{verb} ScriptFilter [name] <name>" for verb in ("UPDATE", "REMOVE", "SHOW")),
        "ADD ActiveFilter [priority] <no.> filterName <name> filterType <type>",
        *(f"{verb} ActiveFilter [priority] <no.>" for verb in ("UPDATE", "REMOVE", "SHOW")),
    ),
    "WBLIST": ("LIST Whitelist", "LIST Blacklist", *RULES, "RESET Whitelist", "RESET Blacklist"),
}  # fmt: skip
MACRO_PARAMETERS: dict[str, tuple[tuple[str, str], ...]] = {
    "LOGATTR": (("logLevel", "level"), ("logType", "<internal/remote/system>"), ("logHost", "ip:port")),
    "THREADS": (("maxConnThreads", "int"), ("minConnThreads", "int")),
    "ERRLIM": (("maxErrors", "int"), ("maxAuthErrors", "int")),
}
# Section 5: LOG and REPORT have listeners and no AccessControl; section 6: the list of CLI is cut, it has all of SVC and LOGATTR.
WITHOUT_ACCESS_CONTROL = ("SERVER/LOG", "SERVER/REPORT")
ALSO = {"SERVER/CLI": ("SVC", "LOGATTR")}


@dataclass
class Context:
    """One context of the contract."""

    name: str
    prompt: str = ""
    words: list[str] = field(default_factory=list)
    parameters: list[tuple[str, str]] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)


def _read() -> dict[str, Context]:
    found: dict[str, Context] = {}
    for line in (Path(__file__).parent / "contract_commands.txt").read_text().splitlines():
        if same := re.fullmatch(r"\[(.+)\] same as \[(.+)\]", line):
            original = found.get(same[2])
            assert original is not None, same[2]
            found[same[1]] = Context(same[1], "", original.words, original.parameters, original.commands)
        elif head := re.fullmatch(r"\[(.+)\] (<\S+>) ?(.*)", line):
            current = found[head[1]] = Context(head[1], head[2], head[3].split())
        elif line.startswith("= "):
            kind, _, names = line[2:].partition("::")
            current.parameters += [(name, kind.strip()) for name in names.split()]
        elif line:
            current.commands.append(line)
    for context in found.values():
        macros = [*context.words, *ALSO.get(context.name, ())]
        context.parameters = [*context.parameters, *(pair for macro in macros for pair in MACRO_PARAMETERS.get(macro, ()))]
        context.commands = [*context.commands, *(form for macro in macros for form in MACRO_COMMANDS.get(macro, ()))]
        if context.name in WITHOUT_ACCESS_CONTROL:
            context.commands.remove("CONFIG AccessControl")
    return found


CONTEXTS = _read()


def way(name: str) -> tuple[str, ...]:
    """Commands from the root to a context."""
    if name in WAYS:
        return WAYS[name]
    above, _, last = name.rpartition("/")
    return (*way(above), f"CONFIG {last}")


def readings(form: str) -> list[tuple[str, frozenset[str]]]:
    """Verb and object of a form, one for each alternative, with every other fixed word; lower case."""
    form = re.sub(r"\[wildcard \(ex: [^)]*\)\]", "[<wildcard>]", form.lower())
    form = re.sub(r"\((?:list of|<)[^)]*\)", " ", form)
    made: list[tuple[str, frozenset[str]]] = []
    match = re.match(r"(\S+)((?: (?![<\[(])[^\s<\[]+(?: \| (?![<\[+@])[^\s<\[]+)*)?)(.*)", form)
    assert match, form
    verb, second, rest = match[1], match[2].strip(), match[3]
    words = frozenset(re.findall(r"(?<![\w<-])[a-z][\w-]+(?![\w>])", re.sub(r"<[^>]*>|\(.*?\)", " ", rest)))
    for one in re.split(r"\s*\|\s*", second):
        made.append((f"{verb} {one}".strip(), words - {"timeout"}))
    return made


async def forms(client: Client) -> list[str]:
    """What HELP lists."""
    return [line.split(" - ")[0] for line in await client.ok("HELP") if " - " in line]


CHOICES = re.compile(r"<(\(?)([\w()\"]+(?:[ /]+[\w\"]+)+)\)?>?")
NUMBERS = ("int", "size", "seconds", "minutes", "days", "percent", "weeks", "level", "port")
VALUES = {
    "name": "other", "email": "a@b.test", "path": "/var/opt/x", "url": "https://mail.example.test/x",
    "uri": "ldap://x.example.test", "host": "mail.example.test", "hostname": "mail.example.test", "ip": "192.0.2.7",
    "ipSet": "10.1.0.0/16", "domain": "example.test", "lang": "en", "language": "en", "timezone": "Europe/Berlin",
    "ip:port": "127.0.0.1:2000", "<hh": "09:30", "password": "other-secret-7", "pass": "other-secret-7", "[name] name": '""',
    "<unitLocationURI>": "/d/other", "address": "127.0.0.1:10199", "<interface>": "127.0.0.1", "file": "", "class": '""',
    "smsConnectorName": '""',
}  # fmt: skip
NAMED: dict[str, list[str]] = {
    "srsSecretKey": ["0123456789abcdef0123456789abcdef"], "serverSecretKey": ["0123456789abcdef0123456789abcdef"],
    "allowedLanguages": ['"en de"'], "primaryDomain": ["example.test"],
    "indexAutoRescheduleTimeout": ["never", "apocalypse", "30"], "emailSampleCollection": ["(antiSpamFalseNegative)", "all"],
    "caBundlePath": ["none"], "sslRandomFile": ["none"], "searchIndexTokenizer": ["default"],
    "accessControlAllowOrigin": ["none", "*", "https://x.example.test"], "workingDays": ["(monday friday)"],
    "startWorkingTime": ["09:30", "09:30:00"], "endWorkingTime": ["17:30", "17:30:00"], "dateFormat": ["DD/MM/YYYY"],
    "timeFormat": ["hh:mm"], "passExpirationType": ["interval", "date"],
    "passExpirationDate": ['"20 Jun 2018"', '"Wed, 20 Jun 2018 02:15:34 +0300"'], "services": ["(imap pop3 webmail)", "()"],
    "availableServices": ["(imap pop3)", "()"], "archivingPolicy": ["(folderPerYear)", "(folderPerYear folderPerMonth)", "()"],
    "passwordRecoveryMethods": ["(secretQuestion email sms)", "()"], "usernameRecoveryMethods": ["(email)", "()"],
    "twoFactorAuthCommunicationMethods": ["(email sms authApp)", "(authApp)"], "activeSyncOptions": ["()"],
    "applyOn": ["(local relay)", "(localOnCluster relayFromCluster)"], "filterType": ["script"], "filterName": ["s"],
    "secureConnAuthTypes": ["(plain login)", "(cram-md5 digest-md5 gssapi)"],
    "plainConnAuthTypes": ["(plain)", "(cram-md5 digest-md5)"], "allowedVersions": ["(tls1_2 tls1_3)"],
    "userdbConnectorType": ["local"], "userdbConnectorName": ['""'],
    "proxyProtocol": ["disabled", "(allowV1 allowV2)", "(allowAll isOptional)"],
    "module": ["*", "IMAP", "PROXY_POP3", "FTP-BACKUP"], "rotatePeriod": ["day"], "type": [], "sendPolicy": [], "recvPolicy": [],
    "catchAllType": ["disabled", "account"], "requiredPasswordCharacters": [], "autopurgeFolders": ["(Trash)"],
    "purgeTrashMessageSelector": ["all", '""'], "purgeSpamMessageSelector": ["all", '""'],
    "secretQuestion": ['"first pet?" "Rex"'], "purgeFolders": ["(Trash Spam)"], "purgeConstraint": ['"older than 30 days"'],
    "enabledRcpts": [], "senderAllow": [], "moderate": [], "ctypeAllow": [], "actionOnMatch": ["pass"], "enabled": ["yes", "no"],
    "admin-password": ["other-secret-7"], "multilineEOF": ["END"], "synchronizationDirection": [],
    "synchronizationConflictResolution": [], "serverType": [], "postmasterAccount": ["alice"], "address": [], "name": ["other"],
    "prefix": ["other"], "parentDomain": ["example.test"], "mboxName": ["INBOX"], "url": ["https://x.test/a"],
    "password": ["other-secret-7"], "email": ["other@b.test"], "cipherSuite": [], "certFile": [],
    "propagateFilterTemplate": ["yes", "no", "1", "true"], "defaultAccountClassName": ['""'], "ldapSyncConnectorName": ['""'],
    "logLevel": ["0", "15", "31"], "protocolFile": ["f.afsl"], "file": ["s.sieve"], "skin": ["ocean"], "userMap": ['""'],
    "ipSet": ["10.1.0.0/16"], "timezone": ["Europe/Berlin"], "imapAutodiscoveryUrl": ["imaps://mail.example.test:993"],
    "pop3AutodiscoveryUrl": ["pop3s://mail.example.test"], "smtpAutodiscoveryUrl": ["smtp://mail.example.test:587"],
    "twoFactorConfigured": ["no"], "method": ["GET", "POST"], "contentType": [], "defaultTokenExpiry": ["3600"],
    "connectTimeout": ["5"], "requestTimeout": ["30"],
    **{
        name: ["https://id.example.test/x"]
        for name in ("autoConfigUri", "jwksUri", "authzUri", "tokenUri", "introspectUri", "endpointsBaseUrl", "redirectBaseUrl")
    },
}  # fmt: skip
# Commands whose words HELP writes in another way: lines that must be understood, whatever comes of them.
LINES = {
    "LIST FILTER <filters>": ["LIST FILTER size>1K"],
    "RETRY <mailid>|lastFilter": ["RETRY lastFilter", "RETRY 0000"],
    "NDR <mailid>|lastFilter": ["NDR lastFilter", "NDR 0000"],
    "DELETE <mailid>|lastFilter": ["DELETE lastFilter", "DELETE 0000"],
    "DELIVER <mailid>|lastFilter": ["DELIVER lastFilter", "DELIVER 0000"],
    "QUERY /domains": ["QUERY /domains"],
    "MIGRATE": ["MIGRATE account alice remoteHost 127.0.0.1 remotePort 1 remoteUser u remotePass p verbose yes", "MIGRATE ABORT"],
    "ENABLE [detailed] [mbox] StorageStatistics": [
        f"ENABLE {words}StorageStatistics" for words in ("", "detailed ", "mbox ", "detailed mbox ")],
    "ENABLE [detailed] StorageStatistics": ["ENABLE StorageStatistics", "ENABLE detailed StorageStatistics"],
    "UPDATE userMap cache [userAddres [userAddress...]]": ["UPDATE userMap cache", "UPDATE userMap cache a@b.test c@b.test"],
    "UPDATE hostDefinition cache [hostAddress [hostAddress...]]": ["UPDATE hostDefinition cache 192.0.2.1"],
    "SCAN Storage usid <storage_usid> [usid <storage_usid>...] [purge|softPurge][verbose][readOnly][imapLeaks][cachedOnly]"
    "[clearCache][analyzeStructure][recoverTo <accountName>]": [
        "SCAN Storage usid 1 usid 2 readOnly verbose", "SCAN Storage usid 1 softPurge recoverTo alice"],
    "ENABLE HTTPC TRACE FOR <label> INTO <file> [MODE PROTOCOL|HEX]": [
        "ENABLE HTTPC TRACE FOR acme INTO trace.txt", "ENABLE HTTPC TRACE FOR acme INTO trace.txt MODE HEX"],
    "ENABLE CALENDAR AUDIT FOR USER <regex> INTO CALLOG|FILE <file>": [
        "ENABLE CALENDAR AUDIT FOR USER .* INTO CALLOG", "ENABLE CALENDAR AUDIT FOR USER .* INTO FILE audit.txt"],
    "GENERATE letsencrypt hostname <hostname> terms accept|yes [contact <email>]": [
        "GENERATE letsencrypt hostname h.invalid terms no contact a@b.test"],
    "ADD Mbox <name> [type mail|events|tasks|journal|notes|contacts]": ["ADD Mbox News type mail", "ADD Mbox Dates type events"],
    "ADD Delegate <delegateName> resource <calendar|tasks|freebusy> permissions r|w|rw": [
        "ADD Delegate bob resource calendar permissions rw"],
    "RESET messageMetadata attachments|calendar [allfolders|folder <foldername> [<folderName>]* ]": [
        "RESET messageMetadata attachments", "RESET messageMetadata calendar allfolders",
        "RESET messageMetadata attachments folder INBOX Trash"],
}
# A second factor cannot be switched on from here: that takes proof that it works (twoFactorConfigured only takes `no`).
# EDIT by wmFilterTemplatePath: a script names no domain.  SAVE supportInfo comes with the support bundle.
LATER = ("EDIT Domain wmFilterTemplatePath <sieve file path>", "SAVE supportInfo [<path>]")
NOT_UNDERSTOOD = re.compile(r"unknown command|there is no parameter|takes no|has no value", re.I)
# Values that SHOW keeps to itself, or that stand in another's place.
SECRET = re.compile(r"pass(?:word)?$|^password|bindPass|clientSecret|token|SecretKey|clusterKey|secretQuestion|SNMPCommunity", re.I)


def values(name: str, kind: str) -> list[str]:
    """Values of the contract that a parameter takes; none: nothing is known of them."""
    if name in NAMED:
        return NAMED[name]
    if kind == "bool":
        return ["yes", "no"]
    if kind in NUMBERS:
        return []
    if (found := CHOICES.fullmatch(kind)) and "/" in kind:
        return [word for word in re.split(r"[/ ]+", found[2]) if word]
    if kind in VALUES:
        return [VALUES[kind]] if VALUES[kind] else []
    return ['"some text"'] if kind in ("string", "text", "desc", "description", "value", "str", "key") else []


# Shown in one form, whatever form was given.
OTHERWISE = ("startWorkingTime", "endWorkingTime", "passExpirationDate", "propagateFilterTemplate", "emailSampleCollection")


def same(value: str, shown: str) -> bool:
    """Whether SHOW gives back what SET was given."""
    if value.startswith("(") or (shown.startswith("(") and value != "()"):
        value = value.strip('"')
        return set(value.strip("()").split()) == set(shown.strip("()").replace("none", "").split())
    return value.strip('"').lower() == shown.strip('"').lower()


async def takes_parameter(client: Client, name: str, kind: str) -> list[str]:
    """What is wrong with a parameter: nothing when it is there, takes the values of its kind and refuses others."""
    wrong = []
    reply = await client.send(f"SHOW ATTR {name}")
    shown = reply[-1].startswith("+OK")
    if shown and not re.match(rf"{name} = ", reply[0], re.I):
        wrong.append(f"SHOW ATTR {name} -> {reply}")
    for value in values(name, kind):
        reply = await client.send(f"SET {name} {value}")
        if not reply[0].startswith("+OK: "):
            wrong.append(f"SET {name} {value} -> {reply[-1]}")
        elif shown and not SECRET.search(name):
            after = (await client.ok(f"SHOW ATTR {name}"))[0].split(" = ", 1)[-1].split(" [")[0]
            if not same(value, after) and name not in OTHERWISE:
                wrong.append(f"SET {name} {value}, and SHOW ATTR {name} -> {after}")
    if kind in NUMBERS and name != "logLevel":
        if not any([(await client.send(f"SET {name} {number}"))[0].startswith("+OK") for number in ("1", "7", "60", "1000")]):
            wrong.append(f"SET {name} takes no number: {(await client.send(f'SET {name} 7'))[-1]}")
        if not (await client.send(f"SET {name} few"))[-1].startswith("-ERR"):
            wrong.append(f"SET {name} few is taken")
    elif kind == "bool" and not (await client.send(f"SET {name} maybe"))[-1].startswith("-ERR"):
        wrong.append(f"SET {name} maybe is taken")
    if not shown and not values(name, kind) and kind not in NUMBERS:
        reply = await client.send(f"SET {name} x")
        if not reply[-1].startswith("+OK"):
            wrong.append(f"{name} is neither shown nor set: {reply[-1]}")
    return wrong


@pytest.mark.parametrize("name", [name for name in CONTEXTS if name not in ("login",)])
async def test_context_has_what_the_contract_lists(face: Face, name: str) -> None:
    context = CONTEXTS[name]
    face.endpoint.max_errors = 0
    client = await face.client()
    await client.ok(*way(name))
    wrong = []
    if context.prompt and client.prompt != f"{context.prompt} ":
        wrong.append(f"prompt {client.prompt}, not {context.prompt}")
    depth = sum(-1 if step == "DONE" else not step.startswith("DISABLE") for step in way(name))
    if context.prompt and name != "root" and client.prompt.count("-") + 1 < depth:
        wrong.append(f"prompt {client.prompt} is too short for BACK")

    ours = [reading for form in await forms(client) for reading in readings(form)]
    heads = {head for head, _ in ours}
    for form in context.commands:
        for line in LINES.get(form, ()):
            reply = await client.send(line)
            if NOT_UNDERSTOOD.search(reply[-1]):
                wrong.append(f"{line} -> {reply[-1]}")
        for head, words in () if form in LINES or form in LATER else readings(form):
            if not any(head == other and words <= has for other, has in ours):
                wrong.append(f"command {form}: {'words of it' if head in heads else 'no'} {head} {sorted(words)}")
    for word in ("BACK", "DONE", "COMMIT"):
        if (word in context.words) != (word.lower() in heads):
            wrong.append(f"{word} is{'' if word.lower() in heads else ' not'} there")
    for word in ("HELP", "EXIT", "QUIT", *(("SET",) if context.parameters else ())):
        if not any(head.split()[0] == word.lower() for head in heads):
            wrong.append(f"{word} is not there")
    for attribute, kind in context.parameters:
        wrong += await takes_parameter(client, attribute, kind)
    assert not wrong, "\n".join(wrong)
