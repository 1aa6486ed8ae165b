"""Two processes on one data directory see each other's changes before they are acknowledged."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailstead.directory import Actor, Directory, RecipientKind
from mailstead.identity.authenticator import Authenticator, AuthReason
from mailstead.identity.guard import LocalGuard

Ask = Callable[[str], str]


@pytest.fixture
def ask(directory: Directory, tmp_path: Path) -> Iterator[Ask]:
    """Say a line to the other process, return its answer."""
    script = Path(__file__).with_name("changer.py")
    other = subprocess.Popen([sys.executable, str(script), str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def say(line: str) -> str:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write(line + "\n")
        other.stdin.flush()
        return other.stdout.readline().strip()

    yield say
    assert other.stdin is not None
    other.stdin.close()
    assert other.wait(60) == 0
    if other.stdout is not None:
        other.stdout.close()


async def test_changed_password_fails_here_at_once(directory: Directory, admin: Actor, ask: Ask) -> None:
    alice = await directory.create_account("example.test", "alice", "first-word", actor=admin)
    authenticator = Authenticator(directory, directory.settings, LocalGuard())

    async def reason(password: str) -> AuthReason:
        return (await authenticator.verify_password(alice.address, password, service="imap", peer="192.0.2.1")).reason

    for turn in range(3):
        word = f"word-{turn}"
        assert await reason("first-word" if turn == 0 else f"word-{turn - 1}") is AuthReason.OK
        assert ask(f"password alice@example.test {word}") == "done"
        assert await reason("first-word" if turn == 0 else f"word-{turn - 1}") is AuthReason.BAD_CREDENTIALS
        assert await reason(word) is AuthReason.OK
    assert ask("disable alice@example.test") == "done"
    assert await reason("word-2") is AuthReason.DISABLED
    await authenticator.close()


async def test_names_made_and_removed_elsewhere_are_seen(directory: Directory, admin: Actor, ask: Ask) -> None:
    assert directory.resolve("bob@example.test").kind is RecipientKind.UNKNOWN_USER
    ask("create bob@example.test")
    assert directory.resolve("bob@example.test").kind is RecipientKind.LOCAL
    ask("delete bob@example.test")
    assert directory.resolve("bob@example.test").kind is RecipientKind.UNKNOWN_USER
    assert ask("has carol@example.test") == "no"
    carol = await directory.create_account("example.test", "carol", actor=admin)
    assert ask("has carol@example.test") == "True 1"
    await directory.disable_account(carol.id, actor=admin)
    assert ask("has carol@example.test") == "False 2"
    await directory.settings.set("imap", "maxErrors", "7", admin)
    assert ask("setting imap maxErrors") == "7"


async def test_more_changes_than_are_told_singly_are_seen(directory: Directory, admin: Actor, ask: Ask) -> None:
    account = await directory.create_account("example.test", "many", actor=admin)
    assert ask("has many@example.test") == "True 1"
    directory.database.write_sync(lambda t: [t.record("test", "account", account.id, "set fullName") for _ in range(600)])
    await directory.disable_account(account.id, actor=admin)
    assert ask("has many@example.test") == "False 2"


async def test_sessions_hear_of_their_account(directory: Directory, admin: Actor, ask: Ask) -> None:
    dora = await directory.create_account("example.test", "dora", actor=admin)
    heard: list[int] = []
    directory.on_account_change(heard.append)
    ask("disable dora@example.test")
    directory.poll()
    assert heard == [dora.id]


async def test_a_parent_disabled_elsewhere_takes_its_subdomains_along(directory: Directory, admin: Actor, ask: Ask) -> None:
    await directory.create_domain("dev.example.test", actor=admin)
    await directory.set_domain_setting("dev.example.test", "parentDomain", "example.test", actor=admin)
    anna = await directory.create_account("dev.example.test", "anna", actor=admin)
    assert directory.resolve(anna.address).kind is RecipientKind.LOCAL
    assert ask("has anna@dev.example.test") == "True 1"
    assert ask("close example.test") == "done"
    assert directory.resolve(anna.address).kind is RecipientKind.DISABLED
    assert ask("has anna@dev.example.test") == "False 1"
    await directory.enable_domain("example.test", actor=admin)
    assert ask("has anna@dev.example.test") == "True 1"


async def test_sessions_hear_of_the_loss_of_a_name_that_a_parent_is_known_by(directory: Directory, admin: Actor) -> None:
    await directory.create_domain("dev.example.test", actor=admin)
    await directory.add_domain_alias("example.test", "example.alias", actor=admin)
    await directory.set_domain_setting("dev.example.test", "parentDomain", "example.alias", actor=admin)
    anna = await directory.create_account("dev.example.test", "anna", actor=admin)
    enabled: list[bool] = []

    def changed(account: int) -> None:
        found = directory.account(anna.id)
        enabled.append(found is not None and found.enabled)

    directory.on_account_change(changed)
    await directory.remove_domain_alias("example.test", "example.alias", actor=admin)
    assert enabled == [False]
