"""From an accepted message to mailboxes and queue: verdicts on recipients, expansion, one log record, reports."""
