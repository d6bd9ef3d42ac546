#!/usr/bin/env python3
"""Robustness of the OPC UA server: one JSON line a case. After each: a fresh client is served within 2 s, the process lives,
memory is within 64 MB of before, the controller missed no cyclic frame.

By hand, the whole of it: .testenv/venv/bin/python tests/peers/robustness.py --canvoy target/release/canvoy --full [--category fuzz] [--seed 7]
Without --full the sizes are those of continuous integration, about 90 s.
"""

import sys

from common import check
from robust import calls, framing, services  # noqa: F401  each brings its checks
from robust.scene import Scene

if __name__ == "__main__":
    options = check.options(__doc__)
    options.add_argument("--full", action="store_true", help="the whole load")
    options.add_argument("--seed", type=int, default=1, help="of the mutations")
    sys.exit(check.main(options, Scene))
