"""SMTP reception and submission: grammar, session, commands, and the thin part that speaks to the event loop."""
