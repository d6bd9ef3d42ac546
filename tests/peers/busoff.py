#!/usr/bin/env python3
"""A bus that is off is one alarm for whoever shows alarms: what follows from it is suppressed. One JSON line a check.

Needs the interface vcan0 to itself, and can-utils: error frames on it are the state of the bus.
"""

import contextlib
import subprocess
import sys

from alarm.scene import Events, Scene, of
from common import check, plant as plants
from common.check import expect

BUS_OFF, BEAT_LATE, FALLBACK, NOT_ARMED = "bus_off:m", "late:m.Heartbeat", "fallback:m.Command", "not_armed:machine"


class Vcan(plants.Plant):
    """The same plant on an interface, where a bus can be off."""

    buses = plants.BUSES.replace("virtual = true", 'interface = "vcan0"')
    simulated = False


class BusOff(Scene):
    kind = Vcan


def send(frame):
    subprocess.run(["cansend", "vcan0", frame], check=True)


@contextlib.contextmanager
def beat():
    """Somebody who sends m.Heartbeat."""
    process = subprocess.Popen(["cangen", "vcan0", "-g", "50", "-I", "201", "-L", "8", "-D", "0100000000000000"])
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@check.check("busoff", "one alarm of a bus that is off, and its consequences suppressed", "OPC 10000-9, 5.8.2")
async def one_alarm(s):
    await s.is_so(NOT_ARMED, "ActiveState/Id", False, 30)
    with beat():

        async def comes():
            return (await s.connection.read([s.node(plants.BEAT)]))[0].StatusCode.is_good()

        await s.until("the first frame", comes)
        it = await Events.at(s)
    # whoever sends on it falls silent, and then the bus is off
    late = await it.wait(of(BEAT_LATE, active=True), what="the first sign")
    expect(late["SuppressedState/Id"] is False and late["AckedState/Id"] is False, "nothing else is wrong yet")
    send("20000240#000000000000F800")
    first = await it.wait(of(BUS_OFF, active=True), what="the alarm of the bus")
    expect(first["SuppressedState/Id"] is False and first["AckedState/Id"] is False and first["Severity"] == 900, first)
    last = {}
    for event in await it.gather(4):
        if event["key"] is not None:
            last[event["key"]] = event
    for key in (BEAT_LATE, FALLBACK):
        event = last.get(key)
        expect(event is not None and event["ActiveState/Id"] is True, key, "is not told as active:", sorted(last))
        expect(event["SuppressedState/Id"] is True and event["SuppressedOrShelved"] is True, key, "is not suppressed")
        expect(event["AckedState/Id"] is True and event["Retain"] is True, key, "needs somebody")
    alone = sorted(key for key, event in last.items() if event["ActiveState/Id"] and not event["SuppressedState/Id"] and key != BUS_OFF)
    expect(not alone, "not suppressed:", alone)
    # the bus is there again, and so is who sends on it
    send("20000300#0000000000000000")
    await it.wait(of(BUS_OFF, active=False), what="the end of the first")
    with beat():
        over = await it.wait(of(BEAT_LATE, active=False), what="the end of its consequence")
    expect(over["AckedState/Id"] is True and over["Retain"] is False, "it was nobody's in the end")
    await it.close()
    return f"{len(last)} alarms told after it"


if __name__ == "__main__":
    sys.exit(check.main(check.options(__doc__), BusOff))
