"""Named objects of accounts: delegates, second factors, signatures.

Invariants: they wait for the account's COMMIT; secrets of second factors are never shown.
"""

from __future__ import annotations

import time
from typing import Any

from mailstead.admin_cli.context import Command, Condition, Result, make, needs
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.objects import Owner, may_change, objects_of, stage
from mailstead.admin_cli.responses import Reply, lines_of, table
from mailstead.admin_cli.syntax import Arguments
from mailstead.settings.declarations import OBJECT_KINDS
from mailstead.settings.edits import Place, read_content
from mailstead.settings.objects import NamedObject, new_object_id

DELEGATE, METHOD, SIGNATURE = (OBJECT_KINDS[name] for name in ("delegate", "securityMethod", "signature"))
RESOURCES = ("calendar", "tasks", "freebusy")


def _account_owner(context: Any, permission: str) -> Owner:
    return Owner(Place("account", context.object_id, "", context.domain_id), permission)


# -- delegates ------------------------------------------------------------------------------------------------------


def delegate_commands() -> list[Command]:
    """LIST, ADD and REMOVE Delegate (SHR-02)."""
    allowed = needs("manageAccounts")
    return [
        make("LIST Delegates", "lists who acts for the account", _list_delegates),
        make(
            "ADD Delegate <delegateName> resource <resource> permissions <rights>", "lets somebody act", _add_delegate,
            allowed=allowed,
        ),
        make("REMOVE Delegate <delegateName> [resource <resource>]", "takes that back", _remove_delegate, allowed=allowed),
    ]  # fmt: skip


def _delegates(context: Any) -> tuple[Owner, list[NamedObject]]:
    owner = _account_owner(context, DELEGATE.permission_for("account"))
    return owner, objects_of(context, DELEGATE, owner)


def _list_delegates(context: Any, arguments: Arguments) -> Result:
    _, found = _delegates(context)
    rows = [(row.name, *(str(getattr(row.values, resource)) for resource in RESOURCES)) for row in found]
    return table("The list of delegates:", ("name", *RESOURCES), rows)


def _resource(text: str) -> str:
    if text.lower() not in RESOURCES:
        raise CommandError(f"resource: expected one of {', '.join(RESOURCES)}")
    return text.lower()


def _delegate_address(context: Any, text: str) -> str:
    return text if "@" in text else f"{text}@{context.domain.name}"


def _add_delegate(context: Any, arguments: Arguments) -> Result:
    owner, found = _delegates(context)
    name = _delegate_address(context, arguments["delegatename"])
    if context.session.services.directory.account_by_address(name) is None:
        raise CommandError(f"the account {name[:80]} does not exist")
    setting = DELEGATE.context.setting(_resource(arguments["resource"]))
    rights = setting.render(setting.parse(arguments["permissions"]))
    present = next((row for row in found if row.key == DELEGATE.key_of(name)), None)
    old = dict(present.attributes) if present is not None else {"delegateName": name}
    stage(context, DELEGATE, owner, present, {**old, setting.name: rights})
    return None


def _remove_delegate(context: Any, arguments: Arguments) -> Result:
    owner, found = _delegates(context)
    name = _delegate_address(context, arguments["delegatename"])
    present = next((row for row in found if row.key == DELEGATE.key_of(name)), None)
    if present is None:
        raise CommandError(f"the delegate {name[:80]} does not exist")
    left = dict(present.attributes)
    if "resource" in arguments:
        left.pop(_resource(arguments["resource"]), None)
    if "resource" not in arguments or not any(left.get(resource, "none") != "none" for resource in RESOURCES):
        stage(context, DELEGATE, owner, present, None)
    else:
        stage(context, DELEGATE, owner, present, left)
    return None


# -- second factors -------------------------------------------------------------------------------------------------


def security_method_commands(owner_of: Any, *, add: bool) -> list[Command]:
    """LIST, REVOKE and, where `add`, ADD of second factors (PWD-04)."""

    def list_all(context: Any, arguments: Arguments) -> Result:
        rows = [
            (row.name, str(row.values.type), str(row.values.target), "yes" if row.values.confirmed else "no")
            for row in objects_of(context, METHOD, owner_of(context))
        ]
        return table("The list of security methods:", ("id", "type", "target", "confirmed"), rows)

    def revoke(context: Any, arguments: Arguments) -> Result:
        for row in objects_of(context, METHOD, owner_of(context)):
            if row.key == METHOD.key_of(arguments["methodid"]):
                stage(context, METHOD, owner_of(context), row, None)
                return None
        raise CommandError(f"the security method {arguments['methodid'][:80]} does not exist")

    def revoke_all(context: Any, arguments: Arguments) -> Result:
        for row in objects_of(context, METHOD, owner_of(context)):
            stage(context, METHOD, owner_of(context), row, None)
        return None

    def add_method(context: Any, arguments: Arguments) -> Result:
        kind = arguments["type"].lower()
        if kind not in ("sms", "email"):
            raise CommandError("type: expected sms or email")
        stage(context, METHOD, owner_of(context), None, {
            "methodId": f"{new_object_id():x}", "type": kind, "target": arguments["target"], "created": str(int(time.time())),
        })  # fmt: skip
        return None

    made = [
        make("LIST SecurityMethods", "lists second factors", list_all),
        make("REVOKE securityMethod <methodId>", "removes one", revoke),
        make("REVOKE all securityMethods", "removes all", revoke_all),
    ]
    if add:
        made.append(make("ADD securityMethod <type> <target>", "adds one by sms or email", add_method))
    return made


def account_method_commands() -> list[Command]:
    """Of an account."""
    return security_method_commands(lambda context: _account_owner(context, METHOD.permission_for("account")), add=True)


# -- signatures -----------------------------------------------------------------------------------------------------


def signature_commands(scope: str) -> list[Command]:
    """LIST, ADD, SHOW, ESET and REMOVE signature (WML-09); `scope` account or recipient."""

    def owner(context: Any) -> Owner:
        return Owner(Place(scope, context.parent.object_id, "", context.domain_id), SIGNATURE.permission_for(scope))

    def found(context: Any, arguments: Arguments) -> NamedObject:
        for row in objects_of(context, SIGNATURE, owner(context)):
            if row.name == arguments.get("name") or str(row.id) == arguments.get("id"):
                return row
        raise CommandError("the signature does not exist; give its id or its name")

    def list_all(context: Any, arguments: Arguments) -> Result:
        rows = [(str(row.id), row.name, str(row.values.type)) for row in objects_of(context, SIGNATURE, owner(context))]
        return table("The list of signatures:", ("id", "name", "type"), rows)

    def add(context: Any, arguments: Arguments) -> Result:
        if any(row.key == SIGNATURE.key_of(arguments["name"]) for row in objects_of(context, SIGNATURE, owner(context))):
            raise CommandError(f"the signature {arguments['name'][:80]} already exists")
        stage(context, SIGNATURE, owner(context), None, {
            "name": arguments["name"], **({"type": arguments["type"]} if "type" in arguments else {}),
        })  # fmt: skip
        return None

    def place(context: Any, row: NamedObject) -> Place:
        return Place("object", row.id, "", context.domain_id)

    def show(context: Any, arguments: Arguments) -> Result:
        row = found(context, arguments)
        waiting = context.pending.contents.get((place(context, row), "text"))
        database = context.session.services.directory.database
        text = waiting.text if waiting is not None else read_content(database, place(context, row), "text")
        return Reply(lines_of(text or ""))

    def eset(context: Any, arguments: Arguments) -> Result:
        row = found(context, arguments)
        context.session.actor.require(SIGNATURE.permission_for(scope), context.domain_id)

        async def take(text: str) -> Reply | None:
            context.begin()
            context.pending.set_content(place(context, row), "text", text or None, SIGNATURE.permission_for(scope))
            return None

        context.session.take_text(take)
        return None

    def remove(context: Any, arguments: Arguments) -> Result:
        stage(context, SIGNATURE, owner(context), found(context, arguments), None)
        return None

    may = may_change(owner)
    return [
        make("LIST signatures", "lists the signatures", list_all),
        make("SHOW signature [id <signatureId>] [name <signatureName>]", "shows a signature", show),
        make("ESET signature [id <signatureId>] [name <signatureName>]", "sets the text that follows", eset, listed=may),
        make("ADD signature name <signatureName> [type <signatureType>]", "adds a signature", add, listed=may),
        make("REMOVE signature [id <signatureId>] [name <signatureName>]", "removes a signature", remove, listed=may),
    ]


def ui_settings_commands() -> list[Command]:
    """RESET of WebMail's own settings."""

    def reset(name: str) -> Any:
        def handler(context: Any, arguments: Arguments) -> Result:
            context.begin()
            context.keep_content(name, None)
            return None

        return handler

    def may(name: str) -> Condition:
        return lambda context: bool(context.may_set_text(name))

    return [
        make(f"RESET {name}", "forgets them", reset(name), listed=may(name)) for name in ("uiSettings", "uiCustomSettings")
    ]
