#!/usr/bin/env python3
"""A bus that is off is one alarm for whoever shows alarms: what follows from it is suppressed. One JSON line a check.

Needs the interface vcan0 to itself, and can-utils: error frames on it are the state of the bus.
"""

import subprocess
import sys

from alarm.scene import Events, Scene, of
from common import check, plant as plants
from common.check import expect

BUS_OFF, BEAT_LATE = "bus_off:m", "late:m.Heartbeat"


class Vcan(plants.Plant):
    """The same plant on an interface, where a bus can be off."""

    buses = plants.BUSES.replace("virtual = true", 'interface = "vcan0"')
    simulated = False


class BusOff(Scene):
    kind = Vcan


def send(frame):
    subprocess.run(["cansend", "vcan0", frame], check=True)


@check.check("busoff", "one alarm of a bus that is off, and its consequences suppressed", "OPC 10000-9, 5.8.2")
async def one_alarm(s):
    beat = subprocess.Popen(["cangen", "vcan0", "-g", "50", "-I", "201", "-L", "8", "-D", "0100000000000000"])
    try:
        await s.is_so(BEAT_LATE, "ActiveState/Id", False, 30)
        it = await Events.at(s)
        send("20000240#000000000000F800")
    finally:
        beat.terminate()
        beat.wait()
    first = await it.wait(of(BUS_OFF, active=True), what="the alarm of the bus")
    expect(first["SuppressedState/Id"] is False and first["AckedState/Id"] is False and first["Severity"] == 900, first)
    late = await it.wait(of(BEAT_LATE, active=True), what="its consequence")
    expect(late["SuppressedState/Id"] is True and late["SuppressedOrShelved"] is True, late["SuppressedState/Id"])
    expect(late["AckedState/Id"] is True and late["Retain"] is True, "nobody needs to do anything about it")
    more = [event for event in await it.gather(3) if event["ActiveState/Id"] and event["key"] not in (None, BUS_OFF)]
    alone = sorted({event["key"] for event in more if not event["SuppressedState/Id"]})
    expect(not alone, "not suppressed:", alone)
    # the bus is there again, and so is who sends on it
    send("20000300#0000000000000000")
    await it.wait(of(BUS_OFF, active=False), what="the end of the first")
    beat = subprocess.Popen(["cangen", "vcan0", "-g", "50", "-I", "201", "-L", "8", "-D", "0100000000000000"])
    try:
        over = await it.wait(of(BEAT_LATE, active=False), what="the end of its consequence")
        expect(over["AckedState/Id"] is True and over["Retain"] is False, "it was never anybody's")
    finally:
        beat.terminate()
        beat.wait()
    await it.close()
    return f"{len(more) + 1} consequences"


if __name__ == "__main__":
    sys.exit(check.main(check.options(__doc__), BusOff))
