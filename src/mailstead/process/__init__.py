"""Processes of a node: the supervisor, its workers, what they share, and how the pieces are put together.

Invariants: a limit holds for the node, not for a process; no pending connection is lost when a process is
replaced; nothing here knows a protocol.
"""
