"""Named objects of a new server: the log rules and scanners that administrators of such a server expect (LOG-02, AVS-02)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def _scanner(name: str, address: str, protocol: str) -> Mapping[str, str]:
    return {"name": name, "address": address, "protocolFile": f"filters/{protocol}.afsl", "actionOnMatch": "pass"}


FACTORY_OBJECTS: Mapping[str, Sequence[Mapping[str, str]]] = {
    "logRule": (
        {"priority": "500", "hostname": "localhost", "logLevel": "31", "fileName": "everything.txt", "rotatePeriod": "day"},
        {"priority": "1000", "logLevel": "31", "fileTime": "0"},
    ),
    "socketFilter": (
        _scanner("AVAST-INET", "inet://127.0.0.1:5036", "avast-av"),
        _scanner("AVAST-LOCAL", "local:///var/run/avast4/local.sock", "avast-av"),
        _scanner("AVG", "inet://127.0.0.1:55555", "avg"),
        _scanner("ClamAV", "inet://127.0.0.1:3310", "clam-av"),
        _scanner("Cyren", "inet://127.0.0.1:9088", "cyren"),
        _scanner("SpamAssassin", "inet://127.0.0.1:783", "spamassassin"),
        _scanner("Tnef", "inet://127.0.0.1:8888", "axi-tnef"),
    ),
}
"""Kind to the attributes of each object, under the owner `service`; what is not given has its default."""
