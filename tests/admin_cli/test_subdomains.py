"""Subdomains (DOM-04): made by who manages the domain above, within its limit, enabled by who may."""

from __future__ import annotations

from mailstead.directory import Actor
from tests.admin_cli.conftest import PASSWORD, Face

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
    await owner.ok('CREATE Subdomain prefix more parentDomain example.test postmasterPassword "secret-1-x"')
    assert "at most 1 subdomains" in await owner.err("COMMIT")
    assert await admin.rows("LIST domainActivationRequests") == ["dev.example.test"]
    await admin.ok("ENABLE Domain name dev.example.test")
    assert await admin.rows("LIST domainActivationRequests") == []
    assert face.directory.account_by_address("postmaster@dev.example.test") is not None


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
