"""Named objects of the server with contexts of their own: name servers, log rules, connectors, user maps.

Invariants: those with DONE wait in the context above; connectors have a COMMIT of their own, as the contract has it.
"""

from __future__ import annotations

from typing import Any

from mailstead.admin_cli.attributes import AttributeContext
from mailstead.admin_cli.context import CliContext, Command, CommitContext, CommitForDoneContext, DoneContext, Result, make
from mailstead.admin_cli.contexts.services import enter, service_owner
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.objects import ObjectContext, Owner, object_commands, objects_of, stage
from mailstead.admin_cli.responses import items, table
from mailstead.admin_cli.syntax import Arguments
from mailstead.settings.declaration import ObjectKind
from mailstead.settings.declarations import OBJECT_KINDS, SMS_CONNECTOR_AUTH
from mailstead.settings.edits import Place, place_of
from mailstead.settings.objects import OBJECT_SCOPE


class NameserverContext(ObjectContext, DoneContext):
    """`<server-dnr-nameserver#>`."""

    name = "server-dnr-nameserver"
    title = "nameserver"
    kind = OBJECT_KINDS["nameserver"]


class LogRuleContext(ObjectContext, DoneContext):
    """`<server-log-rule#>`."""

    name = "server-log-rule"
    title = "log rule"
    kind = OBJECT_KINDS["logRule"]


class LdapConnectorContext(ObjectContext, CommitContext):
    """`<server-userdb-ldap-connector#>`."""

    name = "server-userdb-ldap-connector"
    title = "ldapConnector"
    kind = OBJECT_KINDS["ldapConnector"]


class OauthConnectorContext(ObjectContext, CommitContext):
    """`<server-userdb-oauth-connector#>`."""

    name = "server-userdb-oauth-connector"
    title = "oauthConnector"
    kind = OBJECT_KINDS["oauthConnector"]


class UsermapContext(ObjectContext, DoneContext):
    """`<server-usermap#>`."""

    name = "server-usermap"
    title = "Usermap"
    kind = OBJECT_KINDS["usermap"]


class SmsAuthContext(CommitForDoneContext, AttributeContext):
    """`<server-smsConnector-auth#>`; COMMIT is taken for DONE."""

    name = "server-smsConnector-auth"
    title = "smsConnector Auth"
    declaration = SMS_CONNECTOR_AUTH

    def place(self) -> Place:
        """Below the connector."""
        parent: Any = self.parent
        return place_of(SMS_CONNECTOR_AUTH, parent.object_id, 0, OBJECT_SCOPE)


def _params_owner(context: Any) -> Owner:
    return Owner(Place(OBJECT_SCOPE, context.object_id), "manageServerConfig")


class SmsConnectorContext(ObjectContext, CommitContext):
    """`<server-smsConnector#>`."""

    name = "server-smsConnector"
    title = "smsConnector"
    kind = OBJECT_KINDS["smsConnector"]

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """Static parameters and the login."""
        return [
            *super().extra_commands(),
            make("CONFIG Auth", "enters its login", enter(SmsAuthContext)),
            make("LIST staticParams", "lists parameters sent with every message", _list_params),
            make("ADD staticParam <name> <value>", "adds one", _put_param(True)),
            make("UPDATE staticParam <name> <value>", "changes one", _put_param(False)),
            make("REMOVE staticParam <name>", "removes one", _remove_param),
        ]


_PARAM = OBJECT_KINDS["staticParam"]
RECORD_TYPES = ("A", "AAAA", "MX", "NS", "TXT", "PTR")


def _list_params(context: Any, arguments: Arguments) -> Result:
    rows = [(row.name, str(row.values.value)) for row in objects_of(context, _PARAM, _params_owner(context))]
    return table("The list of static parameters:", ("name", "value"), rows)


def _param(context: Any, name: str) -> Any:
    return next((row for row in objects_of(context, _PARAM, _params_owner(context)) if row.name == name), None)


def _put_param(new: bool) -> Any:
    def handler(context: Any, arguments: Arguments) -> Result:
        found = _param(context, arguments["name"])
        if new and found is not None:
            raise CommandError(f"the parameter {arguments['name'][:80]} already exists")
        if not new and found is None:
            raise CommandError(f"the parameter {arguments['name'][:80]} does not exist")
        stage(context, _PARAM, _params_owner(context), found, {"name": arguments["name"], "value": arguments["value"]})
        return None

    return handler


def _remove_param(context: Any, arguments: Arguments) -> Result:
    found = _param(context, arguments["name"])
    if found is None:
        raise CommandError(f"the parameter {arguments['name'][:80]} does not exist")
    stage(context, _PARAM, _params_owner(context), found, None)
    return None


def nameserver_commands() -> list[Command]:
    """Name servers of the resolver."""
    owner = service_owner("manageDNR")

    def remove_all(context: CliContext, arguments: Arguments) -> Result:
        for row in objects_of(context, NameserverContext.kind, owner(context)):
            stage(context, NameserverContext.kind, owner(context), row, None)
        return None

    return [
        *object_commands(
            NameserverContext.kind, "Nameserver", "Nameservers", NameserverContext, owner,
            columns=("priority", "address", "timeout", "retries"), title="The list of nameservers:",
        ),
        make("REMOVE All", "removes every name server", remove_all),
        make("EMPTYCACHE", "forgets what was looked up", _empty_cache),
        *(make(f"QUERY {kind} <name>", f"looks up {kind} records", _query(kind)) for kind in RECORD_TYPES),
    ]  # fmt: skip


async def _empty_cache(context: CliContext, arguments: Arguments) -> Result:
    await context.session.services.background.call("dns.emptyCache")
    return None


def _query(kind: str) -> Any:
    async def handler(context: CliContext, arguments: Arguments) -> Result:
        found = await context.session.services.background.call("dns.query", name=arguments["name"], type=kind)
        if not found["records"] and found["status"] == "temporary failure":
            why = f": {found['reason'][:200]}" if found["reason"] else ""
            text = f"{arguments['name'][:80]}: no name server told its {kind} records (temporary failure{why}); try again"
            raise CommandError(text)
        if not found["records"]:
            raise CommandError(f"{arguments['name'][:80]}: no {kind} records ({found['status']})")
        return items(f"The {kind} records of {arguments['name']}:", found["records"])

    return handler


def log_rule_commands() -> list[Command]:
    """Rules of the log (LOG-02)."""
    return object_commands(
        LogRuleContext.kind, "Rule", "Rules", LogRuleContext, service_owner("manageLog"),
        columns=("priority", "hostname", "module", "logLevel", "fileName"), title="The list of rules:",
    )  # fmt: skip


def ldap_commands() -> list[Command]:
    """LDAP connectors."""
    return object_commands(
        LdapConnectorContext.kind, "ldapConnector", "ldapConnectors", LdapConnectorContext,
        service_owner("manageAuthentication"), required=("ldapURI1",), columns=("name", "ldapURI1", "serverType"),
        title="The list of LDAP connectors:", spelled={"ldapURI1": "ldapUri"},
    )  # fmt: skip


def oauth_commands() -> list[Command]:
    """OAuth connectors."""
    return object_commands(
        OauthConnectorContext.kind, "oauthConnector", "oauthConnectors", OauthConnectorContext,
        service_owner("manageAuthentication"), required=("mode",), columns=("name", "mode", "clientId"),
        title="The list of OAuth connectors:",
    )  # fmt: skip


def usermap_commands() -> list[Command]:
    """User maps of the proxies."""
    return object_commands(
        UsermapContext.kind, "Usermap", "Usermaps", UsermapContext, service_owner("manageCluster"),
        columns=("name", "type"), title="The list of user maps:",
    )  # fmt: skip


def sms_commands() -> list[Command]:
    """SMS connectors."""
    return object_commands(
        SmsConnectorContext.kind, "smsConnector", "smsConnectors", SmsConnectorContext, service_owner("manageServerConfig"),
        columns=("name", "url"), title="The list of SMS connectors:",
    )  # fmt: skip


def kind_of(name: str) -> ObjectKind:
    """A kind by its name."""
    return OBJECT_KINDS[name]
