"""The ground under every mailbox: an append-only log that is the truth and an index that is a fold over it."""
