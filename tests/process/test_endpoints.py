"""From listener settings to endpoints, and the settings of a running node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailstead.directory.service import Directory
from mailstead.process.certificates import self_signed
from mailstead.process.endpoints import Endpoints
from mailstead.process.installation import ListenerPlan, Plan, create
from mailstead.process.shared_table import SharedTable
from mailstead.settings import Actor
from mailstead.transport.endpoint import Refusal

ACTOR = Actor.system("test")
ADDRESS = "127.0.0.1:1143"


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    plan = Plan(
        "mail.example.test", "example.test", "admin", "administrator", accounts=[("postmaster", None)],
        listeners=[ListenerPlan("imap", ADDRESS, {"sslEnable": "yes", "peerMaxConnections": "1"})],
    )  # fmt: skip
    create(tmp_path / "data", plan)
    opened = Directory.open(tmp_path / "data")
    yield opened
    opened.close()


@pytest.fixture
def endpoints(tmp_path: Path, directory: Directory) -> Endpoints:
    table = SharedTable.create(tmp_path / "t", slots=256, process=1)
    return Endpoints(tmp_path / "data", directory.settings, table, ("imap", "pop3"))


async def test_attributes_reach_the_endpoint(directory: Directory, endpoints: Endpoints) -> None:
    (spec,) = endpoints.specs()
    assert (spec.service, spec.host, spec.port) == ("imap", "127.0.0.1", 1143)
    await directory.settings.update_listener(
        "imap", ADDRESS, {"proxyProtocol": "allowAll", "idleTimeout": "77", "listenerDomain": "second.test"}, ACTOR
    )
    await directory.settings.set("imap", "maxErrors", "3", ACTOR)
    endpoint = endpoints.endpoint(spec)
    assert endpoint.implicit_tls
    assert endpoint.ssl_context is not None
    assert endpoint.proxy_protocol == {"allowV1", "allowV2"}
    assert (endpoint.idle_timeout, endpoint.listener_domain, endpoint.max_errors) == (77.0, "second.test", 3)
    await directory.settings.update_listener("imap", ADDRESS, {"enable": "no"}, ACTOR)
    assert endpoints.specs() == []


def test_tls_without_a_certificate_in_an_old_database_is_logged(
    directory: Directory, endpoints: Endpoints, capfd: pytest.CaptureFixture[str]
) -> None:
    kept = '{"sslEnable": "yes", "certFile": "none"}'  # settings of today refuse it
    directory.database.write_sync(lambda transaction: transaction.execute("UPDATE listener SET attributes = ?", (kept,)))
    directory.settings.poll()
    endpoint = endpoints.endpoint(endpoints.specs()[0])
    assert (endpoint.implicit_tls, endpoint.ssl_context) == (True, None)
    assert "sslEnable but no certFile" in capfd.readouterr().err


async def test_a_service_that_does_not_run_has_no_listeners(directory: Directory, endpoints: Endpoints) -> None:
    await directory.settings.set("server", "services", "pop3", ACTOR)
    assert endpoints.specs() == []


async def test_rules_apply_and_counts_outlive_a_change(directory: Directory, endpoints: Endpoints) -> None:
    (spec,) = endpoints.specs()
    first = endpoints.endpoint(spec)
    assert first.admission is not None
    assert not isinstance(first.admission.admit(first, "192.0.2.1", 1.0), Refusal)
    await directory.settings.add_access_rule("imap", "deny", "203.0.113.0/24", {"enable": "yes"}, ACTOR)
    second = endpoints.endpoint(spec)
    assert second.admission is not None
    assert second.admission.admit(second, "192.0.2.1", 1.0) == Refusal("too many connections from your address")
    assert second.admission.admit(second, "203.0.113.5", 1.0) == Refusal("access denied")


async def test_limits_of_the_service_hold_once_they_are_set(directory: Directory, endpoints: Endpoints) -> None:
    await directory.settings.update_listener("imap", ADDRESS, {"peerMaxConnections": "50"}, ACTOR)
    (spec,) = endpoints.specs()
    admission = endpoints.endpoint(spec).admission
    assert admission is not None
    held = [admission.admit(endpoints.endpoint(spec), "10.0.0.1", 1.0) for _ in range(4)]
    assert not any(isinstance(answer, Refusal) for answer in held)
    await directory.settings.set("imapAccessControl", "maxConnections", "2", ACTOR)
    admission = endpoints.endpoint(spec).admission
    assert admission is not None
    answers = [admission.admit(endpoints.endpoint(spec), "10.0.0.2", 1.0) for _ in range(3)]
    assert [isinstance(answer, Refusal) for answer in answers] == [False, False, True]


def test_broken_certificate_leaves_the_working_one(tmp_path: Path, endpoints: Endpoints) -> None:
    (spec,) = endpoints.specs()
    path = tmp_path / "data" / "certs" / "default.pem"
    good = endpoints.endpoint(spec).ssl_context
    assert good is not None
    path.write_text("half a file")
    assert endpoints.endpoint(spec).ssl_context is good
    self_signed(path, ["new.example.test"])
    renewed = endpoints.endpoint(spec).ssl_context
    assert renewed is not None
    assert renewed is not good
