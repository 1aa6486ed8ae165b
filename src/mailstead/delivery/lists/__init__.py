"""Mailing lists (LST-01): posting, copies, requests by mail, moderation, bounces, digests."""
