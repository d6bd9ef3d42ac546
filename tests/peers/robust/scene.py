"""What must hold after every case: a fresh client is served, the process lives, memory is what it was, no cyclic frame was missed."""

import asyncio
import os
import re
import subprocess
import sys
import threading
import time

from asyncua import ua

from common import plant as plants
from common.check import expect
from common.client import Connection, endpoints

GROWTH = 64 << 20
# Seconds in which a fresh client has its endpoints; the best of some tries counts, a busy machine is late once.
SERVED = 2.0
CYCLE = 0.010
# The watcher tells when nobody could run for longer than this, whatever his priority.
STALL = 0.003


def resident(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS:"))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu(pid):
    """Seconds of processor that a process has used."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Stalls(threading.Thread):
    """When this computer stood still: told by a process above the controller's real-time thread."""

    PROGRAM = """
import os, sys, time
try:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(60))
except OSError:
    pass
last = time.time()
while True:
    time.sleep(0.001)
    now = time.time()
    if now - last > 0.001 + float(sys.argv[1]):
        print(last, now, flush=True)
    last = now
"""

    def __init__(self):
        super().__init__(daemon=True)
        self.seen = []
        self.process = subprocess.Popen([sys.executable, "-c", self.PROGRAM, str(STALL)], stdout=subprocess.PIPE, text=True)
        self.start()

    def run(self):
        for line in self.process.stdout:
            self.seen.append(tuple(map(float, line.split())))

    def end(self):
        self.process.kill()
        self.process.wait()


class Frames:
    """Every frame of m.Cycle that the controller sent, by `canvoy monitor`."""

    LINE = re.compile(r"\((\d+\.\d+)\) m 101#\S* T")

    def __init__(self, plant):
        self.folder = plant.folder
        with open(self.folder / "frames", "wb") as frames, open(self.folder / "frames.lost", "wb") as lost:
            self.process = subprocess.Popen(
                [plant.canvoy, "monitor", "--bus", "m"], cwd=plant.folder, env=plant.environment(), stdin=subprocess.DEVNULL, stdout=frames, stderr=lost
            )

    def missed(self, start, end, stalls):
        """Frames that were due in this time and not sent, while the computer did not stand still: how many, and where.

        Cycles come from absolute deadlines, so a late frame is followed by a short gap and only a missing one leaves a count short.
        """
        time.sleep(0.3)
        stamps = [float(found) for found in self.LINE.findall((self.folder / "frames").read_text(errors="replace"))]
        stamps = [one for one in stamps if start <= one <= end]
        expect(len(stamps) > 0.5 * (end - start) / CYCLE, "frames seen:", len(stamps), "in", round(end - start, 1), "s")
        gaps = [(first, second) for first, second in zip(stamps, stamps[1:]) if second - first > 1.5 * CYCLE]
        excused = lambda first, second: any(stall[0] < second and stall[1] > first for stall in stalls)
        short = round((stamps[-1] - stamps[0]) / CYCLE) + 1 - len(stamps)
        short -= sum(round((second - first) / CYCLE) - 1 for first, second in gaps if excused(first, second))
        return max(short, 0), [(round(first, 3), round(second - first, 4)) for first, second in gaps]

    def wait(self, plant):
        """Until the monitor shows frames."""
        plant.wait("frames in the monitor", lambda: self.LINE.search((self.folder / "frames").read_text(errors="replace")))

    def lost(self):
        """What the monitor itself was too slow to see."""
        return (self.folder / "frames.lost").read_text(errors="replace").strip()

    def end(self):
        self.process.kill()
        self.process.wait()


class Scene:
    def __init__(self, arguments):
        self.arguments = arguments
        self.full = arguments.full
        self.plant = self.frames = self.stalls = None

    def size(self, full, short):
        """The load of a case, by hand or in continuous integration."""
        return full if self.full else short

    async def __aenter__(self):
        if self.arguments.canvoy is None:
            raise SystemExit("--canvoy: these checks look at the process")
        self.stalls = Stalls()
        await self.begin()
        return self

    async def __aexit__(self, *_):
        self.stalls.end()
        self.end()

    async def begin(self):
        self.plant = plants.Plant(
            self.arguments.canvoy, plants.ALARM_LINES, **{"trust_any_client_certificate": True, "anonymous_read": True, **self.arguments.option}
        ).start()
        self.url = self.plant.url
        self.frames = Frames(self.plant)
        self.frames.wait(self.plant)
        # what is allocated once is not growth
        for _ in range(5):
            await (await self.session()).close()
        await asyncio.sleep(1)
        self.note()

    def end(self):
        if self.plant is not None:
            if self.frames is not None:
                self.frames.end()
            self.plant.stop()

    def note(self):
        """How things are before a case."""
        self.pid, self.controller = self.plant.part("plant"), self.plant.part("controller")
        self.before, self.started, self.log = resident(self.pid), time.time(), len(self.plant.log())

    async def after(self, one, answer):
        """What one case broke is not the next one's fault."""
        if answer["ok"]:
            self.note()
        else:
            self.end()
            await self.begin()

    async def session(self, user=plants.USER, password=plants.PASSWORD, **options):
        return await Connection(self.url, **options).session(user, password)

    async def served(self, limit=SERVED, tries=3):
        """A fresh client has its endpoints in time; the seconds it took."""
        took = []
        for _ in range(tries):
            started = time.monotonic()
            try:
                found = await endpoints(self.url, limit=10)
                took.append(time.monotonic() - started)
                if found and took[-1] <= limit:
                    return took[-1]
            except Exception as error:
                took.append(f"{type(error).__name__} {error}")
            await asyncio.sleep(0.2)
        raise AssertionError(f"a fresh client was not served within {limit} s: {took}")

    async def holds(self):
        """All that must hold after a case; what was seen, in a line."""
        took = await self.served()
        expect(self.plant.part("plant") == self.pid, "the plant process was started again:", self.plant.log()[-600:])
        expect(self.plant.part("controller") == self.controller, "the controller was started again")
        expect("panicked" not in self.plant.log()[self.log :], self.plant.log()[-600:])
        grown = resident(self.pid) - self.before
        end = time.monotonic() + 5
        while grown > GROWTH and time.monotonic() < end:
            await asyncio.sleep(0.5)
            grown = resident(self.pid) - self.before
        expect(grown <= GROWTH, "memory has grown by", grown >> 20, "MB")
        missed, gaps = self.frames.missed(self.started, time.time(), list(self.stalls.seen))
        expect(missed == 0 or self.frames.lost(), missed, "cyclic frames missed; gaps:", gaps[:5])
        return f"served in {took:.2f} s, {grown >> 20:+d} MB"
