"""An IMAP server of the test's making: old, odd, broken or hostile as a test wants it."""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass, field


@dataclass
class FakeFolder:
    """Messages by UID."""

    attributes: str = ""
    validity: int = 1
    messages: dict[int, bytes] = field(default_factory=dict)
    flags: dict[int, str] = field(default_factory=dict)
    subscribed: bool = False


@dataclass
class FakeImap:
    """Knows only IMAP4rev1. `say` has lines that replace the answer to a command (by its name); `{tag}` is filled in."""

    folders: dict[str, FakeFolder]
    delimiter: str = "."
    capabilities: str = "IMAP4rev1 NAMESPACE"
    namespace: str = '(("" ".")) NIL NIL'
    say: dict[str, str] = field(default_factory=dict)
    drop_after: int = 0
    """Close the connection after so many message bodies, once for each time it is set."""
    drops: list[int] = field(default_factory=list)
    """What `drop_after` becomes when a connection was closed."""
    hold: asyncio.Event | None = None
    """After the first message bodies, more are given only when this is set."""
    broken: set[int] = field(default_factory=set)
    """UIDs whose bodies are refused."""
    password: str = "secret"
    tls: ssl.SSLContext | None = None
    """For STARTTLS; with `implicit` from the first octet."""
    implicit: bool = False
    port: int = 0
    seen: list[str] = field(default_factory=list)
    logins: int = 0
    given: int = 0
    tls_begun: bool = False
    _server: asyncio.Server | None = None

    async def start(self) -> FakeImap:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, limit=1 << 20, ssl=self.tls if self.implicit else None
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    @property
    def source(self) -> dict[str, object]:
        return {"host": "127.0.0.1", "port": self.port, "user": "u", "password": self.password}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write((self.say.get("greeting") or f"* OK [CAPABILITY {self.capabilities}] ready").encode() + b"\r\n")
            folder = FakeFolder()
            while line := await reader.readline():
                text = line.decode("latin-1").rstrip("\r\n")
                while found := re.search(r"\{(\d+)\}$", text):
                    writer.write(b"+ go\r\n")
                    text = text[: found.start()] + '"' + (await reader.readexactly(int(found[1]))).decode("latin-1") + '"'
                    text += (await reader.readline()).decode("latin-1").rstrip("\r\n")
                self.seen.append(text)
                tag, _, command = text.partition(" ")
                word = " ".join(command.upper().split(" ")[: 2 if command.upper().startswith("UID") else 1])
                if word in self.say:
                    writer.write(self.say[word].replace("{tag}", tag).encode("latin-1"))
                elif word == "STARTTLS" and self.tls is not None:
                    writer.write(f"{tag} OK go\r\n".encode())
                    await writer.start_tls(self.tls)
                    self.tls_begun = True
                elif word in ("EXAMINE", "SELECT"):
                    name = re.match(r'\w+ "?((?:[^"\\]|\\.)*)"?', command)[1].replace('\\"', '"').replace("\\\\", "\\")  # type: ignore[index]
                    if name not in self.folders:
                        writer.write(f"{tag} NO no such folder\r\n".encode("latin-1"))
                        continue
                    folder = self.folders[name]
                    writer.write(f"* {len(folder.messages)} EXISTS\r\n* OK [UIDVALIDITY {folder.validity}] ok\r\n".encode())
                    writer.write(f"{tag} OK done\r\n".encode())
                else:
                    if self.hold is not None and self.given and "BODY.PEEK[]" in command:
                        await self.hold.wait()
                    self._answer(writer, tag, word, command, folder)
                await writer.drain()
                if word == "LOGOUT":
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _answer(self, writer: asyncio.StreamWriter, tag: str, word: str, command: str, folder: FakeFolder) -> None:
        out: list[str] = []
        if word == "LOGIN":
            self.logins += 1
            if f'"{self.password}"' not in command:
                writer.write(f"{tag} NO [AUTHENTICATIONFAILED] wrong\r\n".encode())
                return
        elif word == "CAPABILITY":
            out.append(f"* CAPABILITY {self.capabilities}")
        elif word == "NAMESPACE":
            out.append(f"* NAMESPACE {self.namespace}")
        elif word in ("LIST", "LSUB"):
            for name, one in self.folders.items():
                if word == "LIST" or one.subscribed:
                    shown = name.replace("\\", "\\\\").replace('"', '\\"')
                    out.append(f'* {word} ({one.attributes}) "{self.delimiter}" "{shown}"')
        elif word == "UID SEARCH":
            out.append("* SEARCH " + " ".join(map(str, sorted(folder.messages, reverse=True))))
        elif word == "UID FETCH":
            self._fetch(writer, tag, command, folder)
            return
        writer.write("".join(f"{line}\r\n" for line in [*out, f"{tag} OK done"]).encode("latin-1"))

    def _fetch(self, writer: asyncio.StreamWriter, tag: str, command: str, folder: FakeFolder) -> None:
        wanted: set[int] = set()
        for part in command.split(" ")[2].split(","):
            low, _, high = part.partition(":")
            top = max(folder.messages, default=0) if (high or low) == "*" else int(high or low)
            wanted |= {uid for uid in folder.messages if int(low) <= uid <= top}
        if "BODY.PEEK[]" in command and wanted & self.broken:
            writer.write(f"{tag} NO a message is damaged\r\n".encode())
            return
        for place, uid in enumerate(sorted(folder.messages), 1):
            if uid not in wanted:
                continue
            octets = folder.messages[uid]
            parts = [f"UID {uid}"]
            if "FLAGS" in command:
                parts.append(f"FLAGS ({folder.flags.get(uid, '')})")
            if "INTERNALDATE" in command:
                parts.append(f'INTERNALDATE "{uid % 28 + 1:2d}-Jul-1996 02:44:25 +0000"')
            if "RFC822.SIZE" in command:
                parts.append(f"RFC822.SIZE {len(octets)}")
            writer.write(f"* {place} FETCH ({' '.join(parts)}".encode())
            if "HEADER.FIELDS" in command:
                header = b"".join(line + b"\r\n" for line in octets.split(b"\r\n") if line.lower().startswith(b"message-id"))
                writer.write(b" BODY[HEADER.FIELDS (MESSAGE-ID)] {%d}\r\n%b" % (len(header) + 2, header + b"\r\n"))
            elif "BODY.PEEK[]" in command:
                self.given += 1
                if self.drop_after and self.given >= self.drop_after:
                    self.drop_after = self.drops.pop(0) if self.drops else 0
                    writer.write(b" BODY[] {%d}\r\n%b" % (len(octets), octets[: len(octets) // 2]))
                    writer.close()
                    return
                writer.write(b" BODY[] {%d}\r\n%b" % (len(octets), octets))
            writer.write(b")\r\n")
        writer.write(f"{tag} OK done\r\n".encode())
