"""`mailstead admin`: an administrator made at the machine has the rights it was given."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from mailstead.cli.main import main
from mailstead.directory import Directory
from mailstead.settings.permissions import DOMAIN_PERMISSIONS, SERVER_PERMISSIONS


def _run(data: Path, *words: str, expect: int = 0) -> str:
    result = CliRunner().invoke(main, [words[0], words[1], "--config", str(data), *words[2:]])
    assert result.exit_code == expect, result.output
    return result.output


def test_administrators_are_made_and_given_rights(tmp_path: Path) -> None:
    data = tmp_path / "data"
    runner = CliRunner()
    made = runner.invoke(main, [
        "init", str(data), "--hostname", "mail.example.test", "--domain", "example.test", "--admin-password", "first-secret-1",
    ])  # fmt: skip
    assert made.exit_code == 0, made.output
    assert "every right" in _run(data, "admin", "list")
    assert "at least 8" in _run(data, "admin", "add", "anna", "--password", "short", expect=1)
    _run(data, "admin", "add", "anna", "--password", "anna-secret-1", "--description", "Anna of support")
    _run(data, "admin", "grant", "anna", "manageAccounts", "createAccounts", "--domain", "example.test")
    directory = Directory.open(data)
    try:
        domain = directory.domain_by_name("example.test")
        assert domain is not None
        actor = directory.admin_actor("anna")
        assert actor.may("manageAccounts", domain.id) and not actor.may("removeAccounts", domain.id)
    finally:
        directory.close()
    _run(data, "admin", "revoke", "anna", "createAccounts", "--domain", "example.test")
    _run(data, "admin", "passwd", "anna", "--password", "anna-secret-2")
    _run(data, "admin", "remove", "anna")
    assert "last administrator" in _run(data, "admin", "remove", "admin", expect=1)


def test_the_names_of_permissions_are_told_with_what_they_are_for() -> None:
    def told(*words: str) -> list[list[str]]:
        result = CliRunner().invoke(main, ["admin", "permissions", *words])
        assert result.exit_code == 0, result.output
        return [line.split("\t") for line in result.output.splitlines()]

    everything = told()
    assert {name for name, level, _ in everything if level == "on a domain"} == DOMAIN_PERMISSIONS
    assert {name for name, level, _ in everything if level == "on the server"} == SERVER_PERMISSIONS
    assert all(meaning for _, _, meaning in everything)
    assert [row[0] for row in told("publicfoldersquotas")] == ["managePublicFoldersQuotas", "managePublicFoldersQuotasOnAnyDomain"]
