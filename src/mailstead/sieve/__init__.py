"""The Sieve language (RFC 5228 and extensions): parse, check, evaluate. No mail store inside."""
