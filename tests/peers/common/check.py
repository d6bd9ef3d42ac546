"""What a check is and how checks are run: named, with what is expected and the clause that says so; one JSON line each.

A check is an async function that takes the scene of its run and fails by an exception, mostly of `expect`. Whatever a check
returns is what it says when all is well.
Clauses are those of version 1.05 of OPC 10000.
"""

import argparse
import asyncio
import json
import logging
import sys
import time
import traceback

CHECKS = []
# Seconds for one check; none takes as long when all is well.
LIMIT = 120


class Unexpected(Exception):
    """What was said instead of what is expected."""


class Skipped(Exception):
    """Not applicable here, and why. Counted and shown, never hidden."""


def check(category, expected, clause, limit=LIMIT):
    """Makes a check of an async function; its name is the function's."""

    def add(function):
        name = function.__name__
        if any(one["name"] == name and one["category"] == category for one in CHECKS):
            raise ValueError(f"two checks {category}/{name}")
        CHECKS.append({"category": category, "name": name, "expected": expected, "clause": clause, "run": function, "limit": limit})
        return function

    return add


def expect(condition, *said):
    """Fails with what was said unless the condition holds."""
    if not condition:
        raise Unexpected(" ".join(str(one) for one in said) or "not as expected")


def text(error):
    """An exception in one line, with the check's own line that it came from."""
    from asyncua import ua

    if isinstance(error, Unexpected):
        return str(error)
    name = ua.StatusCode(error.code).name if isinstance(error, ua.UaStatusCodeError) else type(error).__name__
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/peers/" in frame.filename]
    where = f" at {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
    said = "" if isinstance(error, ua.UaStatusCodeError) else f": {error}"
    return f"{name}{said}{where}"[:800]


async def run_one(one, scene):
    started = time.monotonic()
    try:
        said = await asyncio.wait_for(one["run"](scene), one["limit"])
        ok, skipped = True, False
    except Skipped as error:
        ok, skipped, said = True, True, str(error)
    except Exception as error:
        ok, skipped, said = False, False, text(error)
    answer = {key: one[key] for key in ("name", "category", "expected", "clause")}
    answer.update(ok=ok, said="" if said is None else str(said), seconds=round(time.monotonic() - started, 2))
    if skipped:
        answer["skipped"] = True
    return answer


async def run_all(arguments, chosen, scene):
    failed = 0
    async with scene:
        for one in chosen:
            answer = await run_one(one, scene)
            failed += not answer["ok"]
            print(json.dumps(answer), flush=True)
            await scene.after(one, answer)
    return failed


def options(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--canvoy", help="the program to start for each run; without it --url says what to check")
    parser.add_argument("--url", help="a server that runs already, with the plant of common/plant.py")
    parser.add_argument("--folder", help="its folder, with state/pki, log and command socket, for checks that need more than OPC UA")
    parser.add_argument("--http", help="its page")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="a further line of [opcua], value as JSON")
    parser.add_argument("--category", action="append", help="only these categories")
    parser.add_argument("--only", action="append", help="only checks whose name contains this")
    parser.add_argument("--list", action="store_true", help="the checks and what they expect, and run nothing")
    parser.add_argument("--debug", action="store_true", help="the client library's log on standard error")
    return parser


def main(parser, scene_of):
    """Runs the chosen checks; status 0 when all is as expected, 1 when not."""
    arguments = parser.parse_args()
    logging.disable(logging.NOTSET if arguments.debug else logging.CRITICAL)
    if arguments.debug:
        logging.basicConfig(level=logging.INFO)
    wanted = lambda words, value: not words or any(word in value for word in words)
    chosen = [one for one in CHECKS if (not arguments.category or one["category"] in arguments.category) and wanted(arguments.only, one["name"])]
    if arguments.list:
        for one in chosen:
            print(f"{one['category']}/{one['name']}: {one['expected']} ({one['clause']})")
        print(f"{len(chosen)} checks", file=sys.stderr)
        return 0
    arguments.option = dict(word.partition("=")[::2] for word in arguments.option)
    arguments.option = {key: json.loads(value) for key, value in arguments.option.items()}
    return 1 if asyncio.run(run_all(arguments, chosen, scene_of(arguments))) else 0
