#!/usr/bin/env python3
"""Roles: a table of every role against every kind of operation, over the wire by asyncua, with the line of the audit log for each refusal.

By hand: .testenv/venv/bin/python tests/peers/roles.py --canvoy target/debug/canvoy [--only operator]
"""

import sys

from common import check
from role import changes, hidden, seen, shown, table  # noqa: F401  each brings its checks
from role.scene import Scene

if __name__ == "__main__":
    sys.exit(check.main(check.options(__doc__), Scene))
