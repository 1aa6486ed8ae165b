"""Subdomains (DOM-04): made by who manages the domain above, within its limit, enabled by who may."""

from __future__ import annotations

import pytest

from mailstead.directory import Actor, RecipientKind
from mailstead.identity.authenticator import Authenticator, AuthReason
from mailstead.identity.guard import LocalGuard
from tests.admin_cli.conftest import PASSWORD, Client, Face

SYSTEM = Actor.system("test")


async def test_a_subdomain_waits_for_its_activation(face: Face) -> None:
    await face.directory.create_admin("owner", PASSWORD, actor=SYSTEM)
    for permission in ("manageSubdomains", "manageDomainConfig"):
        await face.directory.grant("owner", permission, "example.test", actor=SYSTEM)
    await face.directory.set_domain_setting("example.test", "maxSubdomains", "1", actor=SYSTEM)
    owner, admin = await face.client("owner"), await face.client()
    await owner.ok('CREATE Subdomain prefix dev parentDomain example.test postmasterPassword "secret-1-x"')
    assert owner.prompt == "<subdomain-create#> "
    assert (await owner.show())["parentDomain"] == '"example.test"'
    await owner.ok("COMMIT")
    domain = face.directory.domain_by_name("dev.example.test")
    assert domain is not None and not domain.enabled
    refused = await owner.err('CREATE Subdomain prefix more parentDomain example.test postmasterPassword "secret-1-x"')
    assert "at most 1 subdomains" in refused
    assert owner.prompt == "<#> "
    assert await admin.rows("LIST domainActivationRequests") == ["dev.example.test"]
    await admin.ok("ENABLE Domain name dev.example.test")
    assert await admin.rows("LIST domainActivationRequests") == []
    assert face.directory.account_by_address("postmaster@dev.example.test") is not None


async def test_independent_domains_do_not_count_as_subdomains(face: Face) -> None:
    """Neither one whose name ends alike, nor one that only looks so to a pattern."""
    await face.directory.create_domain("under_score.test", actor=SYSTEM)
    for name in ("shop.under_score.test", "x.underXscore.test"):
        await face.directory.create_domain(name, actor=SYSTEM)
    await face.directory.set_domain_setting("under_score.test", "maxSubdomains", "2", actor=SYSTEM)
    client = await face.client()
    create = 'CREATE Subdomain prefix {} parentDomain {} postmasterPassword "secret-1-x"'
    await client.ok(create.format("a", "under_score.test"), "COMMIT")
    await client.ok(create.format("b", "a.under_score.test"), "COMMIT")
    assert "at most 2 subdomains" in await client.err(create.format("c", "under_score.test")), "all that are below count"


async def test_only_below_a_domain_one_manages(face: Face) -> None:
    await face.directory.create_domain("other.test", actor=SYSTEM)
    await face.directory.create_admin("owner", PASSWORD, actor=SYSTEM)
    await face.directory.grant("owner", "manageSubdomains", "example.test", actor=SYSTEM)
    client = await face.client("owner")
    assert "does not exist" in await client.err("CREATE Subdomain prefix x parentDomain other.test postmasterPassword secret-1-x")
    assert "unknown command" in await client.err("CREATE Domain name x.test domainLocation /x postmasterPassword secret-1-x")


async def test_requests_can_be_cleared(face: Face) -> None:
    await face.directory.create_admin("owner", PASSWORD, actor=SYSTEM)
    await face.directory.grant("owner", "manageSubdomains", "example.test", actor=SYSTEM)
    owner, admin = await face.client("owner"), await face.client()
    await owner.ok("CREATE Subdomain prefix x parentDomain example.test postmasterPassword secret-1-x", "COMMIT")
    await admin.ok("CLEAR domainActivationRequests")
    assert await admin.rows("LIST domainActivationRequests") == []
    rows = await admin.rows("LIST AllDomains")
    assert any(row.startswith("x.example.test") and row.endswith("disabled") for row in rows)


@pytest.fixture
async def below(face: Face) -> Client:
    """An administrator of everything, once dev.example.test is there with anna."""
    client = await face.client()
    await client.ok(
        "CREATE Subdomain prefix dev parentDomain example.test postmasterPassword secret-1-x", "COMMIT",
        "UPDATE Domain dev.example.test", "ADD Account anna password wonder-land-1", "COMMIT",
        "ADD Group team", "ADD Address anna@dev.example.test", "COMMIT", "COMMIT",
    )  # fmt: skip
    return client


async def _login(face: Face, address: str) -> AuthReason:
    authenticator = Authenticator(face.directory, face.directory.settings, LocalGuard())
    try:
        return (await authenticator.verify_password(address, "wonder-land-1", service="imap", peer="192.0.2.1")).reason
    finally:
        await authenticator.close()


async def test_what_is_below_a_disabled_domain_is_not_active(face: Face, below: Client) -> None:
    addresses = ("anna@dev.example.test", "team@dev.example.test")
    assert [face.directory.resolve(one).kind for one in addresses] == [RecipientKind.LOCAL, RecipientKind.GROUP]
    await below.ok("DISABLE Domain example.test")
    assert await _login(face, "anna@dev.example.test") is AuthReason.DISABLED
    assert {face.directory.resolve(one).kind for one in addresses} == {RecipientKind.DISABLED}
    assert not any(account.enabled for account in face.directory.accounts())
    assert [row.split()[-1] for row in await below.rows("LIST AllDomains *example.test")] == ["inactive", "disabled"]
    assert await below.rows("LIST Domains") == []
    await below.ok("UPDATE Domain dev.example.test")
    assert (await below.show("SHOW RegistryInformation"))["Configuration Status"] == "inactive"
    await below.ok("SET activateWithoutParent yes", "COMMIT")
    assert await _login(face, "anna@dev.example.test") is AuthReason.OK
    assert [row.split()[0] for row in await below.rows("LIST Domains")] == ["dev.example.test"]
    await below.ok("UPDATE Domain dev.example.test", "SET activateWithoutParent no", "COMMIT")
    assert await _login(face, "anna@dev.example.test") is AuthReason.DISABLED
    await below.ok("ENABLE Domain name example.test")
    assert await _login(face, "anna@dev.example.test") is AuthReason.OK
    assert [face.directory.resolve(one).kind for one in addresses] == [RecipientKind.LOCAL, RecipientKind.GROUP]


async def test_a_subdomain_follows_through_every_level_and_a_new_name(face: Face, below: Client) -> None:
    await below.ok("CREATE Subdomain prefix x parentDomain dev.example.test postmasterPassword secret-1-x", "COMMIT")
    await below.ok("UPDATE Domain example.test", "SET name renamed.test", "COMMIT")
    assert face.directory.resolve("postmaster@x.dev.example.test").kind is RecipientKind.LOCAL
    await below.ok("DISABLE Domain renamed.test")
    assert face.directory.resolve("postmaster@x.dev.example.test").kind is RecipientKind.DISABLED
    # A parent that is gone does not let go what it held back.
    await below.ok("DELETE Domain name renamed.test")
    assert face.directory.resolve("postmaster@x.dev.example.test").kind is RecipientKind.DISABLED
    assert [row.split()[-1] for row in await below.rows("LIST AllDomains")] == ["inactive", "inactive"]
    await below.ok("RESTORE Domain name renamed.test", "BACK", "ENABLE Domain name renamed.test")
    assert face.directory.resolve("postmaster@x.dev.example.test").kind is RecipientKind.LOCAL


async def test_a_subdomain_shows_its_parent_and_its_state(face: Face, below: Client) -> None:
    async def seen(name: str) -> tuple[str, str]:
        pairs = await below.show(f"SHOW Domain {name}")
        return pairs["parentDomain"], pairs["state"]

    assert await seen("example.test") == ('""', "enabled")
    assert await seen("dev.example.test") == ('"example.test"', "enabled")
    await below.ok("DISABLE Domain example.test")
    assert await seen("example.test") == ('""', "disabled")
    assert await seen("dev.example.test") == ('"example.test"', "inactive")
    assert await below.show("SHOW Domain dev.example.test ATTR state") == {"state": "inactive"}
    await below.ok("UPDATE Domain dev.example.test")
    registry = await below.show("SHOW RegistryInformation")
    assert (registry["Parent Domain"], registry["Configuration Status"]) == ("example.test", "inactive")
    assert "parentDomain cannot be set" in await below.err("SET parentDomain other.test")


async def test_deleting_a_domain_tells_what_stays_below_it(face: Face, below: Client) -> None:
    await below.ok("CREATE Subdomain prefix own parentDomain example.test postmasterPassword secret-1-x", "COMMIT")
    await below.ok("UPDATE Domain own.example.test", "SET activateWithoutParent yes", "COMMIT")
    await face.directory.create_admin("owner", PASSWORD, actor=SYSTEM)
    await face.directory.grant("owner", "deactivateDomain", "example.test", actor=SYSTEM)
    owner = await face.client("owner")
    await owner.ok("DISABLE Domain example.test")
    reply = await owner.send("DELETE Domain name example.test")
    assert reply[-1].startswith("+OK: ") and "2 subdomains" in reply[-2] and "dev.example.test" not in reply[-2]
    await below.ok("ENABLE Domain name example.test", "DISABLE Domain example.test")
    reply = await below.send("DELETE Domain name example.test")
    assert reply == [
        "2 subdomains have no parent now, and are active with activateWithoutParent only: dev.example.test own.example.test",
        "+OK: command successful",
    ]
    assert [row.split()[0] for row in await below.rows("LIST Domains")] == ["own.example.test"]
    await below.ok("DISABLE Domain own.example.test")
    assert (await below.send("DELETE Domain name own.example.test"))[0].startswith("+OK: ")


async def test_a_subdomain_does_not_come_before_its_parent(face: Face, below: Client) -> None:
    await below.ok("UPDATE Domain dev.example.test", "SET activationLevel 99")
    assert "dev.example.test has 99, and would come before example.test, its parent, which has 100" in await below.err("COMMIT")
    await below.ok("SET activationLevel 120", "COMMIT", "UPDATE Domain example.test", "SET activationLevel 121")
    assert "dev.example.test has 120" in await below.err("COMMIT")
    await below.ok("SET activationLevel 120", "COMMIT")
    # What is made below begins with the level of what is above.
    await below.ok("CREATE Subdomain prefix x parentDomain dev.example.test postmasterPassword secret-1-x", "COMMIT")
    assert (await below.show("SHOW Domain x.dev.example.test"))["activationLevel"] == "120"


async def test_the_owner_of_a_subdomain_cannot_free_it(face: Face, below: Client) -> None:
    await face.directory.create_admin("owner", PASSWORD, actor=SYSTEM)
    await face.directory.grant("owner", "manageDomainConfig", "dev.example.test", actor=SYSTEM)
    await below.ok("DISABLE Domain example.test")
    owner = await face.client("owner")
    await owner.ok("UPDATE Domain dev.example.test", "SET customerReference x", "COMMIT", "UPDATE Domain dev.example.test")
    refused = await owner.send("SET activateWithoutParent yes")
    if refused[-1].startswith("+OK"):
        refused = await owner.send("COMMIT")
    assert "owner lacks the permission activateAnyDomain" in refused[-1]
    assert face.directory.resolve("anna@dev.example.test").kind is RecipientKind.DISABLED


async def test_requests_are_listed_parents_first(face: Face, below: Client) -> None:
    await face.directory.create_admin("owner", PASSWORD, actor=SYSTEM)
    for name in ("example.test", "dev.example.test"):
        await face.directory.grant("owner", "manageSubdomains", name, actor=SYSTEM)
    owner = await face.client("owner")
    for prefix, name in (("a", "dev.example.test"), ("z", "example.test")):
        await owner.ok(f"CREATE Subdomain prefix {prefix} parentDomain {name} postmasterPassword secret-1-x", "COMMIT")
    assert await below.rows("LIST domainActivationRequests") == ["z.example.test", "a.dev.example.test"]
