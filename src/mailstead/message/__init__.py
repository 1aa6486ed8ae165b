"""Messages as octets: MIME index, header fields, addresses, decoding, reports.

Nothing here does I/O, keeps state between calls (apart from bounded caches of
parsed values) or trusts its input: every reader in this package accepts any
octets and answers, in time linear in their number.
"""
