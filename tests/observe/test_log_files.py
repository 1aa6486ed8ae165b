"""Rules, files and their rotation, folding, lines for syslog: what an operator finds in the directory of the log."""

from __future__ import annotations

import multiprocessing
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.observe import log
from mailstead.observe.log import ModuleLog
from mailstead.observe.log_files import LogFiles, is_due
from mailstead.observe.log_rules import FileOptions, Rule, Rules, safe_name
from mailstead.observe.log_writer import LogWriter, WriterOptions
from mailstead.observe.syslog_line import RemoteLine, encode, one_line, parse

EVERYTHING = Rules([Rule(500, "localhost", file="everything.txt"), Rule(1000, file="default.txt")])


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LogWriter]:
    made = LogWriter(tmp_path / "logs", "mail.example.test", system_log=str(tmp_path / "dev-log"))
    made.options = WriterOptions(rules=EVERYTHING)
    log.configure(path=str(tmp_path / "stream.txt"))
    log.follow({}, ModuleLog(), writer=made)
    yield made
    log.follow({}, ModuleLog())
    made.close()
    log.configure()


def closed(writer: LogWriter) -> None:
    log.follow({}, ModuleLog())
    writer.close()


def test_a_line_goes_to_the_first_rule_that_matches(writer: LogWriter, tmp_path: Path) -> None:
    writer.options = WriterOptions(rules=Rules([
        Rule(10, "other.test", file="other.txt"), Rule(20, "*.EXAMPLE.test", "IMAP", 7, "imap.txt"),
        Rule(30, module="SRVLOG", file="server.txt"), Rule(40, file="remote.txt", remote=True), Rule(1000),
    ]))  # fmt: skip
    log.get_logger("IMAP").warning("odd", peer="192.0.2.1")
    log.get_logger("IMAP").info("usual\nFORGED")
    log.get_logger("asyncio").error("late")
    writer.put_remote(RemoteLine("2026-01-05T09:12:44.083Z", "mx", 8, "SMTP-IN", "message"), "192.0.2.9")
    closed(writer)
    found = {path.name: path.read_text() for path in (tmp_path / "logs").glob("*.txt")}
    assert found.keys() == {"imap.txt", "default.txt", "server.txt", "remote.txt"}
    assert re.fullmatch(r"\d{4}-\S+Z mail\.example\.test warning IMAP: odd peer=192\.0\.2\.1\n", found["imap.txt"])
    assert found["default.txt"].endswith("information IMAP: usual\\nFORGED\n") and found["default.txt"].count("\n") == 1
    assert found["remote.txt"] == "2026-01-05T09:12:44.083Z mx information SMTP-IN[192.0.2.9]: message\n"
    assert (tmp_path / "stream.txt").read_text().count("\n") == 3


def test_levels_are_live_and_the_command_line_is_their_default(writer: LogWriter, tmp_path: Path) -> None:
    logger = log.get_logger("IMAP")
    logger.protocol("not heard")
    log.follow({"IMAP": ModuleLog(31)}, ModuleLog(), writer=writer)
    logger.protocol("heard")
    assert logger.speaks_protocol
    log.follow({"IMAP": ModuleLog(1)}, ModuleLog(), writer=writer)
    logger.error("not heard")
    log.follow({"IMAP": ModuleLog(None)}, ModuleLog(), writer=writer)
    logger.info("heard again")
    closed(writer)
    text = (tmp_path / "logs" / "everything.txt").read_text()
    assert re.findall(r"IMAP: (.*)\n", text) == ["heard", "heard again"]


def test_the_security_log_hears_what_the_level_does_not_let_through(writer: LogWriter, tmp_path: Path) -> None:
    log.follow({"IMAP": ModuleLog(1)}, ModuleLog(), security=True, writer=writer)
    log.get_logger("IMAP", session="s-1").warning("login failed", login='a"b@x.test', reason="wrong", peer="2001:db8::1")
    log.get_logger("CLI").info("command", admin="admin", command="REMOVE Account", outcome="ok")
    log.get_logger("IMAP").info("idle")
    closed(writer)
    first, second = (tmp_path / "logs" / "security.txt").read_text().splitlines()
    fields = r'login failed session=s-1 login="a\\"b@x.test" reason=wrong peer=2001:db8::1'
    assert re.fullmatch(r"\S+Z mail\.example\.test SECURITY\[IMAP\]: " + fields, first)
    assert " SECURITY[CLI]: command admin=admin " in second
    everything = (tmp_path / "logs" / "everything.txt").read_text()
    assert "login failed" not in everything and "command" in everything


def test_nobody_has_another_banned_by_the_name_he_gives(writer: LogWriter, tmp_path: Path) -> None:
    log.follow({}, ModuleLog(), security=True, writer=writer)
    documented = re.search(r"failregex = (.*)", (Path(__file__).parents[2] / "docs" / "operating.md").read_text())
    assert documented
    pattern = re.compile(documented[1].replace("<HOST>", r"(?P<host>[\w.:]+)"))
    names = [
        "x peer=6.6.6.6", "peer=6.6.6.6", 'a" peer=6.6.6.6', "a\npeer=6.6.6.6\n",
        "a\r\nx SECURITY[IMAP]: login failed peer=6.6.6.6",
    ]  # fmt: skip
    for name in names:
        log.get_logger("IMAP").warning("login failed", login=name, reason="wrong name or password", peer="192.0.2.7")
    log.get_logger("CLI").warning("administrator login failed", admin="peer=6.6.6.6", peer="192.0.2.7")
    log.get_logger("IMAP").info("login", account="a@b.test", peer="192.0.2.8")
    closed(writer)
    lines = (tmp_path / "logs" / "security.txt").read_text().splitlines()
    assert len(lines) == len(names) + 2
    found = [pattern.search(line) for line in lines]
    assert [one["host"] if one else "" for one in found] == ["192.0.2.7"] * (len(names) + 1) + [""]


def test_equal_lines_are_folded_with_a_count(writer: LogWriter, tmp_path: Path) -> None:
    logger = log.get_logger("DNR")
    for _ in range(50):
        logger.error("no answer", server="192.0.2.53")
    logger.error("other")
    for _ in range(3):
        logger.error("again")
    closed(writer)
    lines = [line.partition("DNR: ")[2] for line in (tmp_path / "logs" / "everything.txt").read_text().splitlines()]
    assert lines == [
        "no answer server=192.0.2.53", "the last line was repeated 49 times", "other", "again",
        "the last line was repeated 2 times",
    ]  # fmt: skip


def test_nothing_is_folded_when_it_is_switched_off(writer: LogWriter, tmp_path: Path) -> None:
    writer.options = WriterOptions(rules=EVERYTHING, fold=False)
    for _ in range(5):
        log.get_logger("DNR").error("no answer")
    closed(writer)
    assert (tmp_path / "logs" / "everything.txt").read_text().count("no answer") == 5


def test_a_stopped_service_writes_no_files(writer: LogWriter, tmp_path: Path) -> None:
    writer.options = WriterOptions(files=False, rules=EVERYTHING)
    log.get_logger("IMAP").error("x")
    closed(writer)
    assert not (tmp_path / "logs").exists() and "x" in (tmp_path / "stream.txt").read_text()


def test_what_waits_is_bounded_and_what_is_lost_is_said(writer: LogWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailstead.observe.log_writer.MAX_WAITING", 100)
    append = writer._files.append
    all_said = threading.Event()

    def stalled(name: str, octets: bytes, options: FileOptions) -> None:
        # The disk takes nothing before all is logged: had whoever logs to wait for it, neither would come to an end.
        assert all_said.wait(60), "whoever logs must not wait"
        append(name, octets, options)

    monkeypatch.setattr(writer._files, "append", stalled)
    for number in range(5000):
        log.get_logger("IMAP").info(f"line {number}")
    all_said.set()
    closed(writer)
    assert "were lost" in (tmp_path / "stream.txt").read_text()


def test_lines_for_another_server_and_for_the_system(writer: LogWriter, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as system:
        other.bind(("127.0.0.1", 0))
        other.settimeout(60)
        system.bind(str(tmp_path / "dev-log"))
        system.settimeout(60)
        port = other.getsockname()[1]
        log.follow(
            {"IMAP": ModuleLog(31, "remote", f"127.0.0.1:{port}"), "POP3": ModuleLog(31, "system")}, ModuleLog(), writer=writer
        )
        log.get_logger("IMAP").warning("odd", peer="a\nb")
        log.get_logger("POP3").error("bad")
        line = parse(other.recv(9000))
        assert line is not None
        assert (line.host, line.level, line.module) == ("mail.example.test", 4, "IMAP") and line.text == 'odd peer="a\\nb"'
        assert re.fullmatch(rb"<19>mailstead\[\d+\]: POP3: bad", system.recv(9000))
    log.get_logger("POP3").error("nobody hears")
    closed(writer)
    assert "POP3: nobody hears" in (tmp_path / "logs" / "everything.txt").read_text()


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "", "a\0b", "..", "x" * 70])
def test_names_of_files_do_not_lead_out(name: str) -> None:
    assert not safe_name(name)
    assert Rules([Rule(1, file=name)]).rules == ()


def test_rotation_by_size_age_and_calendar_keeps_so_many(tmp_path: Path) -> None:
    now = [time.mktime((2026, 1, 5, 12, 0, 0, 0, 0, -1))]
    files = LogFiles(tmp_path, lambda: now[0])

    def stamp() -> bytes:
        return time.strftime("%Y-%m-%dT%H:%M:%S.000Z x\n", time.gmtime(now[0])).encode()

    options = FileOptions(size=100, count=2)
    for _ in range(40):
        now[0] += 1
        files.append("a.txt", stamp(), options)
    kept = sorted(path.name for path in tmp_path.glob("a*.txt"))
    assert len(kept) == 3 and all(path.stat().st_size <= 130 for path in tmp_path.glob("a*.txt"))
    files.append("b.txt", stamp(), FileOptions(seconds=600))
    now[0] += 601
    files.append("b.txt", stamp(), FileOptions(seconds=600))
    assert len(list(tmp_path.glob("b-*.txt"))) == 1
    daily = FileOptions(period="day")
    files.append("c.txt", stamp(), daily)
    now[0] += 3600
    files.append("c.txt", stamp(), daily)
    assert not list(tmp_path.glob("c-*.txt"))
    now[0] += 86_400
    files.reopen()
    files.append("c.txt", stamp(), daily)
    assert len(list(tmp_path.glob("c-*.txt"))) == 1 and (tmp_path / "c.txt").read_bytes().count(b"\n") == 1


def test_weeks_and_months() -> None:
    def at(*day: int) -> float:
        return time.mktime((*day, 12, 0, 0, 0, 0, -1))

    week, month = FileOptions(period="week"), FileOptions(period="month")
    assert not is_due(1, at(2026, 1, 5), at(2026, 1, 11), week) and is_due(1, at(2026, 1, 5), at(2026, 1, 12), week)
    assert not is_due(1, at(2026, 1, 1), at(2026, 1, 31), month) and is_due(1, at(2026, 1, 31), at(2026, 2, 1), month)
    assert not is_due(0, at(2026, 1, 1), at(2026, 2, 1), month), "an empty file stays"


def _pour(directory: Path, name: str, count: int) -> None:
    files = LogFiles(directory)
    for number in range(count):
        files.append("shared.txt", f"2026-01-05T09:12:44.083Z {name} {number} {'x' * 80}\n".encode(), FileOptions(size=20_000))


def test_several_processes_write_one_file_and_no_line_is_torn_or_lost(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    count = 1500
    running = [context.Process(target=_pour, args=(tmp_path, f"p{number}", count)) for number in range(3)]
    for process in running:
        process.start()
    for process in running:
        process.join(100)
        assert process.exitcode == 0
    found: dict[str, list[int]] = {}
    for path in tmp_path.glob("shared*.txt"):
        for line in path.read_text().splitlines():
            match = re.fullmatch(r"\S+ (p\d) (\d+) x{80}", line)
            assert match, line
            found.setdefault(match[1], []).append(int(match[2]))
    assert {name: sorted(numbers) for name, numbers in found.items()} == {f"p{n}": list(range(count)) for n in range(3)}
    assert len(list(tmp_path.glob("shared-*.txt"))) >= 10


@given(st.text(max_size=200), st.text(max_size=30), st.sampled_from([1, 2, 4, 8, 16]))
def test_what_is_sent_is_what_is_read(text: str, host: str, level: int) -> None:
    line = parse(encode("2026-01-05T09:12:44.083Z", host, level, "SMTP-IN", "w0", text))
    assert line is not None and line.level == level and line.module == "SMTP-IN"
    assert line.text == one_line(text).encode("utf-8", "backslashreplace").decode() and "\n" not in line.text


@given(st.binary(max_size=400))
def test_no_datagram_breaks_the_reader(octets: bytes) -> None:
    for datagram in (octets, b"<22>1 - h a p m - " + octets, b"<22>1 2026-01-05T09:12:44Z h a p m [x y=\"z\"] " + octets):
        line = parse(datagram)
        assert line is None or not re.search(r"[\x00-\x1f\x7f]", line.text + line.host + line.module)
