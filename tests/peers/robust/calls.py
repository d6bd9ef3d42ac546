"""Calls that nobody means well by: arguments of every number and type, huge ones, many at once, and what only one may win."""

import asyncio
import math
import random
import struct

from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary

from common import plant as plants
from common.check import check, expect
from common.client import name, status_of

from .framing import mutated
from .services import answered, token_bytes

T = ua.VariantType
ALARM = "Canvoy.Alarms.alarm:setpoint"
LEVEL = "Canvoy.Alarms.alarm:level"
MACHINE, COMMAND = "Canvoy.Machine", "m.Command"
# Methods with what they take; none of these calls may be Good when the arguments are others.
METHODS = {
    (COMMAND, "Canvoy.Methods.m.Command.Send"): [T.Boolean, T.Byte, T.Boolean, T.Byte, T.Double, T.Int32],
    (MACHINE, "Canvoy.Methods.Machine.Force"): [T.NodeId, T.Double, T.Double],
    (MACHINE, "Canvoy.Methods.Machine.Release"): [T.NodeId],
    (MACHINE, "Canvoy.Methods.Machine.RestartBus"): [T.NodeId],
    (MACHINE, "Canvoy.Methods.Machine.SwitchRoute"): [T.String, T.Boolean],
    (MACHINE, "Canvoy.Methods.Machine.Disarm"): [],
    (MACHINE, "Canvoy.Methods.Machine.ReleaseAll"): [],
    (ALARM, ALARM + ".Acknowledge"): [T.ByteString, T.LocalizedText],
    (ALARM, ALARM + ".AddComment"): [T.ByteString, T.LocalizedText],
    (ALARM, ALARM + ".Confirm"): [T.ByteString, T.LocalizedText],
    (ALARM, ALARM + ".Disable"): [],
    (ALARM, ALARM + ".ShelvingState.TimedShelve"): [T.Double],
    (ALARM, ALARM + ".ShelvingState.OneShotShelve"): [],
}
VALUES = {
    T.Boolean: True,
    T.SByte: -1,
    T.Byte: 1,
    T.Int16: -1,
    T.UInt16: 1,
    T.Int32: 1,
    T.UInt32: 1,
    T.Int64: 1,
    T.UInt64: 1,
    T.Float: 1.0,
    T.Double: 1.0,
    T.String: "x",
    T.DateTime: ua.get_win_epoch(),
    T.ByteString: b"x",
    T.NodeId: ua.NodeId("m.Status.Speed", 2),
    T.StatusCode: ua.StatusCode(0),
    T.QualifiedName: ua.QualifiedName("x", 0),
    T.LocalizedText: ua.LocalizedText("x"),
    T.ExtensionObject: ua.Range(Low=1.0, High=2.0),
}


def variant(kind):
    return ua.Variant(VALUES[kind], kind)


def request(s, target, method, arguments):
    return ua.CallMethodRequest(ObjectId=s.ours(target), MethodId=s.ours(method), InputArguments=list(arguments))


class Calls:
    """A session that calls; what comes back is the status of each call, then those of its arguments."""

    def __init__(self, connection, namespace):
        self.connection, self.namespace = connection, namespace

    def ours(self, text):
        return ua.NodeId(text, self.namespace)

    async def many(self, requests):
        found = []
        for at in range(0, len(requests), 100):
            results = await self.connection.service("Call", MethodsToCall=requests[at : at + 100])
            found += [[name(one.StatusCode), *[name(each) for each in one.InputArgumentResults or []]] for one in results]
        return found

    async def one(self, target, method, *arguments):
        return (await self.many([request(self, target, method, arguments)]))[0]

    async def value(self, text):
        return await self.connection.value(self.ours(text))

    async def set(self, text, value, kind):
        said = await self.connection.write(self.ours(text), value, kind)
        expect(said == "Good", text, said)

    async def until(self, text, value, limit=10):
        for _ in range(limit * 20):
            if (found := await self.value(text)) == value:
                return
            await asyncio.sleep(0.05)
        raise TimeoutError(f"{text} is {found} and not {value}")

    async def raised(self):
        """The alarm of the setpoint, raised anew; its EventId."""
        await self.set(plants.SETPOINT, 500.0, T.Double)
        await self.until(ALARM + ".ActiveState.Id", False)
        await self.set(plants.SETPOINT, 1500.0, T.Double)
        await self.until(ALARM + ".ActiveState.Id", True)
        await self.until(ALARM + ".AckedState.Id", False)
        return await self.value(ALARM + ".EventId")

    async def rest(self):
        await self.one(ALARM, ALARM + ".ShelvingState.Unshelve")
        await self.set(plants.SETPOINT, 500.0, T.Double)
        await self.until(ALARM + ".ActiveState.Id", False)
        event = ua.Variant(await self.value(ALARM + ".EventId"), T.ByteString)
        await self.one(ALARM, ALARM + ".Acknowledge", event, ua.Variant(ua.LocalizedText("done"), T.LocalizedText))


async def calls(s, **options):
    one = await s.session(**options)
    return Calls(one, (await one.value(ua.NodeId(2255, 0))).index(plants.NAMESPACE))


@check("calls", "each method with every wrong number of arguments", "OPC 10000-4, 5.12.2.4")
async def wrong_counts(s):
    c = await calls(s)
    requests, wanted = [], []
    for (target, method), takes in METHODS.items():
        for count in [*range(len(takes) + 4), 100, 599]:
            if count == len(takes):
                continue
            arguments = [variant((takes or [T.Double])[at % max(len(takes), 1)]) for at in range(count)]
            requests.append(request(c, target, method, arguments))
            wanted.append(["BadArgumentsMissing" if count < len(takes) else "BadTooManyArguments"])
    found = await c.many(requests)
    wrong = [f"{one.MethodId.Identifier} with {len(one.InputArguments)}: {said}" for one, said, want in zip(requests, found, wanted) if said != want]
    expect(not wrong, wrong[:5])
    await c.connection.close()
    return f"{len(requests)} calls; {await s.holds()}"


@check("calls", "each argument of every other type, null, an array, and in itself", "OPC 10000-4, 5.12.2.4", limit=300)
async def wrong_types(s):
    c = await calls(s)
    requests, places = [], []
    for (target, method), takes in METHODS.items():
        for place, right in enumerate(takes):
            others = [variant(kind) for kind in VALUES if kind != right]
            others += [ua.Variant([VALUES[right]] * 3, right), ua.Variant([], right, is_array=True)]
            others += [ua.Variant([ua.Variant(1, T.Int32)], T.Variant), ua.Variant(ua.DataValue(variant(right)), T.DataValue)]
            # null is no text, and leaves a comment as it is
            others += [] if right == T.LocalizedText else [ua.Variant()]
            for other in others:
                arguments = [variant(kind) for kind in takes]
                arguments[place] = other
                requests.append(request(c, target, method, arguments))
                places.append(place)
    found = await c.many(requests)
    wrong = []
    for one, place, said in zip(requests, places, found):
        told = said[0] == "BadInvalidArgument" and len(said) > place + 1 and said[place + 1] in ("BadTypeMismatch", "BadOutOfRange")
        if not told:
            wrong.append(f"{one.MethodId.Identifier}, argument {place} as {one.InputArguments[place]}: {said}")
    expect(not wrong, len(wrong), "of", len(requests), wrong[:5])
    expect(await c.value(plants.ARMED) is True)
    await c.connection.close()
    return f"{len(requests)} calls; {await s.holds()}"


@check("calls", "NaN, infinities and the ends of types are out of range, and nothing is sent", "OPC 10000-4, 5.12.2.4")
async def extreme_numbers(s):
    c = await calls(s)
    await c.set(plants.SETPOINT, 100.0, T.Double)
    command = lambda rpm: [ua.Variant(True, T.Boolean), ua.Variant(2, T.Byte), ua.Variant(False, T.Boolean), ua.Variant(20, T.Byte), ua.Variant(rpm, T.Double), ua.Variant(0, T.Int32)]
    for rpm in (math.nan, math.inf, -math.inf, 1e308, -1e-300, 3000.5, 65536.0, -0.5):
        said = await c.one(COMMAND, "Canvoy.Methods.m.Command.Send", *command(rpm))
        expect(said == ["BadInvalidArgument", "Good", "Good", "Good", "Good", "BadOutOfRange", "Good"] or rpm == -1e-300 and said[0] == "Good", rpm, said)
    speed = ua.Variant(c.ours(plants.ANALOG), T.NodeId)
    for value, duration in ((math.nan, 5000.0), (math.inf, 5000.0), (1e308, 5000.0), (1.0, math.nan), (1.0, math.inf), (1.0, -1.0), (1.0, 0.0), (1.0, 1e300)):
        said = await c.one(MACHINE, "Canvoy.Methods.Machine.Force", speed, ua.Variant(value, T.Double), ua.Variant(duration, T.Double))
        expect(said[0] == "BadInvalidArgument" and "BadOutOfRange" in said[1:], value, duration, said)
    expect(await c.value(plants.SETPOINT) in (100.0, 0.0), "something was sent")
    for duration in (math.nan, math.inf, -math.inf, -1.0, -1e300, 0.0, 1e300, 1e12, 86_400_001.0):
        said = await c.one(ALARM, ALARM + ".ShelvingState.TimedShelve", ua.Variant(duration, T.Double))
        expect(said[0] == "BadShelvingTimeOutOfRange", duration, said)
    await c.connection.close()
    return await s.holds()


@check("calls", "huge texts, names and EventIds are refused, and kept nowhere", "OPC 10000-4, 5.12.2.4", limit=300)
async def huge_arguments(s):
    c = await calls(s)
    event = ua.Variant(await c.raised(), T.ByteString)
    kept = await c.value(ALARM + ".Comment")
    for size in (2000, 100_000, 3_000_000):
        text = ua.Variant(ua.LocalizedText("x" * size), T.LocalizedText)
        locale = ua.Variant(ua.LocalizedText("x", Locale="y" * size), T.LocalizedText)
        for method in ("Acknowledge", "AddComment"):
            for comment in (text, locale):
                said = await c.one(ALARM, f"{ALARM}.{method}", event, comment)
                expect(said == ["BadInvalidArgument", "Good", "BadOutOfRange"], method, size, said)
            said = await c.one(ALARM, f"{ALARM}.{method}", ua.Variant(b"x" * size, T.ByteString), ua.Variant(ua.LocalizedText("x"), T.LocalizedText))
            expect(said[0] == "BadEventIdUnknown", method, size, said)
        said = await c.one(MACHINE, "Canvoy.Methods.Machine.SwitchRoute", ua.Variant("x" * size, T.String), ua.Variant(True, T.Boolean))
        expect(said == ["BadInvalidArgument", "BadNotFound", "Good"], size, said)
        said = await c.one(MACHINE, "Canvoy.Methods.Machine.Release", ua.Variant(ua.NodeId("x" * size, 2), T.NodeId))
        expect(said == ["BadInvalidArgument", "BadNodeIdUnknown"], size, said)
        said = await c.one("x" * size, ALARM + ".Acknowledge", event, ua.Variant(ua.LocalizedText("x"), T.LocalizedText))
        expect(said == ["BadNodeIdUnknown"], size, said)
    expect(await c.value(ALARM + ".Comment") == kept, "a refused comment is kept")
    longest = max(map(len, s.plant.log()[s.log :].splitlines()), default=0)
    expect(longest < 20_000, "a line of the log has", longest, "letters")
    await c.rest()
    await c.connection.close()
    return f"longest line of the log {longest}; {await s.holds()}"


@check("calls", "an EventId that was never given is unknown: each bit of it, pieces of it, another alarm's", "OPC 10000-9, 5.7.3")
async def wrong_event_ids(s):
    c = await calls(s)
    event = await c.raised()
    comment = ua.Variant(ua.LocalizedText("no"), T.LocalizedText)
    wrong = [bytes(one ^ (1 << bit if at == place else 0) for at, one in enumerate(event)) for place in range(len(event)) for bit in range(8)]
    wrong += [event[:length] for length in range(len(event))] + [event + b"\0", event * 2, event[::-1], bytes(len(event)), b"\xff" * len(event), await c.value(LEVEL + ".EventId")]
    wrong += [random.Random(1).randbytes(len(event)) for _ in range(100)]
    requests = [request(c, ALARM, f"{ALARM}.{method}", [ua.Variant(one, T.ByteString), comment]) for one in wrong for method in ("Acknowledge", "AddComment", "Confirm")]
    found = await c.many(requests)
    said = sorted({one[0] for one in found})
    expect(said == ["BadEventIdUnknown"], said)
    expect(await c.value(ALARM + ".AckedState.Id") is False, "acknowledged")
    await c.rest()
    await c.connection.close()
    return f"{len(requests)} calls; {await s.holds()}"


@check("calls", "of many acknowledgements, in one Call and of many sessions at once, one is Good", "OPC 10000-9, 5.7.3")
async def acknowledged_once(s):
    c = await calls(s)
    comment = ua.Variant(ua.LocalizedText("mine"), T.LocalizedText)
    others = [await calls(s) for _ in range(4)]
    for together in (False, True):
        event = ua.Variant(await c.raised(), T.ByteString)
        acknowledge = request(c, ALARM, ALARM + ".Acknowledge", [event, comment])
        if together:
            found = sum(await asyncio.gather(*[each.many([acknowledge] * 20) for each in [c, *others]]), [])
        else:
            found = await c.many([acknowledge] * 20)
        said = sorted(one[0] for one in found)
        expect(said.count("Good") == 1, said)
        # the event of the acknowledgement is a new one
        expect(set(said) <= {"Good", "BadConditionBranchAlreadyAcked", "BadEventIdUnknown"}, set(said))
        await c.rest()
    shelved = sorted(one[0] for one in await c.many([request(c, ALARM, ALARM + ".ShelvingState.TimedShelve", [ua.Variant(60_000.0, T.Double)])] * 10))
    expect(shelved == ["BadConditionAlreadyShelved"] * 9 + ["Good"], shelved)
    await c.rest()
    for each in [c, *others]:
        await each.connection.close()
    return await s.holds()


@check("calls", "who has no name comments, acknowledges, shelves and calls nothing", "OPC 10000-9, 5.5.6")
async def without_rights(s):
    c = await calls(s)
    event = ua.Variant(await c.raised(), T.ByteString)
    nobody = await calls(s, user=None, password=None)
    before = await c.value(ALARM + ".Comment")
    requests = [request(nobody, target, method, [variant(kind) for kind in takes]) for (target, method), takes in METHODS.items()]
    comment = ua.Variant(ua.LocalizedText("nobody was here"), T.LocalizedText)
    requests += [request(nobody, ALARM, f"{ALARM}.{method}", [event, comment]) for method in ("AddComment", "Acknowledge")]
    # wrong arguments tell nobody more
    requests += [request(nobody, target, method, [ua.Variant()] * 9) for target, method in METHODS]
    requests += [ua.CallMethodRequest(ObjectId=c.ours(ALARM), MethodId=ua.NodeId(9029, 0), InputArguments=[event, comment])]
    found = await nobody.many(requests)
    wrong = [f"{one.MethodId.Identifier}: {said}" for one, said in zip(requests, found) if said != ["BadUserAccessDenied"]]
    expect(not wrong, wrong[:8])
    expect(await c.value(ALARM + ".Comment") == before and await c.value(ALARM + ".AckedState.Id") is False, "something was done")
    expect(await c.value(plants.ARMED) is True, "disarmed")
    await c.rest()
    await nobody.connection.close()
    await c.connection.close()
    return await s.holds()


@check("calls", "a Call of a thousand methods is BadTooManyOperations, of none BadNothingToDo; of as many as may be, each is answered", "OPC 10000-4, 5.12.2.3")
async def many_methods(s):
    c = await calls(s)
    most = await c.connection.value(ua.NodeId(ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerMethodCall, 0))
    one = request(c, ALARM, ALARM + ".ShelvingState.Unshelve", [])
    for count, wanted in ((1000, "BadTooManyOperations"), (most + 1, "BadTooManyOperations"), (0, "BadNothingToDo"), (most, "Good")):
        said = await status_of(c.connection.service("Call", MethodsToCall=[one] * count))
        expect(said == wanted, count, said)
    found = await c.connection.service("Call", MethodsToCall=[one] * most)
    expect([name(each.StatusCode) for each in found] == ["BadConditionNotShelved"] * most)
    # many arguments are more than any method has
    said = await status_of(c.connection.service("Call", MethodsToCall=[request(c, ALARM, ALARM + ".Acknowledge", [variant(T.Byte)] * 5000)]))
    expect(said in ("BadTooManyArguments", "BadEncodingLimitsExceeded"), said)
    await c.connection.close()
    return await s.holds()


@check("calls", "hundreds of Calls at once from some sessions are all answered", "OPC 10000-4, 5.12.2", limit=300)
async def calls_at_once(s):
    all_of_them = [await calls(s) for _ in range(4)]
    rows = list(METHODS.items())
    # neither disarmed nor disabled, so that all goes on as before
    rows = [row for row in rows if row[1]]
    many = s.size(400, 60)
    tasks = []
    for at in range(many):
        c = all_of_them[at % len(all_of_them)]
        requests = [request(c, target, method, [variant(kind) for kind in takes]) for (target, method), takes in rows] * 9
        tasks.append(asyncio.ensure_future(c.many(requests)))
    found = await asyncio.wait_for(asyncio.gather(*tasks), 200)
    expect(all(len(one) == 9 * len(rows) for one in found))
    c = all_of_them[0]
    await c.one(MACHINE, "Canvoy.Methods.Machine.ReleaseAll")
    await c.rest()
    for each in all_of_them:
        await each.connection.close()
    return f"{many * 9 * len(rows)} calls; {await s.holds()}"


@check("calls", "mutated Calls in a secured channel end their own connection at most, and nobody is acknowledged by chance", "issue: hostile calls", limit=900)
async def mutated_calls(s):
    generator = random.Random(s.arguments.seed + 2)
    c = await calls(s)
    bodies = []
    for (target, method), takes in METHODS.items():
        if takes:
            wanted = ua.CallRequest()
            wanted.Parameters.MethodsToCall = [request(c, target, method, [variant(kind) for kind in takes])] * 2
            bodies.append(struct_to_binary(wanted))
    await c.connection.close()
    one, said = None, {}
    for _ in range(s.size(2000, 150)):
        if one is None or not one.is_open:
            one = await s.session()
        body = generator.choice(bodies)
        # its own token and header, so that the arguments are looked at
        head = body[:4] + token_bytes(one)
        rest = body[6:]
        keep = struct.calcsize("<qIIiI") if generator.random() < 0.9 else 0
        found = await answered(s, one, head + rest[:keep] + mutated(generator, rest[keep:]), 1)
        said[found] = said.get(found, 0) + 1
    await one.close()
    c = await calls(s)
    await c.one(MACHINE, "Canvoy.Methods.Machine.ReleaseAll")
    await c.one(MACHINE, "Canvoy.Methods.Machine.Arm")
    await c.connection.close()
    return f"{said}; {await s.holds()}"
