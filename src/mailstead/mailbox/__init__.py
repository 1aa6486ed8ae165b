"""Folders and messages of an account: the verbs that IMAP, POP3, delivery and every later face share."""
