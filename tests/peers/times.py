#!/usr/bin/env python3
"""Times and quality as they were: each frame's own receive stamp, each change of quality, compared with what the controller saw
by `canvoy monitor`. One JSON line a check.

By hand: .testenv/venv/bin/python tests/peers/times.py --canvoy target/debug/canvoy
"""

import asyncio
import datetime
import os
import re
import signal
import struct
import subprocess
import sys

from asyncua import ua

from common import check as checks
from common import plant as plants
from common.check import check, expect
from common.client import name
from common.subscription import Subscription
from conformance.scene import Scene

FRAME = re.compile(r"\((\d+)\.(\d{6})\) m 010#([0-9A-F]{8})\S* R")
OVERFLOW = 0x480
LATE = "UncertainNoCommunicationLastUsableValue"
SUBSTITUTE = "UncertainSubstituteValue"


def microseconds(stamp):
    """Since 1970."""
    passed = stamp - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


class Monitor:
    """What the controller received of m.Fast: {counter: microseconds since 1970}."""

    def __init__(self, plant):
        self.file = plant.folder / "fast"
        with open(self.file, "wb") as out:
            self.process = subprocess.Popen(
                [plant.canvoy, "monitor", "--bus", "m"], cwd=plant.folder, env=plant.environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL
            )

    def frames(self):
        self.process.kill()
        self.process.wait()
        found = FRAME.findall(self.file.read_text(errors="replace"))
        return {struct.unpack("<I", bytes.fromhex(data))[0]: int(seconds) * 1_000_000 + int(micro) for seconds, micro, data in found}


async def seen(s, seconds, sampling, queue, publishing=100.0):
    """(counter, microseconds, info bits) of the changes of m.Fast, and what the monitor saw."""
    monitor = Monitor(s.need_plant())
    await asyncio.sleep(0.5)
    it = await Subscription.create(s.connection, publishing=publishing)
    (await it.items([s.node(plants.FAST)], sampling=sampling, queue=queue))[0].StatusCode.check()
    changes = await it.collect(seconds, parallel=4)
    await it.delete()
    await asyncio.sleep(0.3)
    lacking = [one for _, one in changes if one.Value is None or one.SourceTimestamp is None]
    expect(not lacking, "sampling", sampling, len(lacking), "changes have no value or no SourceTimestamp, like", lacking[:1])
    rows = [(one.Value.Value, microseconds(one.SourceTimestamp), one.StatusCode.value & 0x7FF) for _, one in changes]
    return rows, monitor.frames()


def exact(rows, frames):
    """Each change has the receive stamp of its own frame, to the microsecond."""
    known = [row for row in rows if row[0] in frames]
    expect(len(known) >= 0.9 * len(rows) - 2, len(known), "of", len(rows), "changes are frames that the monitor saw")
    wrong = [(count, stamp - frames[count]) for count, stamp, _ in known if abs(stamp - frames[count]) > 1]
    expect(not wrong, len(wrong), "of", len(known), "stamps are not their frame's; counter and microseconds off:", wrong[:5])
    return len(known)


@check("times", "at sampling interval 0 every frame of a 1 ms message comes, each with its own receive stamp", "OPC 10000-4, 7.21, 7.11.3")
async def every_millisecond(s):
    rows, frames = await seen(s, 5.0, 0.0, 10_000)
    counts = [count for count, _, _ in rows]
    # what the simulator left out because the computer stood still is no frame
    missing = [count for count in range(counts[0], counts[-1]) if count in frames and count not in set(counts)]
    expect(counts == sorted(set(counts)), "out of order or twice")
    expect(not missing, len(missing), "frames did not come, of", counts[-1] - counts[0])
    expect(not any(info for _, _, info in rows), "Overflow where nothing was lost")
    return f"{exact(rows, frames)} frames"


@check("times", "at 10 ms the samples are frames with their own receive stamps", "OPC 10000-4, 5.13.1.2, 7.11.3")
async def every_ten_milliseconds(s):
    rows, frames = await seen(s, 5.0, 10.0, 1000)
    counts = [count for count, _, _ in rows]
    steps = sorted(second - first for first, second in zip(counts, counts[1:]))
    expect(len(rows) > 100 and 8 <= steps[len(steps) // 2] <= 14, len(rows), "changes; half of the steps within", steps[len(steps) // 2] if steps else None, "frames")
    return f"{exact(rows, frames)} samples"


@check("times", "at other intervals, too, a stamp is its frame's: 5, 50, 130 ms and that of the subscription", "OPC 10000-4, 7.11.3")
async def other_intervals(s):
    for sampling in (5.0, 50.0, 130.0, -1.0):
        rows, frames = await seen(s, 2.5, sampling, 100)
        expect(len(rows) >= 10, "sampling", sampling, len(rows), "changes")
        exact(rows, frames)


@check("times", "with a queue of one the newest frame comes with its stamp", "OPC 10000-4, 5.13.1.5")
async def queue_of_one(s):
    rows, frames = await seen(s, 3.0, 0.0, 1, 50.0)
    overflowed = [row for row in rows if row[2]]
    expect(len(rows) >= 20 and not overflowed, len(rows), "changes,", len(overflowed), "with info bits, like", overflowed[:1])
    exact(rows, frames)


@check("times", "Good, late, Good with the same value are three changes, at every sampling interval", "OPC 10000-4, 7.22.2")
async def late_and_back(s):
    for sampling in (0.0, 10.0, 100.0, -1.0):
        it = await Subscription.create(s.connection, publishing=50.0)
        await it.items([s.node(plants.LATE)], sampling=sampling, queue=100)
        changes = [one for _, one in await it.collect(until=lambda changes: len(changes) >= 6)]
        await it.delete()
        facts = [(name(one.StatusCode), one.Value.Value if one.Value is not None else None) for one in changes]
        expect({value for _, value in facts} == {7}, "sampling", sampling, facts)
        late = [status == LATE for status, _ in facts]
        expect(all(first != second for first, second in zip(late, late[1:])), "sampling", sampling, facts)
        expect(all(status == LATE or ua.StatusCode(one.StatusCode.value).is_good() for (status, _), one in zip(facts, changes)), facts)


@check("times", "a late value keeps its frame's stamp, the next frame brings its own", "OPC 10000-4, 7.11.3")
async def stamps_of_late_values(s):
    it = await Subscription.create(s.connection, publishing=50.0)
    await it.items([s.node(plants.LATE)], sampling=10.0, queue=100)
    changes = [one for _, one in await it.collect(until=lambda changes: len(changes) >= 7)]
    await it.delete()
    rows = [(name(one.StatusCode) == LATE, one.SourceTimestamp) for one in changes]
    for (_, before), (late, after) in zip(rows, rows[1:]):
        expect(after == before if late else after > before, rows)


@check("times", "Good, disarmed, Good again with the same value are three changes of an output", "OPC 10000-4, 7.22.2")
async def disarmed_and_back(s):
    armed, setpoint = s.node(plants.ARMED), s.node(plants.SETPOINT)
    expect(await s.connection.write(setpoint, 0.0, ua.VariantType.Double) == "Good", "the write of 0")
    await asyncio.sleep(0.5)
    it = await Subscription.create(s.connection, publishing=50.0)
    await it.items([setpoint], sampling=10.0, queue=100)
    await it.collect(until=lambda changes: changes)
    found = []
    try:
        await s.connection.write(armed, False, ua.VariantType.Boolean)
        found += await it.collect(until=lambda changes: changes)
        await asyncio.sleep(0.5)
    finally:
        await s.connection.write(armed, True, ua.VariantType.Boolean)

    async def accepted():
        return await s.connection.write(setpoint, 0.0, ua.VariantType.Double) == "Good"

    await s.until("a write to be taken", accepted)
    found += await it.collect(until=lambda changes: changes and changes[-1][1].StatusCode.is_good())
    await it.delete()
    facts = [(name(one.StatusCode), one.Value.Value if one.Value is not None else None) for _, one in found]
    expect(facts[0] == (SUBSTITUTE, 0.0) and facts[-1][1] == 0.0, facts)


@check("times", "after the server stood still for two seconds nothing is missing, or Overflow is said where it is", "OPC 10000-4, 5.13.1.5")
async def stood_still(s):
    plant = s.need_plant()
    it = await Subscription.create(s.connection, publishing=100.0, lifetime=1000, keep_alive=100)
    await it.items([s.node(plants.FAST)], sampling=0.0, queue=10_000)
    # one row of requests over all of it: a message to a request that nobody waits for would be missing
    collecting = asyncio.ensure_future(it.collect(6.0))
    await asyncio.sleep(1)
    process = plant.part("plant")
    os.kill(process, signal.SIGSTOP)
    try:
        await asyncio.sleep(2)
    finally:
        os.kill(process, signal.SIGCONT)
    changes = await collecting
    await it.delete()
    rows = [(one.Value.Value, one.StatusCode.value & 0x7FF) for _, one in changes if one.Value is not None]
    jumps = [(first, second) for first, second in zip(rows, rows[1:]) if second[0] - first[0] > 100]
    said = [(first, second) for first, second in jumps if OVERFLOW not in (first[1], second[1])]
    expect(len(rows) > 1000 and not said, len(rows), "changes; jumps without Overflow, as (counter, info bits) before and after:", said)
    return f"{len(rows)} changes, {len(jumps)} gaps with Overflow"


if __name__ == "__main__":
    sys.exit(checks.main(checks.options(__doc__), Scene))
