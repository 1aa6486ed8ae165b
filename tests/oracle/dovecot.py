"""A Dovecot of its own for a test session: free ports, a folder that goes again, stopped by its pid."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.ports import free_port

PASSWORD = "secret"

_CONFIG = """
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/dovecot.log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
mail_max_userip_connections = 100
mail_location = sdbox:~/mail
first_valid_uid = 1
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
imap_hibernate_timeout = 0
mailbox_list_index = yes
mail_plugins =
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={root}/mail/%u
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""


def program() -> str | None:
    """Where Dovecot is; None where it is not installed."""
    return shutil.which("dovecot", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


class Dovecot:
    """Started by the constructor; call ``stop``. Every user has the password ``PASSWORD`` and an empty mailbox."""

    def __init__(self) -> None:
        found = program()
        assert found is not None
        self.root = Path(tempfile.mkdtemp(prefix="dovecot-"))
        self.root.chmod(0o755)
        # A server for root's tests runs as somebody else: Dovecot gives root no mail.
        user = "mail" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        entry = pwd.getpwnam(user)
        group = grp.getgrgid(entry.pw_gid).gr_name
        for name in ("mail", "run", "state"):
            (self.root / name).mkdir()
            if os.geteuid() == 0:
                os.chown(self.root / name, entry.pw_uid, entry.pw_gid)
        self.port = free_port()
        config = self.root / "dovecot.conf"
        config.write_text(_CONFIG.format(root=self.root, user=user, group=group, password=PASSWORD, port=self.port))
        self.process = subprocess.Popen([found, "-F", "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 300
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                    if connection.recv(100).startswith(b"* OK"):
                        return
            except OSError:
                pass
            if time.monotonic() > deadline or self.process.poll() is not None:
                log = self.root / "dovecot.log"
                said = log.read_text() if log.exists() else ""
                self.stop()
                raise AssertionError(f"Dovecot does not start: {said}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it and remove what it made."""
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()
        shutil.rmtree(self.root, ignore_errors=True)
