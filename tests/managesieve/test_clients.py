"""A client that we did not write: Debian's sieve-connect, over STARTTLS."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.managesieve.conftest import PASSWORD, USER, Face

SCRIPT = 'require "fileinto";\nif header :contains "subject" "plan" { fileinto "Plans"; }\n'


async def sieve_connect(face: Face, certificate: Path, *words: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        "sieve-connect", "--server", "localhost", "--port", str(face.port), "-4", "--user", USER, "--passwordfd", "0",
        "--tlscafile", str(certificate), "--authmech", "PLAIN", *words,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(PASSWORD.encode() + b"\n"), 60)
    assert process.returncode is not None
    return process.returncode, out.decode("utf-8", "replace")


async def test_sieve_connect_keeps_activates_and_fetches_a_script(face: Face, tmp_path: Path) -> None:
    certificate = tmp_path / "certificate.pem"
    local = tmp_path / "plans.sieve"
    local.write_text(SCRIPT)
    status, said = await sieve_connect(face, certificate, "--localsieve", str(local), "--remotesieve", "plans", "--upload")
    assert status == 0, said
    status, said = await sieve_connect(face, certificate, "--remotesieve", "plans", "--activate")
    assert status == 0, said
    status, said = await sieve_connect(face, certificate, "--list")
    assert status == 0, said
    assert '"plans" ACTIVE' in said
    back = tmp_path / "back.sieve"
    status, said = await sieve_connect(face, certificate, "--localsieve", str(back), "--remotesieve", "plans", "--download")
    assert status == 0, said
    assert back.read_text().splitlines() == SCRIPT.splitlines()
    local.write_text("fileinto 1;")
    status, said = await sieve_connect(face, certificate, "--localsieve", str(local), "--remotesieve", "bad", "--upload")
    assert status != 0
    assert "line 1" in said
    for words in (("--deactivate",), ("--remotesieve", "plans", "--delete")):
        status, said = await sieve_connect(face, certificate, *words)
        assert status == 0, said
