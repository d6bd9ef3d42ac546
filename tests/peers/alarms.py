#!/usr/bin/env python3
"""Alarms and conditions of the OPC UA server (OPC 10000-9), seen by asyncua: one JSON line a check.

By hand: .testenv/venv/bin/python tests/peers/alarms.py --canvoy target/debug/canvoy [--category methods] [--only shelve]
"""

import sys

from alarm import events, methods, nodes, restarts  # noqa: F401  each brings its checks
from alarm.scene import Scene
from common import check

if __name__ == "__main__":
    sys.exit(check.main(check.options(__doc__), Scene))
