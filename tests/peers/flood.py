#!/usr/bin/env python3
"""A flood of alarms: a thousand transitions a second, a client that does not read, the plant process killed in the middle.

One JSON line a check. A minute of it: .testenv/venv/bin/python tests/peers/flood.py --canvoy target/release/canvoy --seconds 60
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from alarm.scene import event_filter
from asyncua import ua
from common import plant as plants
from common.client import Connection
from common.subscription import Subscription

# The simulation sends the branches in turn: the selector is another one every millisecond, and so is the alarm.
DBC = """VERSION ""
BU_: Canvoy Device
BO_ 16 Flood: 8 Device
 SG_ Selector M : 0|8@1+ (1,0) [0|0] "" Canvoy
 SG_ First m0 : 8|8@1+ (1,0) [0|0] "" Canvoy
 SG_ Second m1 : 8|8@1+ (1,0) [0|0] "" Canvoy
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;
BA_DEF_DEF_ "GenMsgCycleTime" 0;
BA_ "GenMsgCycleTime" BO_ 16 1;
"""
PLANT = """
[bus.m]
virtual = true
dbc = ["plant.dbc"]
node = "Canvoy"

[alarm.flood]
when = "m.Flood.Selector == 1"
"""


class Flood(plants.Plant):
    def configure(self):
        (self.folder / "plant.dbc").write_text(DBC)
        text = f'{PLANT}\n[opcua]\nlisten = "127.0.0.1:{self.opcua}"\nusers = "users"\ntrust_any_client_certificate = true\n'
        (self.folder / "plant.toml").write_text(text + f'[http]\nlisten = "127.0.0.1:{self.port}"\n')

    def lines(self):
        """All lines of the journal, oldest first."""
        files = sorted((self.state / "alarms").glob("journal*.jsonl"), key=lambda file: file.stat().st_mtime_ns)
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def memory(self):
        """Resident memory of the plant process in MiB."""
        status = Path(f"/proc/{self.part('plant')}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]) / 1024


def say(name, ok, expected, said):
    print(json.dumps({"name": name, "category": "flood", "ok": bool(ok), "expected": expected, "clause": "", "said": said}), flush=True)
    return bool(ok)


async def idle_client(plant):
    """Subscribed to all events, and never asks for one."""
    connection = await Connection(plant.url).session(plants.USER, plants.PASSWORD, timeout=600_000)
    it = await Subscription.create(connection, publishing=100.0, lifetime=1_000_000)
    created = await it.items([ua.NodeId(2253, 0)], sampling=0.0, queue=1000, attribute=ua.AttributeIds.EventNotifier, filter=event_filter())
    created[0].StatusCode.check()
    return connection


def counted(plant):
    """How often the alarm was raised, by the controller's own count."""
    return next((one["count"] for one in plant.status()["machine"]["alarms"] if one["key"] == "alarm:flood"), None)


async def run(arguments):
    good = True
    with Flood(arguments.canvoy) as plant:
        client = await idle_client(plant)
        half = arguments.seconds / 2
        await asyncio.sleep(half)
        pid = plant.part("plant")
        before = plant.memory()
        os.kill(pid, signal.SIGKILL)
        plant.wait("another plant process", lambda: plant.part("plant") not in (None, pid))
        plant.wait("it to serve", plant.serves)
        client.drop()
        client = await idle_client(plant)
        await asyncio.sleep(min(5.0, half / 2))
        early = plant.memory()
        await asyncio.sleep(max(half - 5.0, half / 2))
        late = plant.memory()
        # raised and ended in turn: only an active one is shown
        raised = plant.wait("an active alarm", lambda: counted(plant))
        await asyncio.sleep(1.0)
        lines = plant.lines()
        client.drop()
    numbers = [line["number"] for line in lines]
    gaps = sum(1 for one, next in zip(numbers, numbers[1:]) if next != one + 1)
    own = [line for line in lines if line["what"] in ("raised", "changed", "ended") and not line.get("inferred")]
    sequences = [line["position"]["next"] for line in own]
    wrong = sum(1 for one, next in zip(sequences, sequences[1:]) if next != one + 1)
    lost = [line for line in lines if line["what"] == "lost"]
    flood = [line for line in own if line["key"] == "alarm:flood"]
    rate = len(flood) / max((flood[-1]["time"] - flood[0]["time"]) / 1e9, 1e-9)
    first = sequences[0] if sequences else None
    good &= say("rate", rate > arguments.rate, f"more than {arguments.rate} transitions a second", f"{len(flood)} transitions, {rate:.0f} a second")
    good &= say("complete", wrong == 0 and first == 1 and not lost, "every transition of the ring is in the journal once, from the first to the last, over the kill", f"{len(own)} lines from sequence {first}, {wrong} out of order, {len(lost)} lost")
    good &= say("numbers", gaps == 0, "lines are numbered without a gap", f"{len(lines)} lines, {gaps} gaps")
    told = sum(line["what"] == "raised" for line in flood)
    good &= say("counted", told >= raised, "as often raised as the controller counts", f"{told} in the journal, {raised} in the controller a second before")
    good &= say("memory", late < early * 1.1 + 4, "the plant's memory does not grow", f"{before:.1f} MiB before the kill, {early:.1f} MiB soon after, {late:.1f} MiB at the end")
    return 0 if good else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--canvoy", required=True)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float, default=500, help="transitions a second that there must be; a busy machine may have less than 1000")
    sys.exit(asyncio.run(run(parser.parse_args())))
