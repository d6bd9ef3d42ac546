#!/usr/bin/env python3
"""Conformance of the OPC UA server, seen by asyncua: one JSON line a check, {name, category, expected, clause, ok, said}.

By hand: .testenv/venv/bin/python tests/peers/conformance.py --canvoy target/debug/canvoy [--category browse] [--only page]
"""

import sys

from common import check
from conformance import (  # noqa: F401  each brings its checks
    analog,
    attributes,
    audit,
    browse,
    diagnostics,
    discovery,
    history,
    methods,
    server,
    subscription_life,
    subscriptions,
    translate,
    writes,
)
from conformance.scene import Scene

if __name__ == "__main__":
    sys.exit(check.main(check.options(__doc__), Scene))
