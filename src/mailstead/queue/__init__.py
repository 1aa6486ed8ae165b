"""Outbound mail: what waits, where it goes, attempts to hand it over, and the reports about them.

Invariants: a recipient leaves the queue only with an outcome record that is synced (delivered, or given up with its
report accepted first); memory holds a bounded window of the queue, whatever waits in the index.
"""
