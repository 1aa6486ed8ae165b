"""The operator's command `mailstead`.

Invariants: every refusal is one line on standard error and a status of 1; nothing prints a password.
"""
