"""The web address by which members leave mailing lists with one click (RFC 8058): a small HTTP/1.1 face."""
