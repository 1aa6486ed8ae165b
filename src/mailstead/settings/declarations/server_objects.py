"""Named objects of the server: name servers, log rules, filters, connectors, user maps, redirects, managers, nodes."""

from __future__ import annotations

from collections.abc import Mapping

from mailstead.settings.declaration import (
    Context,
    Kind,
    ObjectKind,
    Setting,
    boolean,
    choice,
    choice_set,
    form,
    integer,
    path,
    secret,
    text,
)
from mailstead.settings.declarations.listener import TLS
from mailstead.settings.declarations.service_model import USERDB

LOG_MODULES = (
    "*", "SMTP-IN", "SMTP-OUT", "IMAP", "POP3", "MANAGESIEVE", "WEBMAIL", "WEBADMIN", "DNR", "RPOP", "CLI", "PROCESSING", "LOG",
    "REPORTING", "FTP-BACKUP", "PROXY_POP3", "PROXY_IMAP", "USERDB", "PROXY_WEBMAIL", "FILTERS", "CALLOG", "SECURITY", "JOBLOG",
    "SERVER", "SRVLOG", "MAILBOXAPI",
)  # fmt: skip
FILTER_TYPES = ("script", "socket", "integrated", "wmFilter", "system")
FILTER_PERMISSIONS: Mapping[str, str] = {
    "service": "manageServerFilters",
    "domainConfig": "manageDomainFilters",
    "domain": "manageDomainFilters",
    "class": "manageAccountClasses",
    "account": "manageAccounts",
    "recipient": "manageMaillists",
}
FILTER_OWNERS = tuple(FILTER_PERMISSIONS)


def kind(
    name: str,
    key: str,
    settings: tuple[Setting, ...],
    permission: str,
    help: str,
    *,
    limit: int = 1000,
    folded: bool = True,
    owners: tuple[str, ...] = ("service",),
    permissions: Mapping[str, str] | None = None,
) -> ObjectKind:
    """An ObjectKind with the context of its attributes."""
    context = Context(name, settings, permission=permission, help=help, scope="object")
    return ObjectKind(name, key, context, limit=limit, folded=folded, owners=owners, permissions=permissions or {})


def named(what: str) -> Setting:
    """The name that tells objects apart."""
    return Setting("name", Kind.TEXT, "", f"Name of the {what}", maximum=64)


NAMESERVER = kind(
    "nameserver", "priority",
    (
        integer("priority", 1, 1, 1000, "Order of use; 1 = first"),
        form("address", Kind.IP_PORT, "", "Address of the name server"),
        integer("timeout", 5, 1, 120, "Wait for the first answer; doubled with each retry", "seconds"),
        integer("retries", 3, 0, 10, "Repeats of a query"),
    ),
    "manageDNR", "A name server (SMO-20)", limit=10,
)  # fmt: skip

LOG_RULE = kind(
    "logRule", "priority",
    (
        integer("priority", 500, 1, 1000, "Order of the rules; 1 = first, 1000 = for what no rule took"),
        text("hostname", "*", "Host whose lines are taken; * = every one", longest=255),
        choice("module", "*", LOG_MODULES, "Module whose lines are taken; * = every one"),
        integer("logLevel", 15, 0, 31, "Sum of 1 critical, 2 error, 4 warning, 8 information, 16 protocol"),
        form("fileName", Kind.FILE_NAME, "default.txt", "File that is written, in the directory of the log"),
        integer("fileSize", 5120, 100, 2_097_151, "Size at which the file is rotated; 0 = 2 GB", "KB", or_zero=True),
        integer("fileTime", 86_400, 600, 2_592_000, "Age at which the file is rotated; 0 = never", "seconds", or_zero=True),
        integer("fileCount", 0, 0, 1000, "Rotated files that are kept; 0 = all"),
        choice("rotatePeriod", "none", ("none", "day", "week", "month"), "Rotation by the calendar"),
        choice("type", "local", ("local", "remote"), "Lines of this server or of others"),
    ),
    "manageLog", "Which lines go to which file (LOG-02)", limit=128,
)  # fmt: skip

SOCKET_FILTER = kind(
    "socketFilter", "name",
    (
        named("filter"),
        text("address", "", "inet://host:port or local:///path", longest=1024),
        path("protocolFile", "", "Description of the scanner's protocol, or milter"),
        integer("idleTimeout", 300, 0, 86_400, "Wait for the scanner; 0 = for ever", "seconds"),
        choice("actionOnMatch", "reject", ("discard", "pass", "reject"), "What happens to mail that matches"),
        integer("maxConnections", 10, 0, 32, "Connections to the scanner; 0 = unlimited"),
        integer("maxMessageSize", 10_240, 0, 4_294_967_295, "Largest message that is scanned; 0 = any", "KB"),
    ),
    "manageServerFilters", "A scanner behind a socket (FLT-02)",
)  # fmt: skip

SCRIPT_FILTER = kind(
    "scriptFilter", "name",
    (
        named("filter"),
        choice("type", "sieve", ("sieve",), "Language of the script"),
        path("file", "", "File of the script; empty = kept with the filter"),
    ),
    "manageServerFilters", "A script (FLT-01)", owners=FILTER_OWNERS, permissions=FILTER_PERMISSIONS,
)  # fmt: skip

INTEGRATED_FILTER = kind(
    "integratedFilter", "name",
    (
        named("filter"),
        choice("type", "externalCommand", ("externalCommand", "managedCommand"), "How the program is run"),
        text("command", "", "The program with its arguments", longest=4096),
        boolean("enable", True, "Run it"),
        integer("requestTimeout", 0, 0, 86_400, "Wait for an answer; 0 = for ever", "seconds"),
    ),
    "manageServerFilters", "A program that filters (FLT-03)",
)  # fmt: skip

_ACTIVE = (
    integer("priority", 0, 0, 500, "Order of the filters; 0 = first"),
    text("filterName", "", "Name of the filter", longest=64, names="filter"),
    choice("filterType", "script", FILTER_TYPES, "Kind of the filter"),
)
APPLY_ON = ("local", "relay", "localOnCluster", "relayFromCluster")
ACTIVE_FILTER = kind(
    "activeFilter", "priority", (*_ACTIVE, choice_set("applyOn", ("local",), APPLY_ON, "Mail that is filtered")),
    "manageServerFilters", "A filter in use, of the server or a domain (FLT-04)", limit=501, owners=("service", "domainConfig"),
    permissions=FILTER_PERMISSIONS,
)  # fmt: skip
ACCOUNT_ACTIVE_FILTER = kind(
    "accountActiveFilter", "priority",
    (*_ACTIVE, choice("filteringOn", "received", ("received", "sent", "sentAndReceived"), "Mail that is filtered")),
    "manageAccounts", "A filter in use, of accounts and lists (FLT-04)", limit=501,
    owners=("domain", "class", "account", "recipient"), permissions=FILTER_PERMISSIONS,
)  # fmt: skip


def _patterns(name: str, help: str) -> ObjectKind:
    pattern = Setting("pattern", Kind.TEXT, "", "Address, or a pattern with * and ?", maximum=254)
    return kind(
        name, "pattern", (pattern,), "manageServerFilters", help,
        limit=10_000, owners=FILTER_OWNERS, permissions=FILTER_PERMISSIONS,
    )  # fmt: skip


WHITELIST = _patterns("whitelist", "Senders that are always let through (SMI-22, FLT-17)")
BLACKLIST = _patterns("blacklist", "Senders that are always refused (SMI-22, FLT-17)")

_LDAP_URI = ("ldap", "ldaps")
LDAP_CONNECTOR = kind(
    "ldapConnector", "name",
    (
        named("connector"),
        text("bindDN", "", "Name to bind with; empty = anonymous"),
        secret("bindPass", "Password to bind with"),
        text("axigenHostField", "axigenHost", "Attribute that names the back end", longest=255),
        form("ldapURI1", Kind.URL, "", "First server", choices=_LDAP_URI),
        form("ldapURI2", Kind.URL, "", "Server asked when those before do not answer", choices=_LDAP_URI),
        form("ldapURI3", Kind.URL, "", "Server asked when those before do not answer", choices=_LDAP_URI),
        form("ldapURI4", Kind.URL, "", "Server asked when those before do not answer", choices=_LDAP_URI),
        form("ldapURI5", Kind.URL, "", "Server asked when those before do not answer", choices=_LDAP_URI),
        choice(
            "synchronizationDirection", "axigenToLdap", ("axigenToLdap", "ldapToAxigen", "bothWays"),
            "Which side is copied to which; axigen = this server",
        ),
        choice(
            "synchronizationConflictResolution", "axigenWins", ("axigenWins", "ldapWins", "noChange"),
            "Which change wins with bothWays; axigen = this server",
        ),
        choice("serverType", "OpenLDAP", ("OpenLDAP", "ActiveDirectory"), "Kind of the servers"),
        integer("timeout", 4, 1, 600, "Wait for an answer", "seconds"),
        text("accountBaseDN", "", "Where accounts lie"),
        text("groupBaseDN", "", "Where groups lie"),
        boolean("useCustomSchema", False, "Names of attributes are in a file"),
        path("customSchemaFile", "none", "That file"),
        integer("pollingInterval", 10, 2, 600, "Time between two looks for changes", "seconds"),
        integer("transientErrorRetryInterval", 5, 1, 86_400, "Wait after an error", "seconds"),
        boolean("clusteredSetup", False, "More nodes synchronise with the same tree"),
        boolean("searchDomainAliases", False, "Accounts may lie below an alias of the domain"),
        boolean("ignoreLDAPDeletes", True, "What is deleted there stays here"),
        integer("replicaId", 0, 0, 999, "Number of this server among those that synchronise"),
    ),
    "manageAuthentication", "An LDAP directory (LDP-01, LDP-04)",
)  # fmt: skip

_WEB = ("https", "http")
OAUTH_CONNECTOR = kind(
    "oauthConnector", "name",
    (
        named("connector"),
        choice("mode", "oidc", ("oidc", "oauth2"), "OpenID Connect, or OAuth 2 with introspection"),
        text("clientId", "", "Identifier of this server at the provider"),
        secret("clientSecret", "Its secret", longest=1024),
        form("autoConfigUri", Kind.URL, "", "Discovery document (oidc)", choices=_WEB),
        form("jwksUri", Kind.URL, "", "Keys of the provider", choices=_WEB),
        form("authzUri", Kind.URL, "", "Authorization endpoint", choices=_WEB),
        form("tokenUri", Kind.URL, "", "Token endpoint", choices=_WEB),
        form("introspectUri", Kind.URL, "", "Introspection endpoint (oauth2)", choices=_WEB),
        text("usernameField", "email", "Claim that names the user", longest=255),
        text("usernamePrefix", "", "Removed from the front of that name", longest=255),
        text("clientScopes", "openid email", "Scopes that are asked for"),
        integer("defaultTokenExpiry", 3600, 1, 31_536_000, "Life of a token that does not say", "seconds"),
        integer("connectTimeout", 5, 1, 600, "Wait for a connection", "seconds"),
        integer("requestTimeout", 10, 1, 600, "Wait for an answer", "seconds"),
        form("endpointsBaseUrl", Kind.URL, "", "Base of endpoints that are given relative", choices=_WEB),
        form("redirectBaseUrl", Kind.URL, "", "Base of the redirect URI; empty = as the browser came", choices=_WEB),
    ),
    "manageAuthentication", "An identity provider (OAU-04)",
)  # fmt: skip

SMS_CONNECTOR = kind(
    "smsConnector", "name",
    (
        named("connector"),
        form("url", Kind.URL, "", "Where messages are sent to", choices=_WEB),
        choice("method", "POST", ("GET", "POST", "PUT"), "Method of the request"),
        choice("contentType", "json", ("none", "json", "formUrlEncoded"), "How parameters are sent"),
        text("toParamName", "to", "Parameter with the number", longest=255),
        text("bodyParamName", "body", "Parameter with the text", longest=255),
        text("fromParamName", "from", "Parameter with the sender", longest=255),
    ),
    "manageServerConfig", "A gateway for SMS (PWD-05)",
)  # fmt: skip
SMS_CONNECTOR_AUTH = Context(
    "smsConnectorAuth",
    (
        choice("type", "none", ("none", "basic", "bearer"), "How this server proves itself"),
        text("username", "", "Name (basic)", longest=255),
        secret("password", "Password (basic)"),
        secret("token", "Token (bearer)", longest=4096),
    ),
    permission="manageServerConfig", help="Login at a gateway for SMS", scope="object",
)  # fmt: skip
STATIC_PARAM = kind(
    "staticParam", "name", (named("parameter"), text("value", "", "Its value", longest=4096)),
    "manageServerConfig", "A parameter sent with every SMS", folded=False, limit=100, owners=("object",),
)  # fmt: skip

USERMAP = kind(
    "usermap", "name",
    (
        named("map"),
        choice("type", "local", ("local", "ldap"), "A file, or a directory"),
        choice("userdbConnectorType", "local", USERDB, "How the directory is asked"),
        text("userdbConnectorName", "", "Name of the LDAP connector", longest=64, names="ldapConnector"),
        path("localFile", "", "The file"),
    ),
    "manageCluster", "Which user is on which back end (CLU-04)",
)  # fmt: skip

URL_REDIRECT = kind(
    "urlRedirect", "address",
    (
        form("address", Kind.HOST_PORT, "", "Listener whose requests are redirected"),
        integer("port", 443, 1, 65_535, "Port they are sent to"),
        text("host", "", "Host they are sent to; empty = the one that was asked", longest=255),
        boolean("auto", False, "Only where a listener with TLS answers there"),
    ),
    "manageWebMail", "A redirect to HTTPS (LIS-14)", owners=("webmail", "webadmin", "webmailProxy"),
    permissions={"webadmin": "manageWebAdmin", "webmailProxy": "manageWebmailProxy"},
)  # fmt: skip

HOST_NAME_RESOLVER_OWN = (
    form("host", Kind.HOST, "", "Name that clients ask for"),
    text("domain", "", "Domain it belongs to; empty = none", longest=255, names="domain"),
    boolean("sslEnable", False, "A certificate of its own"),
)
HOST_NAME_RESOLVER = kind(
    "hostNameResolver", "host", (*HOST_NAME_RESOLVER_OWN, *TLS),
    "manageWebMail", "A host name with its domain and certificate (WML-04)",
    owners=("webmail", "webmailProxy", "domainConfig"),
    permissions={"webmailProxy": "manageWebmailProxy", "domainConfig": "manageDomainConfig"},
)  # fmt: skip

SNMP_TRAP_DESTINATION = kind(
    "snmpTrapDestination", "address", (form("address", Kind.IP_PORT, "", "Manager that gets traps"),),
    "manageReporting", "A manager of SNMP (REP-01)", limit=32,
)  # fmt: skip
CLUSTER_ADDRESS = kind(
    "clusterAddress", "address", (form("address", Kind.HOST_PORT, "", "Administration listener of another node"),),
    "manageCluster", "Another node (CLU-03)",
)  # fmt: skip

KINDS = (
    NAMESERVER, LOG_RULE, SOCKET_FILTER, SCRIPT_FILTER, INTEGRATED_FILTER, ACTIVE_FILTER, ACCOUNT_ACTIVE_FILTER, WHITELIST,
    BLACKLIST, LDAP_CONNECTOR, OAUTH_CONNECTOR, SMS_CONNECTOR, STATIC_PARAM, USERMAP, URL_REDIRECT, HOST_NAME_RESOLVER,
    SNMP_TRAP_DESTINATION, CLUSTER_ADDRESS,
)  # fmt: skip
