"""Allow and deny rules (LIS-04), of a service (`AccessControl`) and of a listener, and the context of an allow rule.

Invariants: rules wait as everything else does, and lists show them so; a deny rule has no limits and no context.

A context that owns rules has `rules`, the changes that wait by action and addresses (None: removed); it puts them into steps
itself, for
only it knows the listener's id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mailstead.admin_cli.attributes import AttributeContext, Special, shown
from mailstead.admin_cli.context import CliContext, Command, DoneContext, Result, make
from mailstead.admin_cli.grammar import CommandError, Word
from mailstead.admin_cli.responses import Reply, attribute, quoted, show, table
from mailstead.admin_cli.syntax import Arguments
from mailstead.settings.access import AccessRule
from mailstead.settings.actor import Actor
from mailstead.settings.declaration import boolean, integer
from mailstead.settings.declarations import ACCESS_LIMITS
from mailstead.settings.edits import Step
from mailstead.settings.ip_set import IpSet
from mailstead.settings.service import Settings

RuleKey = tuple[str, str]
"""Action (allow, deny) and addresses in their stored form."""
RuleChanges = dict[RuleKey, dict[str, str] | None]
ENABLE = boolean("enable", False, "The rule holds")
PRIORITY = integer("priority", 500, 1, 1000, "Order of the rules; 1 = first")


def stored_rules(settings: Settings, service: str, listener_id: int) -> dict[RuleKey, AccessRule]:
    """Rules of a service or listener as they are stored; none for a listener that is not stored yet."""
    if listener_id < 0:
        return {}
    return {(rule.action, str(rule.ip_set)): rule for rule in settings.access_rules(service, listener_id).all}


def attributes_of(rule: AccessRule) -> dict[str, str]:
    """A stored rule's attributes as text."""
    limits = {setting.name: setting.render(getattr(rule.limits, setting.name)) for setting in ACCESS_LIMITS.settings}
    explicit = {name: text for name, text in limits.items() if rule.allow}
    return {"enable": "yes" if rule.enable else "no", "priority": str(rule.priority), **explicit}


def current_rules(context: Any) -> dict[RuleKey, dict[str, str]]:
    """Rules as they will be, by the order they are tried in."""
    service, listener_id = context.rules_of()
    stored = stored_rules(context.session.services.settings, service, listener_id)
    found = {key: attributes_of(rule) for key, rule in stored.items()}
    for key, changed in context.rules.items():
        if changed is None:
            found.pop(key, None)
        else:
            found[key] = {**found.get(key, {"enable": "no", "priority": "500"}), **changed}
    return dict(sorted(found.items(), key=lambda item: (int(item[1]["priority"]), item[0])))


def rule_steps(settings: Settings, service: str, listener_id: int, changes: RuleChanges, actor: Actor) -> list[Step]:
    """What makes the changes. Raises InvalidValueError, PermissionDeniedError."""
    if not changes:
        return []
    listeners = settings.listener_rows
    stored = stored_rules(settings, service, listener_id)
    steps = []
    for (action, addresses), changed in changes.items():
        known = (action, addresses) in stored
        if changed is None:
            if known:
                steps.append(Step(listeners.rule_remover(service, action, addresses, actor, listener_id)))
        elif known:
            steps.append(Step(listeners.rule_updater(service, action, addresses, changed, actor, listener_id)))
        else:
            steps.append(Step(listeners.rule_adder(service, action, addresses, changed, actor, listener_id)))
    return steps


def _key(action: str, text: str) -> RuleKey:
    return action, str(IpSet.parse(text))


def _need(context: Any, action: str, text: str) -> tuple[RuleKey, dict[str, str]]:
    key = _key(action, text)
    found = current_rules(context).get(key)
    if found is None:
        raise CommandError(f"the {action} rule {text[:80]} does not exist")
    return key, found


def _given(arguments: Arguments) -> dict[str, str]:
    changes = {}
    for setting in (ENABLE, PRIORITY):
        if setting.name in arguments:
            changes[setting.name] = setting.render(setting.parse(arguments[setting.name]))
    return changes


def rule_commands() -> list[Command]:
    """LIST, ADD, UPDATE, REMOVE and SHOW of both kinds."""
    made = []
    for action, word in (("allow", "AllowRule"), ("deny", "DenyRule")):
        more = " [enable <yes|no>] [priority <priority>]" if action == "deny" else ""
        made += [
            make(f"LIST {word}s", "lists the rules", _list(action, word)),
            make(f"ADD {word} [ipSet] <ipRange>{more}", "adds a rule", _add(action)),
            make(f"UPDATE {word} [ipSet] <ipRange>{more}", "changes a rule", _update(action)),
            make(f"REMOVE {word} [ipSet] <ipRange>", "removes a rule", _remove(action)),
            make(f"SHOW {word} [ipSet] <ipRange> [ATTR <param>]", "shows a rule", _show(action)),
        ]
    return made


def _list(action: str, word: str) -> Any:
    def handler(context: Any, arguments: Arguments) -> Result:
        rows = [
            (addresses, values["priority"], values["enable"])
            for (kind, addresses), values in current_rules(context).items()
            if kind == action
        ]
        return table(f"The list of {word}s:", ("ipSet", "priority", "enable"), rows)

    return handler


def _add(action: str) -> Any:
    def handler(context: Any, arguments: Arguments) -> Result:
        key = _key(action, arguments["ipset"])
        if key in current_rules(context):
            raise CommandError(f"the {action} rule {key[1]} already exists")
        if action == "deny":
            context.begin()
            context.rules[key] = _given(arguments)
        else:
            context.session.enter(AllowRuleContext(context, key, {}))
        return None

    return handler


def _update(action: str) -> Any:
    def handler(context: Any, arguments: Arguments) -> Result:
        key, found = _need(context, action, arguments["ipset"])
        if action == "deny":
            context.begin()
            context.rules[key] = {**(context.rules.get(key) or {}), **_given(arguments)}
        else:
            context.session.enter(AllowRuleContext(context, key, found))
        return None

    return handler


def _remove(action: str) -> Any:
    def handler(context: Any, arguments: Arguments) -> Result:
        key, _ = _need(context, action, arguments["ipset"])
        context.begin()
        context.rules[key] = None
        return None

    return handler


def _show(action: str) -> Any:
    def handler(context: Any, arguments: Arguments) -> Result:
        key, values = _need(context, action, arguments["ipset"])
        pairs = [("ipSet", quoted(key[1])), *((name, text) for name, text in values.items())]
        if "attr" in arguments:
            for name, text in pairs:
                if name.lower() == arguments["attr"].lower():
                    return attribute(name, text)
            raise CommandError(f"there is no parameter {arguments['attr'][:80]!r} here")
        return show(pairs)

    return handler


class AllowRuleContext(AttributeContext, DoneContext):
    """An allow rule with its own limits."""

    below = "allowrule"
    title = "AllowRule"
    declaration = ACCESS_LIMITS

    def __init__(self, parent: CliContext, key: RuleKey, values: Mapping[str, str]) -> None:
        super().__init__(parent.session, parent)
        self.key = key
        self.values = dict(values)
        self.changes: dict[str, str] = {}
        self.addresses = key[1]

    def specials(self) -> tuple[Special, ...]:
        """Addresses, state and order."""
        return (
            Special("ipSet", "ipSet", _set_addresses, lambda context: quoted(context.addresses)),
            Special("enable", "bool", _set_enable, lambda context: context.now("enable", "no")),
            Special("priority", "int", _set_priority, lambda context: context.now("priority", "500")),
        )

    def now(self, name: str, default: str) -> str:
        """A value as it will be."""
        return self.changes.get(name, self.values.get(name, default))

    def shown_pairs(self) -> list[tuple[str, str]]:
        """With the six limits."""
        own = [(special.name, str(special.read(self))) for special in self.specials() if special.read is not None]
        limits = [
            (setting.name, shown(setting, self.now(setting.name, setting.render(setting.default))))
            for setting in ACCESS_LIMITS.settings
        ]
        return own + limits

    def shown_attribute(self, name: str) -> tuple[str, str]:
        """One of them."""
        for shown_name, text in self.shown_pairs():
            if shown_name.lower() == name.lower():
                return shown_name, text
        raise CommandError(f"there is no parameter {name[:80]!r} here")

    def keep_value(self, setting: Any, text: str | None) -> None:
        """Let it wait in the rule."""
        self.changes[setting.name] = setting.render(setting.parse(text or ""))

    async def collect(self) -> None:
        """Hand the rule to the parent."""
        parent: Any = self.parent
        parent.begin()
        new = _key("allow", self.addresses)
        if new != self.key:
            if new in current_rules(parent):
                raise CommandError(f"the allow rule {new[1]} already exists")
            parent.rules[self.key] = None
            parent.rules[new] = {**self.values, **self.changes}
        else:
            parent.rules[new] = {**(parent.rules.get(new) or {}), **self.changes}


def _set_addresses(context: Any, value: Word) -> None:
    context.addresses = _key("allow", value.text)[1]


def _set_enable(context: Any, value: Word) -> None:
    context.changes["enable"] = ENABLE.render(ENABLE.parse(value.text))


def _set_priority(context: Any, value: Word) -> None:
    context.changes["priority"] = PRIORITY.render(PRIORITY.parse(value.text))


__all__ = ["AllowRuleContext", "Reply", "RuleChanges", "rule_commands", "rule_steps"]
