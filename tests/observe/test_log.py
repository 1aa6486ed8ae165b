"""Log lines: form, levels, secrets, cost."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailstead.observe import log


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "log.txt"
    log.configure(path=str(path), process="w0")
    yield path
    log.configure()


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_carries_module_process_and_bound_fields(file: Path) -> None:
    logger = log.get_logger("SMTP-IN", session="a-1")
    logger.bind(message="m1").info("accepted", size=5)
    (line,) = lines(file)
    assert str(line.pop("time")).endswith("Z")
    assert line == {
        "level": "information", "module": "SMTP-IN", "event": "accepted", "process": "w0",
        "session": "a-1", "message": "m1", "size": 5,
    }  # fmt: skip


def test_secrets_are_never_written(file: Path) -> None:
    log.get_logger("IMAP").info("login", password="hunter2", auth_token=b"hunter2", user="alice")
    assert "hunter2" not in file.read_text()
    assert lines(file)[0]["user"] == "alice"


def test_levels_follow_the_mask_of_each_module(file: Path) -> None:
    logger, other = log.get_logger("POP3"), log.get_logger("IMAP")
    log.configure(path=str(file), mask=log.LEVELS["error"], modules={"POP3": log.LEVELS["protocol"]})
    logger.protocol("said")
    other.info("unheard")
    other.error("heard")
    assert [line["event"] for line in lines(file)] == ["said", "heard"]


def test_no_input_breaks_a_line(file: Path) -> None:
    for style in ("json", "text"):
        log.configure(path=str(file), style=style)  # type: ignore[arg-type]
        log.get_logger("IMAP").info("odd\r\nFORGED", octets=b"\xff\n\x00", text="a\nb \udc80", thing=object(), big="x" * 9999)
    assert len(file.read_text().split("\n")) == 3


def test_fault_returns_the_reference_that_is_in_the_log(file: Path) -> None:
    try:
        raise ValueError("broken")
    except ValueError as exc:
        reference = log.fault(log.get_logger("SERVER"), "it failed", exc, session="s")
    (line,) = lines(file)
    assert line["reference"] == reference
    assert "ValueError: broken" in str(line["traceback"])


def test_filtered_events_are_cheap(file: Path) -> None:
    logger = log.get_logger("IMAP", session="x")
    calls: list[str] = []
    sys.setprofile(lambda frame, event, _: calls.append(f"{event} {frame.f_code.co_name}"))
    try:
        logger.protocol("x", octets=3)
    finally:
        sys.setprofile(None)
    assert calls[:2] == ["call protocol", "return protocol"], "nothing is made of what nobody hears"


def test_a_full_disk_does_not_stop_the_mail() -> None:
    log.configure(path="/dev/full")
    log.get_logger("IMAP").error("nobody hears")
    log.configure()
