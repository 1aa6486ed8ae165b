"""`python -m mailstead` is the command `mailstead`."""

from __future__ import annotations

from mailstead.cli.main import main

if __name__ == "__main__":
    main()
