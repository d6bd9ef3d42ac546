"""Events of conditions: their fields, where they are told, refresh."""

from asyncua import ua

from common import plant as plants
from common.check import check, expect
from common.client import name
from conformance.scene import SERVER, zero

from .scene import ENABLED, LATE, LEVEL, SETPOINT, Events, O, of

REFRESH, REFRESH2 = zero(O.ConditionType_ConditionRefresh), zero(O.ConditionType_ConditionRefresh2)
START, END = zero(O.RefreshStartEventType), zero(O.RefreshEndEventType)


def number(value):
    return ua.Variant(value, ua.VariantType.UInt32)


@check("events", "a late message is an alarm that comes and goes by itself", "OPC 10000-9, 5.8.25")
async def late(s):
    it = await Events.at(s)
    event = await it.wait(of(LATE, active=True), what="the alarm")
    expect(event["EventType"] == zero(O.SystemOffNormalAlarmType), event["EventType"])
    expect(event["SourceNode"] == s.node("m.Late") and event["SourceName"] == "m.Late", event["SourceNode"], event["SourceName"])
    expect(event["ConditionName"] == "late" and event["ConditionClassId"] == zero(O.SystemConditionClassType), event["ConditionName"])
    expect(event["Retain"] is True and event["Severity"] == 650, event["Retain"], event["Severity"])
    await it.wait(of(LATE, active=False), what="its end")
    await it.close()


@check("events", "a limit alarm tells all fields of its type", "OPC 10000-9, 5.5 to 5.8")
async def limit(s):
    await s.quiet()
    it = await Events.at(s, where=ua.ObjectIds.LimitAlarmType)
    await s.setpoint(1500)
    event = await it.wait(of(SETPOINT, active=True), what="hi")
    want = {
        "EventType": zero(O.ExclusiveLevelAlarmType),
        "SourceNode": s.node(plants.SETPOINT),
        "InputNode": s.node(plants.SETPOINT),
        "ConditionId": s.condition(SETPOINT),
        "ConditionName": "setpoint",
        "ConditionClassId": zero(O.ProcessConditionClassType),
        "Severity": 600,
        "BranchId": ua.NodeId(),
        "Retain": True,
        "EnabledState/Id": True,
        "AckedState/Id": False,
        "ConfirmedState/Id": True,
        "ActiveState/Id": True,
        "SuppressedState/Id": False,
        "SuppressedOrShelved": False,
        "ShelvingState/CurrentState/Id": zero(O.ShelvedStateMachineType_Unshelved),
        "MaxTimeShelved": 24 * 3600e3,
        "HighHighLimit": 2000.0,
    }
    for field, value in want.items():
        expect(event[field] == value, field, event[field])
    expect(len(event["EventId"]) == 16 and "high" in event["Message"].Text, event["Message"])
    expect(event["LimitState/CurrentState"].Text == "High", event["LimitState/CurrentState"])
    expect(event["ActiveState/EffectiveDisplayName"].Text == "Active/High", event["ActiveState/EffectiveDisplayName"])
    await s.setpoint(2500)
    worse = await it.wait(of(SETPOINT, active=True, Severity=900), what="hihi")
    expect(worse["LimitState/CurrentState"].Text == "HighHigh" and worse["LastSeverity"] == 600, worse["LastSeverity"])
    expect(worse["ActiveState/TransitionTime"] == event["ActiveState/TransitionTime"], "it was active before")
    await s.setpoint(500)
    over = await it.wait(of(SETPOINT, active=False), what="the end")
    expect(over["Retain"] is True and over["AckedState/Id"] is False, "nobody has acknowledged it")
    await it.close()
    await s.quiet()


@check("events", "levels of a limit that is not exclusive are states of their own", "OPC 10000-9, 5.8.19")
async def non_exclusive(s):
    it = await Events.at(s)
    await s.level(500)
    await s.is_so(LEVEL, "ActiveState/Id", False)
    await s.level(2500)
    event = await it.wait(of(LEVEL, active=True, HighHighState__Id=True), what="both levels")
    expect(event["HighState/Id"] is True, "hi holds too")
    await s.level(1500)
    await it.wait(of(LEVEL, active=True, HighHighState__Id=False, HighState__Id=True), what="one level")
    await s.level(500)
    await it.wait(of(LEVEL, active=False), what="none")
    await it.close()


@check("events", "conditions that should not hold are an OffNormal alarm", "OPC 10000-9, 5.8.23")
async def off_normal(s):
    it = await Events.at(s, where=O.OffNormalAlarmType)
    await s.connection.write(s.node(plants.ENABLE), True, ua.VariantType.Boolean)
    event = await it.wait(of(ENABLED, active=True), what="the alarm")
    expect(event["EventType"] == zero(O.OffNormalAlarmType) and event["Severity"] == 300, event["EventType"])
    await s.connection.write(s.node(plants.ENABLE), False, ua.VariantType.Boolean)
    await it.wait(of(ENABLED, active=False), what="its end")
    await it.close()


@check("events", "a notifier tells what is below it and nothing else", "OPC 10000-3, 5.5.1")
async def notifiers(s):
    await s.quiet()
    places = {}
    for node in ("Canvoy.Machine", "m", "m.Command", "m.Cycle"):
        places[node] = await Events.at(s, s.node(node), connection=await s.fresh())
    await s.setpoint(1500)
    for node, it in places.items():
        if node == "m.Cycle":
            seen = [event["key"] for event in await it.gather(1.0)]
            expect(SETPOINT not in seen, node, seen)
        else:
            await it.wait(of(SETPOINT, active=True), what=f"the alarm at {node}")
    for it in places.values():
        seen = [event["key"] for event in await it.gather(0.2)]
        await it.subscription.connection.close()
    await s.quiet()


@check("events", "a client that comes back gets what is retained, between RefreshStart and RefreshEnd", "OPC 10000-9, 5.5.7")
async def refresh(s):
    await s.quiet()
    await s.setpoint(1500)
    await s.is_so(SETPOINT, "ActiveState/Id", True)
    async with await s.fresh() as other:
        it = await Events.at(s, connection=other)
        bystander = await Events.at(s)
        said = await s.call(zero(O.ConditionType), REFRESH, number(it.subscription.id), connection=other)
        expect(said == "Good", said)
        await it.wait(lambda event: event["EventType"] == START, what="RefreshStart")
        retained = await it.wait(lambda event: event["key"] == SETPOINT or event["EventType"] == END, what="the alarm")
        expect(retained["key"] == SETPOINT and retained["Retain"] is True, "it is not among the retained")
        expect(retained["EventId"] == await s.field(SETPOINT, "EventId"), "a refreshed event has the EventId that it had")
        await it.wait(lambda event: event["EventType"] == END, what="RefreshEnd")
        seen = await bystander.gather(0.5)
        expect(not [one for one in seen if one["EventType"] in (START, END)], "others are not told")
        await bystander.close()
        said = await s.call(zero(O.ConditionType), REFRESH2, number(it.subscription.id), number(it.item), connection=other)
        expect(said == "Good", said)
        await it.wait(lambda event: event["EventType"] == START, what="RefreshStart of one item")
        await it.wait(lambda event: event["EventType"] == END, what="RefreshEnd of one item")
        cases = [
            (REFRESH, [number(0xFFFFFFF0)], "BadSubscriptionIdInvalid"),
            (REFRESH2, [number(it.subscription.id), number(0xFFFFFFF0)], "BadMonitoredItemIdInvalid"),
            (REFRESH, [], "BadArgumentsMissing"),
            (REFRESH2, [number(it.subscription.id)], "BadArgumentsMissing"),
        ]
        for method, arguments, want in cases:
            said = await s.call(zero(O.ConditionType), method, *arguments, connection=other)
            expect(said == want, method, said)
        said = await s.call(zero(O.ConditionType), REFRESH, number(it.subscription.id))
        expect(said == "BadSubscriptionIdInvalid", "another session's subscription", said)
    await s.quiet()
    it = await Events.at(s)
    await s.call(zero(O.ConditionType), REFRESH, number(it.subscription.id))
    await it.wait(lambda event: event["EventType"] == START, what="RefreshStart")
    found = await it.wait(lambda event: event["key"] == SETPOINT or event["EventType"] == END, what="RefreshEnd")
    expect(found["key"] != SETPOINT, "what is at rest is not retained")
    await it.close()


@check("events", "a filter that asks for fields of condition types is taken whole", "OPC 10000-4, 7.22.3")
async def whole_filter(s):
    from .scene import event_filter

    from common.subscription import Subscription

    it = await Subscription.create(s.connection)
    created = (await it.items([zero(SERVER)], attribute=ua.AttributeIds.EventNotifier, filter=event_filter()))[0]
    await it.delete()
    results = [name(one) for one in getattr(created.FilterResult, "SelectClauseResults", None) or []]
    expect(name(created.StatusCode) == "Good" and set(results) <= {"Good"}, results)
