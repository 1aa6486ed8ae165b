"""Mailstead: one server for mail and collaboration."""

__version__ = "0.1.0"
