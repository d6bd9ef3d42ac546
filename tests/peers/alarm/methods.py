"""What people do about alarms, and what they must not do."""

import asyncio

from asyncua import ua

from common import plant as plants
from common.check import check, expect
from conformance.scene import zero

from .scene import SETPOINT, Events, O, of


async def raised(s, value=1500):
    """Events from the alarm of the setpoint, and the one that raised it."""
    await s.quiet()
    it = await Events.at(s)
    await s.setpoint(value)
    return it, await it.wait(of(SETPOINT, active=True, acked=False), what="the alarm")


def double(value):
    return ua.Variant(float(value), ua.VariantType.Double)


@check("methods", "acknowledged by its EventId, with a comment and who said it", "OPC 10000-9, 5.7.3")
async def acknowledge(s):
    it, event = await raised(s)
    expect(await s.on_event(SETPOINT, "Acknowledge", event["EventId"], "seen") == "Good", "refused")
    acked = await it.wait(of(SETPOINT, acked=True), what="the event of it")
    expect(acked["Comment"].Text == "seen" and acked["ClientUserId"] == plants.USER, acked["Comment"], acked["ClientUserId"])
    expect(acked["EventId"] != event["EventId"] and acked["Retain"] is True, "EventId, Retain")
    said = await s.on_event(SETPOINT, "Acknowledge", acked["EventId"])
    expect(said == "BadConditionBranchAlreadyAcked", said)
    await s.setpoint(500)
    over = await it.wait(of(SETPOINT, active=False), what="its end")
    expect(over["Retain"] is False, "nothing is left to do")
    await it.close()


@check("methods", "a severe alarm wants to be confirmed after it was acknowledged", "OPC 10000-9, 5.7.4 and B.1.2")
async def confirm(s):
    it, event = await raised(s, 2500)
    said = await s.on_event(SETPOINT, "Confirm", event["EventId"])
    expect(said == "BadConditionBranchAlreadyConfirmed", said)
    await s.setpoint(500)
    over = await it.wait(of(SETPOINT, active=False), what="its end")
    expect(await s.on_event(SETPOINT, "Acknowledge", over["EventId"]) == "Good", "refused")
    acked = await it.wait(of(SETPOINT, acked=True), what="acknowledged")
    expect(acked["ConfirmedState/Id"] is False and acked["Retain"] is True, "it waits to be confirmed")
    expect(await s.on_event(SETPOINT, "Confirm", acked["EventId"], "repaired") == "Good", "refused")
    done = await it.wait(of(SETPOINT, ConfirmedState__Id=True), what="confirmed")
    expect(done["Retain"] is False and done["Comment"].Text == "repaired", done["Retain"], done["Comment"])
    await it.close()


@check("methods", "methods of the type called at the condition do the same", "OPC 10000-9, 5.5.4")
async def by_the_type(s):
    it, event = await raised(s)
    arguments = [ua.Variant(event["EventId"], ua.VariantType.ByteString), ua.Variant(ua.LocalizedText("by type"), ua.VariantType.LocalizedText)]
    said = await s.call(s.condition(SETPOINT), zero(O.ConditionType_AddComment), *arguments)
    expect(said == "Good", said)
    await it.wait(of(SETPOINT, Comment=ua.LocalizedText("by type")), what="the comment")
    said = await s.call(s.condition(SETPOINT), zero(O.AcknowledgeableConditionType_Acknowledge), *arguments)
    expect(said == "Good", said)
    said = await s.call(s.condition(SETPOINT), zero(O.AlarmConditionType_ShelvingState_OneShotShelve))
    expect(said == "Good", said)
    said = await s.call(s.condition(SETPOINT, "ShelvingState"), zero(O.AlarmConditionType_ShelvingState_Unshelve))
    expect(said == "Good", said)
    await it.close()
    await s.quiet()


@check("methods", "a comment is kept and does not make the EventId stale", "OPC 10000-9, 5.5.6")
async def comment(s):
    it, event = await raised(s)
    expect(await s.on_event(SETPOINT, "AddComment", event["EventId"], "looked at it") == "Good", "refused")
    told = await it.wait(of(SETPOINT, Comment=ua.LocalizedText("looked at it")), what="the comment")
    expect(told["AckedState/Id"] is False, "a comment is no acknowledgement")
    expect(await s.on_event(SETPOINT, "Acknowledge", event["EventId"]) == "Good", "refused")
    expect((await s.field(SETPOINT, "Comment")).Text == "looked at it", "no comment leaves the comment")
    await it.close()
    await s.quiet()


@check("methods", "an EventId of an earlier state, of another alarm or of none is BadEventIdUnknown", "OPC 10000-9, 5.7.3")
async def stale(s):
    it, event = await raised(s)
    await s.setpoint(500)
    await it.wait(of(SETPOINT, active=False), what="its end")
    other = await s.field("late:m.Late", "EventId")
    for wrong in (event["EventId"], other, b"", b"\0" * 16, b"x" * 40):
        for method in ("Acknowledge", "AddComment"):
            said = await s.on_event(SETPOINT, method, wrong, "no")
            expect(said == "BadEventIdUnknown", method, wrong, said)
    await it.close()
    await s.quiet()


@check("methods", "shelved for a time it unshelves by itself", "OPC 10000-9, 5.8.17")
async def timed_shelve(s):
    it, _ = await raised(s)
    expect(await s.do(SETPOINT, "ShelvingState/TimedShelve", double(1500)) == "Good", "refused")
    shelved = await it.wait(of(SETPOINT, SuppressedOrShelved=True), what="shelved")
    expect(shelved["ShelvingState/CurrentState"].Text == "Timed Shelved", shelved["ShelvingState/CurrentState"])
    left = await s.field(SETPOINT, "ShelvingState/UnshelveTime")
    expect(0 < left <= 1500, left)
    said = await s.do(SETPOINT, "ShelvingState/TimedShelve", double(1500))
    expect(said == "BadConditionAlreadyShelved", said)
    await it.wait(of(SETPOINT, SuppressedOrShelved=False), limit=5, what="unshelved by itself")
    expect(await s.do(SETPOINT, "ShelvingState/Unshelve") == "BadConditionNotShelved", "not shelved")
    for wrong in (0, -1, 24 * 3600e3 + 1000, float("nan"), float("inf")):
        said = await s.do(SETPOINT, "ShelvingState/TimedShelve", double(wrong))
        expect(said == "BadShelvingTimeOutOfRange", wrong, said)
    await it.close()
    await s.quiet()


@check("methods", "shelved for one time it unshelves when it is over", "OPC 10000-9, 5.8.17")
async def one_shot(s):
    it, _ = await raised(s)
    expect(await s.do(SETPOINT, "ShelvingState/OneShotShelve") == "Good", "refused")
    await it.wait(of(SETPOINT, SuppressedOrShelved=True), what="shelved")
    await s.setpoint(500)
    await it.wait(of(SETPOINT, active=False, SuppressedOrShelved=False), what="unshelved with its end")
    await it.close()
    await s.quiet()


@check("methods", "a disabled alarm is silent, and tells how it is when it is enabled", "OPC 10000-9, 5.5.4 and 5.5.5")
async def disabled(s):
    await s.quiet()
    it = await Events.at(s)
    expect(await s.do(SETPOINT, "Enable") == "BadConditionAlreadyEnabled", "enabled already")
    expect(await s.do(SETPOINT, "Disable") == "Good", "refused")
    event = await it.wait(of(SETPOINT), what="that it is disabled")
    expect(event["EnabledState/Id"] is False and event["Retain"] is False, event["EnabledState/Id"], event["Retain"])
    expect(await s.do(SETPOINT, "Disable") == "BadConditionAlreadyDisabled", "disabled already")
    await s.setpoint(1500)
    seen = [event["key"] for event in await it.gather(1.0)]
    expect(SETPOINT not in seen, seen)
    for method in ("Acknowledge", "Confirm", "AddComment"):
        said = await s.on_event(SETPOINT, method, event["EventId"], "no")
        expect(said == "BadConditionDisabled", method, said)
    expect(await s.do(SETPOINT, "ShelvingState/OneShotShelve") == "BadConditionDisabled", "shelved")
    expect(await s.do(SETPOINT, "Enable") == "Good", "refused")
    event = await it.wait(of(SETPOINT, active=True), what="how it is")
    expect(event["Retain"] is True and event["AckedState/Id"] is False, event["Retain"])
    await it.close()
    await s.quiet()


@check("methods", "wrong calls are refused", "OPC 10000-4, 5.12.2.4")
async def wrong_calls(s):
    it, _ = await raised(s)
    await it.close()
    key = s.condition(SETPOINT)
    event = ua.Variant(b"\0" * 16, ua.VariantType.ByteString)
    text = ua.Variant(ua.LocalizedText("x"), ua.VariantType.LocalizedText)
    cases = [
        (key, s.condition(SETPOINT, "Acknowledge"), [], "BadArgumentsMissing"),
        (key, s.condition(SETPOINT, "Acknowledge"), [event, text, text], "BadTooManyArguments"),
        (key, s.condition(SETPOINT, "Acknowledge"), [text, text], "BadInvalidArgument"),
        (key, s.condition(SETPOINT, "ShelvingState/TimedShelve"), [text], "BadInvalidArgument"),
        (key, s.condition("late:m.Late", "Acknowledge"), [event, text], "BadMethodInvalid"),
        (key, zero(O.Server_GetMonitoredItems), [], "BadMethodInvalid"),
        (key, s.condition(SETPOINT, "Retain"), [], "BadMethodInvalid"),
        # those of a type are called at its instances
        (zero(O.ConditionType), zero(O.ConditionType_AddComment), [event, text], "BadNodeIdInvalid"),
        (zero(O.ExclusiveLevelAlarmType), zero(O.AcknowledgeableConditionType_Acknowledge), [event, text], "BadNodeIdInvalid"),
        # only what a state machine does is called at it
        (s.condition(SETPOINT, "ShelvingState"), s.condition(SETPOINT, "Acknowledge"), [event, text], "BadMethodInvalid"),
        (s.condition(SETPOINT, "AckedState"), zero(O.AlarmConditionType_ShelvingState_Unshelve), [], "BadMethodInvalid"),
        (s.node("m"), s.condition(SETPOINT, "Acknowledge"), [event, text], "BadNodeIdInvalid"),
        (s.condition("late:m.Nothing"), s.condition(SETPOINT, "Acknowledge"), [event, text], "BadNodeIdUnknown"),
    ]
    for target, method, arguments, want in cases:
        said = await s.call(target, method, *arguments)
        expect(said == want, target, method, said, "instead of", want)
    long = ua.Variant(ua.LocalizedText("x" * 2000), ua.VariantType.LocalizedText)
    now = ua.Variant(await s.field(SETPOINT, "EventId"), ua.VariantType.ByteString)
    said = await s.call(key, s.condition(SETPOINT, "AddComment"), now, long)
    expect(said == "BadInvalidArgument", "a long comment", said)
    await s.quiet()


@check("methods", "what is done is in the log, with who did it, and an audit event", "OPC 10000-9, 5.10")
async def audited(s):
    plant = s.need_plant()
    it, event = await raised(s)
    expect(await s.on_event(SETPOINT, "Acknowledge", event["EventId"], "audited") == "Good", "refused")
    await it.wait(lambda event: event["EventType"] == zero(O.AuditConditionAcknowledgeEventType), what="the audit event")

    async def logged():
        return any("Acknowledge" in line and plants.USER in line and SETPOINT in line for line in plant.log().splitlines())

    await s.until("the line in the log", logged, 10)
    await it.close()
    await s.quiet()
    await asyncio.sleep(0)
