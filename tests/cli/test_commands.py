"""The commands an operator types, and their refusals."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mailstead import __version__
from mailstead.directory.service import Directory
from mailstead.identity.passwords import hash_password, verify
from mailstead.mailbox.model import NewMessage
from mailstead.mailbox.service import Mailbox
from mailstead.process.bootstrap import read
from mailstead.settings.actor import Actor
from mailstead.store.service import Store
from tests.cli.conftest import command


def refusal(*words: str, input: str | None = None) -> str:
    result = command(*words, input=input)
    assert result.exit_code == 1, result.output
    return result.output.strip()


def test_version() -> None:
    assert command("version").output == f"mailstead {__version__}\n"


def test_init_makes_a_complete_private_directory(data: Path) -> None:
    bootstrap = read(data)
    assert bootstrap.data_dir == data.resolve()
    assert bootstrap.shards == 2
    assert stat.S_IMODE((data / "index" / "system.db").stat().st_mode) == 0o600
    directory = Directory.open(data)
    try:
        ports = sorted(
            (found.host, found.port) for s in ("smtpIncoming", "imap", "pop3") for found in directory.settings.listeners(s)
        )
        assert len(ports) == 14
        assert ("0.0.0.0", 25) in ports
        assert ("::", 993) in ports
        assert [d.name for d in directory.domains()] == ["example.test"]
        assert directory.resolve("postmaster@example.test").account is not None
    finally:
        directory.close()


def test_init_refuses_what_is_not_empty(data: Path, tmp_path: Path) -> None:
    words = ("--hostname", "h.example", "--domain", "example.test", "--admin-password", "administrator")
    assert refusal("init", str(data), *words) == f"Error: {data} is a data directory already"
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").touch()
    assert "is not empty and not a Mailstead data directory" in refusal("init", str(foreign), *words)
    assert [p.name for p in foreign.iterdir()] == ["thesis.tex"]


def test_init_that_fails_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new"
    text = refusal("init", str(path), "--hostname", "h", "--domain", "not a domain", "--admin-password", "administrator")
    assert text.startswith("Error: ")
    assert not path.exists()


def test_init_without_a_terminal_names_the_variable_with_the_password(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "new"

    def typed(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mailstead", *words], input="long enough\nlong enough\n", start_new_session=True,
            capture_output=True, text=True, timeout=300, check=False, env={**os.environ, **environment},
        )  # fmt: skip

    init = ("init", str(path), "--hostname", "h.example", "--domain", "example.test")
    for words in (init, ("admin", "add", "--config", str(data), "anna")):
        done = typed(*words)
        assert done.returncode == 1
        assert done.stderr == "Error: no terminal to ask for the administrator's password; set MAILSTEAD_ADMIN_PASSWORD\n"
    assert not path.exists()
    assert "must have at least 8 characters" in typed(*init, MAILSTEAD_ADMIN_PASSWORD="short").stderr
    assert typed(*init, MAILSTEAD_ADMIN_PASSWORD="administrator").returncode == 0


def test_init_asks_twice_at_a_terminal(tmp_path: Path) -> None:
    result = command(
        "init", str(tmp_path / "new"), "--hostname", "h.example", "--domain", "example.test", input="long enough\nlong enough\n"
    )
    assert result.exit_code == 0, result.output
    assert "Repeat for confirmation" in result.output


def test_accounts_and_domains_come_and_go(data: Path) -> None:
    config = ("--config", str(data))
    assert command("domain", "add", *config, "second.test").exit_code == 0
    assert command("user", "add", *config, "carol@second.test", "--name", "Carol", "--password", "a good long one").exit_code == 0
    assert command("user", "list", *config, "--domain", "second.test").output == "carol@second.test\tCarol\n"
    assert command("domain", "list", *config).output.splitlines() == ["example.test\t1\tenabled", "second.test\t1\tenabled"]
    assert "already exists" in refusal("user", "add", *config, "carol@second.test", "--password", "a good long one")
    assert "does not exist" in refusal("user", "add", *config, "x@nowhere.test", "--password", "a good long one")
    assert "is not an address" in refusal("user", "add", *config, "carol", "--password", "a good long one")
    assert command("user", "passwd", *config, "carol@second.test", input="another good one\nanother good one\n").exit_code == 0
    directory = Directory.open(data)
    account = directory.account_by_address("carol@second.test")
    assert account is not None
    credentials = directory.credentials(account.id)
    assert credentials is not None
    assert verify("another good one", credentials.password)
    directory.close()
    assert command("user", "delete", *config, "carol@second.test", input="n\n").exit_code == 1
    assert command("user", "delete", *config, "--yes", "carol@second.test").exit_code == 0
    assert command("domain", "delete", *config, "--yes", "second.test").exit_code == 0
    assert command("domain", "list", *config).output.splitlines() == ["example.test\t1\tenabled"]


def test_the_end_of_a_domain_tells_of_its_subdomains(data: Path) -> None:
    config = ("--config", str(data))
    system = Actor.system("test")
    directory = Directory.open(data)
    for name in ("dev.example.test", "own.example.test"):
        asyncio.run(directory.create_domain(name, actor=system))
        asyncio.run(directory.set_domain_setting(name, "parentDomain", "example.test", actor=system))
    directory.close()
    asked = command("domain", "delete", *config, "example.test", input="n\n")
    assert asked.exit_code == 1
    told = "2 subdomains stay, without a parent: dev.example.test own.example.test. Delete example.test with 1 account"
    assert told in asked.output
    assert command("domain", "delete", *config, "--yes", "dev.example.test").output.count("\n") == 1
    told = command("domain", "delete", *config, "--yes", "example.test").output
    assert "1 subdomain has no parent now, and is active with activateWithoutParent only: own.example.test\n" in told
    assert command("domain", "list", *config).output.splitlines() == ["own.example.test\t0\tinactive\texample.test"]


def test_the_list_of_domains_tells_states_and_parents(data: Path) -> None:
    directory = Directory.open(data)
    asyncio.run(directory.create_domain("dev.example.test", actor=Actor.system("test")))
    asyncio.run(directory.set_domain_setting("dev.example.test", "parentDomain", "example.test", actor=Actor.system("test")))
    asyncio.run(directory.disable_domain("example.test", actor=Actor.system("test")))
    directory.close()
    listed = command("domain", "list", "--config", str(data)).output.splitlines()
    assert listed == ["dev.example.test\t0\tinactive\texample.test", "example.test\t1\tdisabled"]


def test_import_takes_hashes_and_passwords_and_lists_what_it_refuses(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "users.csv"
    ready = hash_password("from elsewhere")
    file.write_text(
        "address,password,name\n"
        f'one@example.test,"{ready}",One\n'
        "two@example.test,clear password\n"
        "three@nowhere.test,clear password\n"
        "\n"
        "postmaster@example.test,{BOGUS}x\n"
    )
    result = command("user", "import", "--config", str(data), str(file))
    assert result.exit_code == 1
    assert "Created 2 accounts, refused 2." in result.output
    assert "line 4: three@nowhere.test" in result.output
    assert "line 6: postmaster@example.test" in result.output
    broken = tmp_path / "broken.csv"
    broken.write_text("just one field\n")
    assert "line 1: expected address" in refusal("user", "import", "--config", str(data), str(broken))


def test_import_goes_on_after_a_bad_line_and_holds_passwords_to_the_rules(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "users.csv"
    file.write_text("bad line\nweak@example.test,short\ngood@example.test,long enough by far\n")
    result = command("user", "import", "--config", str(data), str(file))
    assert result.exit_code == 1
    assert "line 1: expected address" in result.output
    assert "line 2: weak@example.test" in result.output
    assert "Created 1 accounts, refused 2." in result.output
    listed = command("user", "list", "--config", str(data)).output
    assert "good@example.test" in listed
    assert "weak@example.test" not in listed


def test_export_before_the_first_run_writes_nothing(data: Path, tmp_path: Path) -> None:
    result = command("export", "--config", str(data), "--domain", "example.test", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert "0 messages" in result.output


def fill(data: Path, address: str, folder: str = "INBOX", count: int = 1) -> None:
    """Put messages into a folder of an account, made if need be."""

    async def work() -> None:
        directory = Directory.open(data)
        account = directory.account_by_address(address)
        assert account is not None
        store = await Store.open(data, "w0", 2)
        mailbox = Mailbox(store, directory, directory)
        found = await mailbox.folder(account.id, folder) or await mailbox.create_folder(account.id, folder)
        await mailbox.append(found, [NewMessage(b"Message-ID: <%d@x>\r\n\r\nhi\r\n" % n) for n in range(count)])
        await store.close()
        directory.close()

    asyncio.run(work())


def test_a_missing_index_file_is_named_with_its_remedy(data: Path, tmp_path: Path) -> None:
    config, postmaster = ("--config", str(data)), "postmaster@example.test"
    fill(data, postmaster)
    assert "index: no file is missing" in command("doctor", *config).output
    directory = Directory.open(data)
    account = directory.account_by_address(postmaster)
    assert account is not None
    directory.close()
    (path,) = (data / "index").glob(f"shard-{account.shard}.db")
    path.unlink()
    remedy = f"--rebuild-shard {account.shard}"
    for chosen in (("--account", postmaster), ("--domain", "example.test")):
        said = refusal("export", *config, *chosen, str(tmp_path / "out"))
        assert str(path) in said
        assert remedy in said
    assert not (tmp_path / "out").exists()
    doctor = command("doctor", *config)
    assert doctor.exit_code == 1
    assert f"problem  index: {path} is missing" in doctor.output
    assert remedy in doctor.output
    fsck = command("fsck", *config)
    assert fsck.exit_code == 2
    assert remedy in fsck.output
    assert "beyond repair" not in fsck.output
    assert command("fsck", *config, "--rebuild-shard", str(account.shard)).exit_code == 1
    assert command("fsck", *config).output.endswith("clean\n")
    assert (
        "postmaster@example.test: 1 messages" in command("export", *config, "--account", postmaster, str(tmp_path / "out")).output
    )


@pytest.mark.parametrize(("form", "place"), [("maildir", ".News.2026/cur"), ("mbox", "News/2026.mbox")])
def test_export_of_a_domain_has_its_public_folders(data: Path, tmp_path: Path, form: str, place: str) -> None:
    config, out = ("--config", str(data)), tmp_path / "out"
    words = ("export", *config, "--format", form, "--domain", "EXAMPLE.test", str(out))
    fill(data, "postmaster@example.test")
    before = command(*words)
    assert "Public" not in before.output, "a domain without public folders"
    fill(data, "postmaster@example.test", "Public Folders/News/2026", 3)
    result = command(*words)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == ["postmaster@example.test: 1 messages", "Public Folders@example.test: 3 messages"]
    written = out / "Public Folders@example.test" / place
    assert len(list(written.iterdir()) if form == "maildir" else written.read_text().split("From MAILER-DAEMON")[1:]) == 3
    assert "Public Folders@DOMAIN" in command("export", "--help").output
    assert refusal("export", *config, "--domain", "other.test", str(out)) == "Error: no such domain: other.test"


def test_a_thousand_ready_hashes_are_not_hashed(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which would take a minute."""
    file = tmp_path / "users.csv"
    ready = hash_password("x")
    file.write_text("".join(f'u{n}@example.test,"{ready}"\n' for n in range(1000)))
    monkeypatch.setattr("mailstead.directory.password_policy.hash_password", lambda _: pytest.fail("a password was hashed"))
    assert "Created 1000 accounts." in command("user", "import", "--config", str(data), str(file)).output


def test_run_says_what_is_wrong_with_the_directory(data: Path, tmp_path: Path) -> None:
    for named in ("absent", "absent/mailstead.toml"):
        advised = f"does not exist; `mailstead init {tmp_path / 'absent'}` makes a data directory"
        assert advised in refusal("run", "--config", str(tmp_path / named))
    (data / "index").rename(data / "elsewhere")
    assert "index missing" in refusal("run", "--config", str(data))
    (data / "mailstead.toml").write_text("colour = 1\n")
    assert "unknown key 'colour'" in refusal("run", "--config", str(data))
    (data / "mailstead.toml").write_bytes(b"\xff\xfe")
    assert "is damaged" in refusal("run", "--config", str(data))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('engine = "oracle"', "engine 'oracle' is unknown"),
        ("workers = 99", "workers must be -1 to 30"),
        ('workers = "many"', "workers must be a number"),
        ("shards = true", "shards must be a number"),
        ("core_dumps = 1", "core_dumps must be true or false"),
    ],
)
def test_bootstrap_values_are_checked(data: Path, line: str, words: str) -> None:
    (data / "mailstead.toml").write_text(line + "\n")
    assert words in refusal("doctor", "--config", str(data))


def test_doctor_tells_names_that_lead_nowhere(data: Path) -> None:
    directory = Directory.open(data)
    system = Actor.system("test")

    async def make() -> None:
        gone = await directory.create_account("example.test", "gone", actor=system)
        await directory.create_group("example.test", "team", ["gone@example.test"], actor=system)
        await directory.delete_account(gone.id, actor=system)

    asyncio.run(make())
    directory.close()
    output = command("doctor", "--config", str(data)).output
    assert "names: group team@example.test: the member gone@example.test leads nowhere" in output


def test_doctor_reports_ports_certificate_and_rights(data: Path) -> None:
    os.chmod(data / "certs" / "default.pem", 0o644)
    result = command("doctor", "--config", str(data))
    assert "self-signed" in result.output
    assert "chmod 600" in result.output
    assert "GB free" in result.output
    assert "not running" in result.output
    (data / "certs" / "default.pem").write_text("nonsense")
    result = command("doctor", "--config", str(data))
    assert result.exit_code == 1
    assert "holds no PEM certificate" in result.output


def test_pop3_ids_from_another_server(data: Path, tmp_path: Path) -> None:
    assert command("user", "add", "-c", str(data), "ann@example.test", "--password", "long-enough-7").exit_code == 0

    async def fill() -> None:
        directory = Directory.open(data)
        account = directory.account_by_address("ann@example.test")
        assert account is not None
        store = await Store.open(data, "w0", 2)
        mailbox = Mailbox(store, directory)
        inbox = await mailbox.folder(account.id, "INBOX")
        assert inbox is not None
        await mailbox.append(inbox, [NewMessage(b"Message-ID: <%d@x>\r\n\r\nhi\r\n" % n) for n in range(3)])
        await store.close()
        directory.close()

    asyncio.run(fill())
    table = tmp_path / "ids.tsv"
    table.write_text("hdr.message-id\tpop3.uidl\n<1@x>\t0000abcd\n<9@x>\tnot-here\n<2@x>\tUID2-77\n")
    result = command("user", "pop3-ids", "-c", str(data), "ann@example.test", str(table))
    assert result.exit_code == 0, result.output
    assert "2 of 3 messages" in result.output
    table.write_text("<0@x>\tUID2-77\n")
    again = command("user", "pop3-ids", "-c", str(data), "ann@example.test", str(table))
    assert again.exit_code == 1
    assert "same unique id" in again.output
    assert command("user", "pop3-ids", "-c", str(data), "nobody@example.test", str(table)).exit_code == 1
    assert command("fsck", "-c", str(data)).exit_code == 0
