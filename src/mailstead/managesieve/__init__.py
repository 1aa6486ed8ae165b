"""ManageSieve (RFC 5804): clients keep their Sieve scripts here."""
