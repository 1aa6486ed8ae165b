"""Settings and listeners from the command line."""

from __future__ import annotations

from pathlib import Path

from mailstead.directory.service import Directory
from tests.cli.conftest import command


def test_a_setting_is_changed_shown_and_reset(data: Path) -> None:
    assert command("setting", "set", "-c", str(data), "smtpOutgoing", "smartHost", "mx.example.test").exit_code == 0
    changed = command("setting", "list", "-c", str(data), "smtpOutgoing", "--changed").output
    assert "smtpOutgoing.smartHost = mx.example.test" in changed
    assert command("setting", "reset", "-c", str(data), "smtpOutgoing", "smartHost").exit_code == 0
    assert "smartHost =" not in command("setting", "list", "-c", str(data), "smtpOutgoing", "--changed").output


def test_several_words_are_one_value(data: Path) -> None:
    words = ("setting", "set", "-c", str(data), "server", "services")
    for value in (("processing", "imap", "log"), ("processing imap log",)):
        result = command(*words, *value)
        assert result.exit_code == 0, result.output
        changed = command("setting", "list", "-c", str(data), "server", "--changed").output
        assert "server.services = processing imap log" in changed.replace("(", "").replace(")", "")
        assert command("setting", "reset", *words[2:]).exit_code == 0
    assert "Missing argument 'VALUE...'" in command(*words).output
    assert command("setting", "set", "-c", str(data), "smtpOutgoing", "smartHost", "").exit_code == 0


def test_a_name_that_is_nearly_a_setting_is_told_the_setting(data: Path) -> None:
    for words in (("set", "-c", str(data), "imap", "maxErors", "3"), ("reset", "-c", str(data), "imap", "maxErors")):
        result = command("setting", *words)
        assert (result.exit_code, result.output) == (1, "Error: imap has no setting 'maxErors'; is maxErrors meant?\n")
    result = command("setting", "set", "-c", str(data), "imap", "colour", "3")
    assert result.output == "Error: imap has no setting 'colour'\n"
    assert command("setting", "set", "-c", str(data), "imap", "MAXERRORS", "3").exit_code == 0


def test_a_bad_value_is_refused_with_what_is_allowed(data: Path) -> None:
    result = command("setting", "set", "-c", str(data), "imap", "maxErrors", "many")
    assert result.exit_code == 1
    assert "expected a number" in result.output


def test_secrets_are_not_shown(data: Path) -> None:
    assert command("setting", "set", "-c", str(data), "smtpOutgoing", "smartHostPassword", "hush-hush").exit_code == 0
    output = command("setting", "list", "-c", str(data), "smtpOutgoing").output
    assert "hush-hush" not in output
    assert "smartHostPassword = ********" in output


def test_listeners_are_added_changed_and_removed(data: Path) -> None:
    words = ("-c", str(data), "imap", "[::1]:2444")
    assert command("listener", "add", *words, "sslEnable=yes").exit_code == 0
    assert "imap\t[::1]:2444\tTLS" in command("listener", "list", "-c", str(data)).output
    assert command("listener", "set", *words, "enable=no").exit_code == 0
    directory = Directory.open(data)
    try:
        (found,) = [each for each in directory.settings.listeners("imap") if each.port == 2444]
        assert not found.enable
    finally:
        directory.close()
    refused = command("listener", "set", "imap", "[::1]:2445", "enable=no", "-c", str(data))
    assert "imap has no listener on [::1]:2445; it has " in refused.output and "[::1]:2444" in refused.output
    assert command("listener", "remove", *words).exit_code == 0
    assert "2444" not in command("listener", "list", "-c", str(data)).output
    assert "not supported" in command("listener", "add", "-c", str(data), "imap", "[fe80::1]:2444").output
    assert "NAME=VALUE" in command("listener", "add", *words, "sslEnable").output


def test_a_certificate_that_cannot_serve_is_told_at_once(data: Path) -> None:
    words = ("-c", str(data), "imap", "[::1]:2444")
    good = command("listener", "add", *words, "certFile=certs/default.pem")
    assert good.exit_code == 0 and "Warning" not in good.output
    (data / "certs" / "half.pem").write_text((data / "certs" / "default.pem").read_text().partition("-----BEGIN PRIVATE")[0])
    faults = {"certs/none.pem": "No such file", "mailstead.toml": "holds no PEM certificate", "certs/half.pem": "half.pem: "}
    for name, why in faults.items():
        result = command("listener", "set", *words, f"certFile={name}")
        assert result.exit_code == 0 and "Warning: " in result.output and why in result.output, result.output
    assert "Warning" not in command("listener", "set", *words, "certFile=none").output
