"""Who is it: password hashes, SASL mechanisms, the verified-credential cache and the brute-force guard."""
