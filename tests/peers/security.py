#!/usr/bin/env python3
"""Security of the OPC UA server, seen by asyncua and by bytes made by hand: one JSON line a check.

By hand: .testenv/venv/bin/python tests/peers/security.py --canvoy target/debug/canvoy [--category chains] [--only revoked]
"""

import sys

from common import check
from secure import certificates, channels, offered, users  # noqa: F401  each brings its checks
from secure.scene import Scene

if __name__ == "__main__":
    sys.exit(check.main(check.options(__doc__), Scene))
