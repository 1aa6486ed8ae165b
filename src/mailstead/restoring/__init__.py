"""Bringing a domain, an account, a folder or a message from a backup into a server that runs."""
