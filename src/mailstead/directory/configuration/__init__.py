"""The configuration of a server as one tree: read from the database, written as TOML, read back, compared, applied.

- `schema`: what there is, by section; everything below follows it.
- `reading`: the tree of a server. `toml_text`: a tree as text. `parsing`: a text as a tree, with positions.
- `comparing`: what differs between two trees. `applying`: making the differences, in one transaction.
"""

from __future__ import annotations

from mailstead.directory.configuration.applying import Applied, apply_changes
from mailstead.directory.configuration.comparing import Difference, compare, untold_secrets
from mailstead.directory.configuration.parsing import ConfigurationError, Parsed, parse_configuration
from mailstead.directory.configuration.reading import read_configuration
from mailstead.directory.configuration.schema import SECRET
from mailstead.directory.configuration.toml_text import as_toml

__all__ = [
    "SECRET",
    "Applied",
    "ConfigurationError",
    "Difference",
    "Parsed",
    "apply_changes",
    "as_toml",
    "compare",
    "parse_configuration",
    "read_configuration",
    "untold_secrets",
]
