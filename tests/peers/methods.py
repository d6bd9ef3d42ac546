#!/usr/bin/env python3
"""Methods of the machine and of messages, leases that sessions hold, and writes that go together: what is said of each, and what
is on the bus then, by `canvoy monitor`. One JSON line a check.

By hand: .testenv/venv/bin/python tests/peers/methods.py --canvoy target/debug/canvoy
With `--interface vcan0` the bus is that interface, and what is on it is seen by candump.
`methods.py --hold URL` is a client by itself, asyncua as anybody uses it: keeps a subscription, and writes a setpoint
when it gets a line.
"""

import asyncio
import re
import signal
import struct
import subprocess
import sys
import time

from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256

from common import check as checks
from common import plant as plants
from common.check import check, expect
from common.client import OWN, Connection, name
from common.subscription import Subscription
from conformance.audit import O, events, of_type
from conformance.scene import Scene, zero

# the checks of audit events are another program's
checks.CHECKS.clear()

T = ua.VariantType
# Milliseconds.
LEASE = 1000
# Setpoint 5 rpm, Ramp 10: what a message in fallback says, before the bits that nobody writes.
FALLBACK = bytes([10, 0, 0, 10])
SENT = re.compile(r"\((\d+\.\d{6})\) m 100#([0-9A-F]{16})\S* T")
DUMPED = re.compile(r"\((\d+\.\d{6})\) \S+ 100#([0-9A-F]{16})")

REASONS = "Canvoy.Machine.FallbackReasons"
MACHINE, COMMAND, CYCLE = "Canvoy.Machine", "m.Command", "m.Cycle"


class Machine(plants.Plant):
    interface = None
    buses = f"""
[machine]
arm = "at-start"

[bus.m]
virtual = true
dbc = ["plant.dbc"]
node = "Canvoy"
transmit = ["Command", "Cycle"]
writable = ["Command.*", "Cycle.Level"]
forcible = ["Status.*"]
message.Command = {{ fallback = {{ Setpoint = 5 }}, lease_ms = {LEASE} }}
message.Late.timeout_ms = 300

[bus.n]
virtual = true

[route.over]
from = "m"
to = "n"
all = true
"""


class MethodScene(Scene):
    kind = Machine

    async def call(self, target, method, *arguments, connection=None):
        """The CallMethodResult; `method` as behind `Canvoy.Methods.`."""
        return await (connection or self.connection).call(self.node(target), self.node("Canvoy.Methods." + method), *arguments)

    async def said(self, target, method, *arguments, connection=None):
        """The names of its status and of the results of its arguments."""
        result = await self.call(target, method, *arguments, connection=connection)
        return [name(result.StatusCode), *[name(one) for one in result.InputArgumentResults or []]]

    async def good(self, target, method, *arguments):
        said = await self.said(target, method, *arguments)
        expect(said[0] == "Good", method, said)

    async def machine(self, method, *arguments, connection=None):
        return (await self.said(MACHINE, "Machine." + method, *arguments, connection=connection))[0]

    async def ready(self):
        """Armed, Remote, nothing forced, as most checks begin."""
        self.plant.ask("remote")
        self.plant.ask("release", "--all")
        expect(await self.machine("Arm") == "Good")


class Monitor:
    """What is sent of m.Command: (seconds since 1970, payload)."""

    def __init__(self, plant):
        self.file = plant.folder / "sent"
        command, self.line = ([plant.canvoy, "monitor", "--bus", "m"], SENT) if plant.interface is None else (["candump", "-L", plant.interface], DUMPED)
        with open(self.file, "wb") as out:
            self.process = subprocess.Popen(
                command, cwd=plant.folder, env=plant.environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL
            )

    def frames(self):
        found = self.line.findall(self.file.read_text(errors="replace"))
        return [(float(seconds), bytes.fromhex(data)) for seconds, data in found]

    async def until(self, wanted, limit=10):
        """The first frame that is as wanted."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            for at, payload in self.frames():
                if wanted(at, payload):
                    return at
            await asyncio.sleep(0.02)
        raise TimeoutError(f"no such frame in {limit} s; the last: {self.frames()[-3:]}")

    async def __aenter__(self):
        await self.until(lambda *_: True, limit=30)
        return self

    async def __aexit__(self, *_):
        self.process.kill()
        self.process.wait()


def setpoint(payload):
    return struct.unpack("<H", payload[:2])[0] / 2


def boolean(on):
    return ua.Variant(on, T.Boolean)


def double(number):
    return ua.Variant(float(number), T.Double)


def byte(number):
    return ua.Variant(number, T.Byte)


def command(rpm, ramp=20, enable=True):
    """All that m.Command.Send takes, by name: Enable, Mode, Quick, Ramp, Setpoint, Trim."""
    return [boolean(enable), byte(2), boolean(False), byte(ramp), double(rpm), ua.Variant(-7, T.Int32)]


def writes(s, values):
    """One Write of several values."""
    value = lambda variant: ua.DataValue(variant)
    wanted = [ua.WriteValue(NodeId=s.node(node), AttributeId=ua.AttributeIds.Value, Value=value(variant)) for node, variant in values]
    return s.connection.service("Write", NodesToWrite=wanted)


# --- methods ---


@check("methods", "the arguments of Send are the writable signals by name, typed as their variables, with words for people", "OPC 10000-3, 8.6")
async def arguments_of_send(s):
    found = await s.connection.value(s.node("Canvoy.Methods.m.Command.Send.InputArguments"))
    said = [(one.Name, one.DataType.Identifier, one.ValueRank) for one in found]
    wanted = [("Enable", 1), ("Mode", 3), ("Quick", 1), ("Ramp", 3), ("Setpoint", 11), ("Trim", 6)]
    expect(said == [(*one, -1) for one in wanted], said)
    words = {one.Name: one.Description.Text for one in found}
    expect(words["Setpoint"] == "Speed that the device shall reach.; 0 to 3000 rpm", words["Setpoint"])
    expect("2 = Automatic" in words["Mode"], words["Mode"])


@check("methods", "each method is a component of its object, executable, and has arguments where it takes some", "OPC 10000-3, 5.7")
async def method_nodes(s):
    taking = {"Force": ["Signal", "Value", "Duration"], "Release": ["Signal"], "RestartBus": ["Bus"], "SwitchRoute": ["Route", "On"]}
    machine = ["Arm", "Disarm", "Fallback", "Force", "Release", "ReleaseAll", "ResetFallback", "RestartBus", "SetLocal", "SetRemote", "SwitchRoute"]
    for target, wanted in ((MACHINE, machine), (COMMAND, ["Fallback", "ResetFallback", "Send"]), ("m.Status", [])):
        below = await s.connection.references(s.node(target), reference=zero(47))
        methods = [one for one in below if one.NodeClass == ua.NodeClass.Method]
        expect([one.BrowseName.Name for one in methods] == wanted, target, [one.BrowseName.Name for one in methods])
        for one in methods:
            node = ua.NodeId(one.NodeId.Identifier, one.NodeId.NamespaceIndex)
            can = await s.connection.value(node, ua.AttributeIds.Executable)
            may = await s.connection.value(node, ua.AttributeIds.UserExecutable)
            # nothing here is managed, and Remote is for the machine alone
            expect(can == may == (one.BrowseName.Name not in ("RestartBus", "SetRemote")), one.BrowseName.Name, can, may)
            takes = await s.connection.references(node, reference=zero(46))
            expect(bool(takes) == (one.BrowseName.Name in taking or one.BrowseName.Name == "Send"), one.BrowseName.Name, takes)
            if one.BrowseName.Name in taking:
                values = await s.connection.value(ua.NodeId(takes[0].NodeId.Identifier, takes[0].NodeId.NamespaceIndex))
                expect([value.Name for value in values] == taking[one.BrowseName.Name], values)


@check("methods", "Send puts all values into one frame, at once and not with the next cycle", "what the machine does")
async def send_at_once(s):
    await s.ready()
    async with Monitor(s.need_plant()) as monitor:
        gaps = []
        for rpm in range(100, 108):
            await s.good(COMMAND, "m.Command.Send", *command(rpm, ramp=rpm - 50))
            at = await monitor.until(lambda _, payload: setpoint(payload) == rpm)
            frames = monitor.frames()
            here = [when for when, _ in frames].index(at)
            payload = frames[here][1]
            expect(payload[3] == rpm - 50 and payload[2] & 1 == 1, payload.hex(), "is not all of it")
            gaps.append(at - frames[here - 1][0])
            await asyncio.sleep(0.137)
    expect(min(gaps) < 0.085, [round(gap, 3) for gap in gaps], "between frames: each came with its cycle")
    return f"{[round(gap, 3) for gap in gaps]} s after the frame before"


@check("methods", "wrong arguments are told one by one, and nothing is done", "OPC 10000-4, 5.12.2.4")
async def wrong_arguments(s):
    await s.ready()
    speed, beyond, missing = s.node(plants.ANALOG), s.node("m.Status"), s.node("m.Nothing")
    wrong = command(100)
    wrong[3], wrong[4] = ua.Variant("fast", T.String), double(3001)
    too_long = double(90_000_000)
    for target, method, arguments, wanted in [
        (COMMAND, "m.Command.Send", [], ["BadArgumentsMissing"]),
        (COMMAND, "m.Command.Send", [*command(1), boolean(True)], ["BadTooManyArguments"]),
        (COMMAND, "m.Command.Send", wrong, ["BadInvalidArgument", "Good", "Good", "Good", "BadTypeMismatch", "BadOutOfRange", "Good"]),
        (MACHINE, "Machine.Arm", [boolean(True)], ["BadTooManyArguments"]),
        (MACHINE, "Machine.Force", [ua.Variant(speed)], ["BadArgumentsMissing"]),
        (MACHINE, "Machine.Force", [ua.Variant(beyond), double(1), too_long], ["BadInvalidArgument", "BadNodeIdInvalid", "Good", "BadOutOfRange"]),
        (MACHINE, "Machine.Force", [ua.Variant(speed), byte(1), double(5000)], ["BadInvalidArgument", "Good", "BadTypeMismatch", "Good"]),
        (MACHINE, "Machine.Release", [ua.Variant(missing)], ["BadInvalidArgument", "BadNodeIdUnknown"]),
        (MACHINE, "Machine.RestartBus", [ua.Variant("m", T.String)], ["BadInvalidArgument", "BadTypeMismatch"]),
        (MACHINE, "Machine.SwitchRoute", [ua.Variant("under", T.String), boolean(True)], ["BadInvalidArgument", "BadNotFound", "Good"]),
        (COMMAND, "Machine.Arm", [], ["BadMethodInvalid"]),
        (CYCLE, "m.Command.Fallback", [], ["BadMethodInvalid"]),
        (MACHINE, "Machine.Explode", [], ["BadNodeIdUnknown"]),
    ]:
        said = await s.said(target, method, *arguments)
        expect(said == wanted, method, arguments, said, "and not", wanted)


@check("methods", "whoever has no name calls nothing, and sees that", "OPC 10000-3, 5.7")
async def without_rights(s):
    async with await s.fresh(user=None, password=None) as nobody:
        for target, method in ((MACHINE, "Machine.Disarm"), (COMMAND, "m.Command.Fallback"), (CYCLE, "m.Cycle.Send")):
            node = s.node("Canvoy.Methods." + method)
            expect(await nobody.value(node, ua.AttributeIds.Executable) is True, method)
            expect(await nobody.value(node, ua.AttributeIds.UserExecutable) is False, method, "UserExecutable")
            arguments = [ua.Variant(1, T.UInt16)] if method.endswith("Send") else []
            said = await s.said(target, method, *arguments, connection=nobody)
            expect(said[0] == "BadUserAccessDenied", method, said)
    expect(await s.connection.value(s.node(plants.ARMED)) is True)


@check("methods", "the controller's own rules refuse what the plant may ask for", "OPC 10000-4, 5.12.2.4")
async def refused_by_the_controller(s):
    await s.ready()
    force = lambda node: s.machine("Force", ua.Variant(s.node(node)), double(1), double(5000))
    expect(await force(plants.SETPOINT) == "BadNotSupported", "forced what is not forcible")
    expect(await s.machine("Release", ua.Variant(s.node(plants.ANALOG))) == "BadInvalidState", "released what is not forced")
    expect(await s.machine("RestartBus", ua.Variant(s.node("m"))) == "BadNotSupported")
    expect(await s.machine("SetLocal") == "Good")
    expect((await s.said(COMMAND, "m.Command.Send", *command(1)))[0] == "BadNotExecutable", "sent in Local")
    expect(await s.machine("Arm") == "BadNotExecutable", "armed in Local")
    expect(await s.machine("ResetFallback") == "BadNotExecutable", "reset in Local")
    expect(await force(plants.ANALOG) == "BadNotExecutable", "forced in Local")
    for name, can in (("Arm", False), ("Force", False), ("ResetFallback", False), ("Disarm", True), ("Fallback", True), ("Release", True)):
        said = await s.connection.value(s.node("Canvoy.Methods.Machine." + name), ua.AttributeIds.UserExecutable)
        expect(said is can, name, "in Local", said)
    expect("armed" in s.need_plant().ask("arm"), "who stands at the machine may")
    expect(await s.machine("SetRemote") == "BadNotExecutable", "Remote from the plant")
    expect("Remote" in s.need_plant().ask("remote"))
    expect(await s.machine("Disarm") == "Good")
    expect(await s.connection.value(s.node(plants.ARMED)) is False)
    expect((await s.said(COMMAND, "m.Command.Send", *command(1)))[0] == "BadInvalidState", "sent and not armed")
    expect(await s.machine("ResetFallback") == "BadInvalidState", "reset and not armed")
    await s.ready()


@check("methods", "Fallback takes one message, or all, to the fallback values; ResetFallback ends it", "what the machine does")
async def fallback(s):
    await s.ready()
    async with Monitor(s.need_plant()) as monitor:
        for target, method, reset in (
            (COMMAND, "m.Command.Fallback", "m.Command.ResetFallback"),
            (MACHINE, "Machine.Fallback", "Machine.ResetFallback"),
        ):
            await s.good(COMMAND, "m.Command.Send", *command(700))
            began = await monitor.until(lambda _, payload: setpoint(payload) == 700)
            await s.good(target, method)
            await monitor.until(lambda at, payload: at > began and payload[:4] == FALLBACK)
            expect(await s.connection.value(s.node(plants.ARMED)) is True, "the machine stays armed")
            reasons = await s.connection.value(s.node(REASONS))
            expect("m.Command: taken to fallback by hand" in reasons, reasons)
            said = [(await s.said(COMMAND, "m.Command.Send", *command(1)))[0], (await s.said(CYCLE, "m.Cycle.Send", ua.Variant(1, T.UInt16)))[0]]
            expect(said == ["BadInvalidState", "BadInvalidState" if target == MACHINE else "Good"], method, said)
            await s.good(target, reset)
            await s.good(COMMAND, "m.Command.Send", *command(701))
            await monitor.until(lambda at, payload: at > began and setpoint(payload) == 701)
            await s.good(COMMAND, "m.Command.Send", *command(0))
            await asyncio.sleep(0.2)
            monitor.file.write_bytes(b"")


@check("methods", "Force holds a signal for a time, Release ends it", "OPC 10000-4, 7.38.1")
async def forces(s):
    await s.ready()
    speed = s.node(plants.ANALOG)

    async def forced():
        one = (await s.connection.read([speed]))[0]
        return name(one.StatusCode) == "GoodLocalOverride" and one.Value.Value == 123.5

    async def free():
        return not await forced()

    await s.good(MACHINE, "Machine.Force", ua.Variant(speed), double(123.5), double(60_000))
    await s.until("the force", forced)
    await s.good(MACHINE, "Machine.Release", ua.Variant(speed))
    await s.until("the end of the force", free)
    await s.good(MACHINE, "Machine.Force", ua.Variant(speed), double(123.5), double(1000))
    await s.until("the force", forced)
    await s.until("its end by itself", free, limit=5)
    await s.good(MACHINE, "Machine.Force", ua.Variant(speed), double(123.5), double(60_000))
    await s.until("the force", forced)
    await s.good(MACHINE, "Machine.ReleaseAll")
    await s.until("the end of all forces", free)


@check("methods", "SwitchRoute switches a route", "what the machine does")
async def routes(s):
    on = lambda state: s.machine("SwitchRoute", ua.Variant("over", T.String), boolean(state))
    expect(await on(False) == "Good")
    status = lambda: s.need_plant().ask("status")
    s.need_plant().wait("the route to be off", lambda: "over" in status(), limit=10)
    expect(await on(True) == "Good")


@check("methods", "every call is an audit event and a line of the log, refused ones too, and the controller has its own", "OPC 10000-5, 6.4.27")
async def audit(s):
    await s.ready()
    plant = s.need_plant()
    for method, arguments, status in (("Send", command(333), "Good"), ("Send", command(3333), "BadInvalidArgument")):

        async def cause():
            said = await s.said(COMMAND, "m.Command." + method, *arguments)
            expect(said[0] == status, said)

        def ours(event):
            return of_type(O.AuditUpdateMethodEventType)(event) and "m.Command.Send" in event["Message"].Text

        event = await events(s, cause, ours, where=O.AuditUpdateMethodEventType)
        expect(event["SourceNode"] == s.node(COMMAND) and event["SourceName"] == "Attribute/Call", event["SourceNode"], event["SourceName"])
        expect(event["ClientUserId"] == plants.USER and event["Status"] is (status == "Good"), event["ClientUserId"], event["Status"])
        expect(status in event["Message"].Text, event["Message"].Text)
    log = plant.log()
    plain = re.sub(r"\x1b\[[0-9;]*m", "", log)
    for words in (["OPC UA call", "m.Command.Send", "333"], ["OPC UA call refused", "BadInvalidArgument", "3333"], ["send", "m.Command.Setpoint", "333"]):
        expect(any(all(word in line for word in words) for line in plain.splitlines()), words, "is in no line of the log")


# --- writes that go together ---


@check("together", "signals of one message in one Write go out in one frame", "what the machine does")
async def one_frame(s):
    await s.ready()
    await s.good(COMMAND, "m.Command.Send", *command(0, ramp=1))
    async with Monitor(s.need_plant()) as monitor:
        for n in range(10, 60):
            said = await writes(s, [(plants.SETPOINT, double(n)), (plants.RAMP, byte(n))])
            expect([name(one) for one in said] == ["Good", "Good"], said)
            await asyncio.sleep(0.03)
        await monitor.until(lambda _, payload: payload[3] == 59)
        torn = [payload.hex() for _, payload in monitor.frames() if payload[3] >= 10 and setpoint(payload) != payload[3]]
        expect(not torn, torn, "are of two writes")


@check("together", "one that is refused keeps the others of its message back, and not those of others", "OPC 10000-4, 5.11.4")
async def or_not_at_all(s):
    await s.ready()
    await s.good(COMMAND, "m.Command.Send", *command(50))
    other = (plants.LEVEL, ua.Variant(4711, T.UInt16))
    for values, wanted in [
        ([(plants.SETPOINT, double(900)), (plants.RAMP, byte(101)), other], ["BadRequestNotAllowed", "BadOutOfRange", "Good"]),
        ([(plants.SETPOINT, double(900)), (plants.RAMP, double(5)), other], ["BadRequestNotAllowed", "BadTypeMismatch", "Good"]),
        ([(plants.SETPOINT, double(900)), (plants.ANALOG, double(1)), other], ["Good", "BadNotWritable", "Good"]),
        # of one signal the last value counts
        ([(plants.SETPOINT, double(1)), (plants.SETPOINT, double(2))], ["Good", "Good"]),
        ([(plants.SETPOINT, double(1)), (plants.SETPOINT, double(3001))], ["BadRequestNotAllowed", "BadOutOfRange"]),
    ]:
        said = [name(one) for one in await writes(s, values)]
        expect(said == wanted, [node for node, _ in values], said, "and not", wanted)
        now = await s.connection.value(s.node(plants.SETPOINT))
        expect(now == (900 if wanted[1] == "BadNotWritable" else 2 if "BadNotWritable" not in wanted and values[-1][0] == plants.SETPOINT else 50), now)
        if now == 900:
            await s.good(COMMAND, "m.Command.Send", *command(50))


# --- leases ---


async def fell_back(monitor, after, limit=LEASE / 1000 + 3):
    """Seconds until the first frame with the fallback values after a moment."""
    return await monitor.until(lambda at, payload: at > after and payload[:4] == FALLBACK, limit) - after


def in_time(took):
    # a cycle of the message besides, and a busy computer
    expect(took < LEASE / 1000 + 0.15, f"{took:.3f} s until fallback")
    return f"fallback on the bus after {took:.3f} s of {LEASE / 1000} s"


@check("leases", "a message with a lease says how long it is", "what the machine does")
async def lease_time(s):
    expect(await s.connection.value(s.node("m.Command.LeaseTime")) == LEASE)
    answer = (await s.connection.read([s.node("m.Cycle.LeaseTime")]))[0]
    expect(name(answer.StatusCode) == "BadNodeIdUnknown", answer)


@check("leases", "a session that goes on talking keeps its lease; one that only keeps the connection does not", "what the machine does")
async def kept_by_requests(s):
    await s.ready()
    async with await s.fresh() as other, Monitor(s.need_plant()) as monitor:
        expect(await other.write(s.node(plants.SETPOINT), 250.0, T.Double) == "Good")
        for _ in range(15):
            await asyncio.sleep(LEASE / 5000)
            await other.read([zero(2259)])
        last = time.time()
        expect(setpoint(monitor.frames()[-1][1]) == 250, "lost while the session was alive")
        said = in_time(await fell_back(monitor, last))
        expect(await other.write(s.node(plants.SETPOINT), 251.0, T.Double) == "BadInvalidState", "written in fallback")
    await s.ready()
    return said


@check("leases", "who calls Send holds the lease as who writes does", "what the machine does")
async def held_by_send(s):
    await s.ready()
    async with await s.fresh() as other, Monitor(s.need_plant()) as monitor:
        said = await s.said(COMMAND, "m.Command.Send", *command(290), connection=other)
        expect(said[0] == "Good", said)
        for _ in range(15):
            await asyncio.sleep(LEASE / 5000)
            await other.read([zero(2259)])
        last = time.time()
        expect(setpoint(monitor.frames()[-1][1]) == 290, "lost while the session was alive")
        said = in_time(await fell_back(monitor, last))
    await s.ready()
    return said


@check("leases", "Publish alone keeps a lease", "what the machine does")
async def kept_by_publish(s):
    await s.ready()
    async with await s.fresh() as other, Monitor(s.need_plant()) as monitor:
        it = await Subscription.create(other, publishing=100.0)
        (await it.items([s.node(plants.FAST)], sampling=100.0, queue=1))[0].StatusCode.check()
        expect(await other.write(s.node(plants.SETPOINT), 260.0, T.Double) == "Good")
        await it.collect(3.5)
        expect(setpoint(monitor.frames()[-1][1]) == 260, "lost while the session was alive")
        began = time.time()
        other.drop()
        said = in_time(await fell_back(monitor, began))
    await s.ready()
    return said


@check("leases", "a session that is closed renews nothing more", "what the machine does")
async def closed(s):
    await s.ready()
    async with Monitor(s.need_plant()) as monitor:
        other = await s.fresh()
        expect(await other.write(s.node(plants.SETPOINT), 270.0, T.Double) == "Good")
        await other.close()
        said = in_time(await fell_back(monitor, time.time()))
    await s.ready()
    return said


@check("leases", "who writes last holds the lease", "what the machine does")
async def taken_over(s):
    await s.ready()
    async with await s.fresh() as first, await s.fresh() as second, Monitor(s.need_plant()) as monitor:
        expect(await first.write(s.node(plants.SETPOINT), 280.0, T.Double) == "Good")
        expect(await second.write(s.node(plants.SETPOINT), 281.0, T.Double) == "Good")
        began = time.time()
        took = None
        for _ in range(30):
            # the first lives, and that does not count any more
            await first.read([zero(2259)])
            await asyncio.sleep(LEASE / 10_000)
            fallen = [at - began for at, payload in monitor.frames() if at > began and payload[:4] == FALLBACK]
            if fallen:
                took = fallen[0]
                break
        expect(took is not None, "the first kept what the second had taken")
        said = in_time(took)
    await s.ready()
    return said


@check("leases", "a client that is killed: fallback on the bus within the lease, and the machine is armed again by a call", "what the machine does", limit=180)
async def killed(s):
    plant = s.need_plant()
    told = []
    for arm in ("method", "command"):
        async with Monitor(plant) as monitor:
            pipe = subprocess.PIPE
            client = subprocess.Popen([sys.executable, __file__, "--hold", s.url], stdin=pipe, stdout=pipe, text=True, cwd=plant.folder)
            try:
                expect("connected" in await asyncio.to_thread(client.stdout.readline))
                await s.ready()
                client.stdin.write("write\n")
                client.stdin.flush()
                expect("holding" in await asyncio.to_thread(client.stdout.readline))
                await asyncio.sleep(3.5 * LEASE / 1000)
                expect(setpoint(monitor.frames()[-1][1]) == 1500, "lost while the client was alive")
                killed = time.time()
            finally:
                client.send_signal(signal.SIGKILL)
                client.wait()
            told.append(in_time(await fell_back(monitor, killed)))
            reasons = await s.connection.value(s.node(REASONS))
            expect(reasons == ["m.Command: the plant stopped renewing its lease"], reasons)
            expect(await s.connection.write(s.node(plants.SETPOINT), 1.0, T.Double) == "BadInvalidState", "written in fallback")
            if arm == "method":
                await s.good(MACHINE, "Machine.Arm")
            else:
                expect("armed" in plant.ask("arm"))
            expect(await s.connection.write(s.node(plants.SETPOINT), 600.0, T.Double) == "Good")
            await monitor.until(lambda at, payload: at > killed and setpoint(payload) == 600)
    return "; ".join(told)


async def hold(url):
    """A client as people write them: a subscription, a write, and then it only listens."""
    client = Client(url, timeout=20)
    client.application_uri = OWN.uri
    found = await Connection(url).client.connect_and_get_server_endpoints()
    from cryptography import x509

    server = next(one.ServerCertificate for one in found if one.ServerCertificate)
    length = int.from_bytes(server[2:4], "big") + 4
    own, theirs = x509.load_der_x509_certificate(OWN.certificate), x509.load_der_x509_certificate(server[:length])
    client.security_policy = SecurityPolicyBasic256Sha256(theirs, own, OWN.key, ua.MessageSecurityMode.SignAndEncrypt)
    client.uaclient.set_security(client.security_policy)
    client.set_user(plants.USER)
    client.set_password(plants.PASSWORD)
    async with client:
        namespace = await client.get_namespace_index(plants.NAMESPACE)

        class Listener:
            def datachange_notification(self, node, value, data):
                pass

        subscription = await client.create_subscription(LEASE / 5, Listener())
        await subscription.subscribe_data_change(client.get_node(zero(2258)))
        print("connected", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await client.get_node(ua.NodeId(plants.SETPOINT, namespace)).write_value(1500.0, T.Double)
        print("holding", flush=True)
        await asyncio.sleep(600)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--hold"]:
        asyncio.run(hold(sys.argv[2]))
        sys.exit(0)
    parser = checks.options(__doc__)
    parser.add_argument("--interface", help="the bus is this interface, and nothing is simulated")
    interface = parser.parse_known_args()[0].interface
    if interface is not None:
        Machine.interface, Machine.simulated = interface, False
        Machine.buses = Machine.buses.replace("virtual = true", f'interface = "{interface}"', 1)
    arguments = lambda given: (given.option.setdefault("anonymous_read", True), MethodScene(given))[1]
    sys.exit(checks.main(parser, arguments))
