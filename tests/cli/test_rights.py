"""Commands of root in a data directory of another user, and files that its owner cannot write."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from mailstead.store.service import Store
from tests.cli.conftest import StartDemo, command

#: Some user who is not root; without root's rights the tests run as the one user there is.
OTHER = 65_534 if os.geteuid() == 0 else os.geteuid()


def give_to(path: Path, user: int) -> None:
    for each in (path, *path.rglob("*")):
        os.chown(each, user, -1)


@pytest.fixture
def theirs() -> Iterator[Path]:
    """A data directory of another user, with the index files that a server makes."""
    parent = Path(tempfile.mkdtemp(prefix="mailstead-rights-"))  # another user cannot enter pytest's own directories
    parent.chmod(0o755)
    path = parent / "data"
    made = command(
        "init", str(path), "--hostname", "mail.example.test", "--domain", "example.test",
        "--admin-password", "administrator", "--shards", "1",
    )  # fmt: skip
    assert made.exit_code == 0, made.output

    async def run_once() -> None:
        await (await Store.open(path, "w0", 1)).close()

    asyncio.run(run_once())
    give_to(path, OTHER)
    yield path
    shutil.rmtree(parent)


def typed(*words: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, for it may change its user."""
    line = [sys.executable, "-m", "mailstead", *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=300, check=False, cwd="/")


def owners(path: Path) -> set[int]:
    return {each.stat().st_uid for each in (path, *path.rglob("*"))}


@pytest.mark.parametrize(
    "words",
    [
        ("fsck", "--rebuild-shard", "0"), ("fsck", "--repair"), ("fsck",), ("reindex", "--all"), ("doctor",),
        ("domain", "add", "second.test"), ("user", "passwd", "postmaster@example.test", "--password", "a good long one"),
    ],
)  # fmt: skip
def test_a_command_of_root_leaves_no_files_of_root(theirs: Path, words: tuple[str, ...]) -> None:
    done = typed(*words, "--config", str(theirs))
    assert done.stderr == ""
    if "doctor" not in words:  # whose status depends on the ports of this machine
        assert done.returncode == (1 if "--rebuild-shard" in words else 0), done.stdout
    assert owners(theirs) == {OTHER}


def test_an_export_of_root_is_written_by_root_and_leaves_the_data_alone(theirs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"  # nobody else can write there
    done = typed("export", "--config", str(theirs), "--domain", "example.test", str(out))
    assert done.returncode == 0, done.stderr
    assert owners(theirs) == {OTHER}


@pytest.mark.parametrize("words", [("reindex", "--all"), ("fsck", "--repair")])
def test_the_owner_of_an_index_that_cannot_be_written_is_named(theirs: Path, words: tuple[str, ...]) -> None:
    index = theirs / "index" / "shard-0.db"
    apsw.Connection(str(index)).execute("INSERT INTO account VALUES(7, 0, 5, 5, 1)")  # something to repair
    if os.geteuid() == 0:
        give_to(theirs, OTHER)
        os.chown(index, 0, -1)  # as an earlier command of root left it
        index.chmod(0o644)
    else:
        index.chmod(0o400)
    done = typed(*words, "--config", str(theirs))
    owner = pwd.getpwuid(index.stat().st_uid).pw_name
    assert done.returncode == 1
    assert f"Error: the index cannot be written: {index} belongs to {owner} and cannot be written by " in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_owner_of_settings_that_cannot_be_opened_is_named(theirs: Path) -> None:
    database = theirs / "index" / "system.db"
    if os.geteuid() == 0:
        os.chown(database, 0, -1)
    else:
        database.chmod(0o000)
    done = typed("domain", "list", "--config", str(theirs))
    owner = pwd.getpwuid(database.stat().st_uid).pw_name
    assert done.returncode == 1
    assert f"{database} belongs to {owner} and cannot be written by " in done.stderr


def test_pop3_ids_of_root_leave_no_files_of_root(theirs: Path, tmp_path: Path) -> None:
    table = tmp_path / "ids.tsv"
    table.write_text("<1@x>\tab\n")
    done = typed("user", "pop3-ids", "--config", str(theirs), "postmaster@example.test", str(table))
    assert done.returncode == 0, done.stderr
    assert owners(theirs) == {OTHER}


def test_root_does_not_serve_from_the_directory_of_another(theirs: Path) -> None:
    if os.geteuid() != 0:
        return  # only root could
    done = typed("run", "-c", str(theirs))
    assert done.returncode == 1
    assert "name that user in mailstead.toml" in done.stderr
    assert "runs as root" not in done.stderr + typed("doctor", "--offline", "-c", str(theirs)).stdout


def test_a_server_of_root_says_so_and_doctor_says_what_to_do(demo: StartDemo, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        return  # only root could
    server = demo(0)
    assert server.stop() == 0
    doctor = typed("doctor", "--offline", "-c", str(server.data))
    assert "warning  user: the server runs as root\n" in doctor.stdout
    assert f"`chown -R mailstead {server.data}`, and user = \"mailstead\" in mailstead.toml" in doctor.stdout
    file = tmp_path / "log"
    serving = subprocess.Popen(
        [sys.executable, "-m", "mailstead", "run", "-c", str(server.data), "--workers", "1", "--log-file", str(file)]
    )
    try:
        until = time.monotonic() + 60
        while port_closed(server.port(2143)):
            assert time.monotonic() < until
            time.sleep(0.1)
    finally:
        serving.terminate()
        assert serving.wait(60) == 0
    assert file.read_text().count("the server runs as root") == 1


def port_closed(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0
