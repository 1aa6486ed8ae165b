"""What a supervisor loads, seen in a process of its own."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import importlib, sys, threading
import mailstead.process.supervisor
from mailstead.process.node import Node
Node.load()
before = set(sys.modules)
for face in ("smtp", "imap", "pop3", "managesieve", "ftp_backup"):
    importlib.import_module(f"mailstead.{face}.commands").table()
from mailstead.admin_cli.context import _table_of
from mailstead.admin_cli.server import RootContext
_table_of(RootContext)
print([name for name in set(sys.modules) - before if name.startswith("mailstead")], threading.active_count())
"""


def test_a_worker_loads_no_command_by_itself() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("[] 1\n", 0), done.stderr
