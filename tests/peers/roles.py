#!/usr/bin/env python3
"""Roles over the wire: every role against every kind of operation, and what the audit log says of it. One JSON line a check.

By hand: .testenv/venv/bin/python tests/peers/roles.py --canvoy target/debug/canvoy [--only force]
"""

import sys

from access import table  # noqa: F401  brings its checks
from access.scene import Scene
from common import check

if __name__ == "__main__":
    sys.exit(check.main(check.options(__doc__), Scene))
