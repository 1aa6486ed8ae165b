"""Structured log, metrics and the message receipt: what lets an operator see what happens.

Invariants: observing never fails the thing observed; no secret is written; what is filtered out costs well under
a microsecond.
"""
