"""Byte transport under every protocol face: connections, TLS, PROXY headers, idle timers.

Invariants: nothing here knows a mail protocol; every wait has a deadline; memory held for a peer that does not
read or does not stop writing is bounded.
"""
