"""What outlives the plant process: states, and a journal without a gap."""

import json
import os
import signal

from common.check import check, expect

from .scene import LEVEL, SETPOINT, Events, of


def journal(plant):
    """All lines, oldest first."""
    folder = plant.state / "alarms"
    files = sorted(folder.glob("journal*.jsonl"), key=lambda file: file.stat().st_mtime)
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@check("restarts", "acknowledged, comment and shelf outlive a kill of the plant, and the EventId is good afterwards", "README: alarms")
async def kept(s):
    plant = s.need_plant()
    await s.quiet()
    it = await Events.at(s)
    await s.setpoint(2500)
    event = await it.wait(of(SETPOINT, active=True), what="the alarm")
    expect(await s.on_event(SETPOINT, "AddComment", event["EventId"], "kept") == "Good", "refused")
    expect(await s.do(SETPOINT, "ShelvingState/OneShotShelve") == "Good", "refused")
    pid = plant.part("plant")
    os.kill(pid, signal.SIGKILL)
    plant.wait("another plant process", lambda: plant.part("plant") not in (None, pid))
    plant.wait("it to serve", plant.serves)
    await s.connection.close()

    async def again():
        try:
            await s.login()
            return True
        except Exception:
            return False

    await s.until("a login", again)
    expect((await s.field(SETPOINT, "Comment")).Text == "kept", "the comment")
    expect((await s.field(SETPOINT, "ShelvingState/CurrentState")).Text == "One Shot Shelved", "the shelf")
    expect(await s.field(SETPOINT, "ActiveState/Id") is True and await s.field(SETPOINT, "AckedState/Id") is False, "the states")
    expect(await s.on_event(SETPOINT, "Acknowledge", event["EventId"]) == "Good", "the EventId from before")
    await s.quiet()
    lines = journal(plant)
    numbers = [line["number"] for line in lines]
    expect(numbers == list(range(numbers[0], numbers[0] + len(numbers))), "numbers of the journal have a gap or come twice")
    own = [line["what"] for line in lines if line["key"] == SETPOINT]
    at = len(own) - own[::-1].index("commented") - 1
    expect(own[at - 1 : at + 3] == ["raised", "commented", "shelved", "acknowledged"], own[at - 1 : at + 3])
    who = [line.get("who") for line in lines if line["key"] == SETPOINT and line["what"] == "commented"]
    expect(who and who[-1] == "operator", who)


async def logged_in_again(s):
    await s.connection.close()

    async def again():
        try:
            await s.login()
            return True
        except Exception:
            return False

    await s.until("a login", again)


@check("restarts", "an alarm that is active and acknowledged is so after an orderly restart of everything", "README: alarms")
async def orderly(s):
    plant = s.need_plant()
    # below its lowest limit with the value that it starts with
    await s.level(0)
    await s.is_so(LEVEL, "ActiveState/Id", True)
    if not await s.field(LEVEL, "AckedState/Id"):
        expect(await s.on_event(LEVEL, "Acknowledge", await s.field(LEVEL, "EventId"), "known") == "Good", "refused")
    else:
        expect(await s.on_event(LEVEL, "AddComment", await s.field(LEVEL, "EventId"), "known") == "Good", "refused")
    before = len(journal(plant))
    plant.restart()
    await logged_in_again(s)
    await s.is_so(LEVEL, "ActiveState/Id", True)
    expect(await s.field(LEVEL, "AckedState/Id") is True, "it wants to be acknowledged again")
    expect((await s.field(LEVEL, "Comment")).Text == "known", "the comment")
    lines = journal(plant)
    numbers = [line["number"] for line in lines]
    expect(numbers == list(range(numbers[0], numbers[0] + len(numbers))), "numbers of the journal have a gap or come twice")
    own = [line["what"] for line in lines[before:] if line["key"] == LEVEL]
    expect(not own, "it is the same alarm, and nothing is to be told of it", own)


@check("restarts", "an alarm that a reload takes out of the configuration ends for whoever shows it", "OPC 10000-9, 5.5.2")
async def removed(s):
    plant = s.need_plant()
    await s.quiet()
    it = await Events.at(s)
    await s.setpoint(2500)
    event = await it.wait(of(SETPOINT, active=True), what="the alarm")
    expect(event["Retain"] is True, "Retain")
    whole = plant.more
    plant.more = whole.replace("[alarm.setpoint]", "[alarm.renamed]")
    plant.configure()
    said = plant.ask("reload")
    over = await it.wait(of(SETPOINT, active=False), what=f"its end after: {said}")
    expect(over["Retain"] is False and over["ConditionId"] == event["ConditionId"], over["Retain"])
    expect("no longer in the configuration" in over["Message"].Text, over["Message"].Text)
    expect(over["SourceNode"] == event["SourceNode"] and over["EventId"] != event["EventId"], over["SourceNode"])
    last = [line for line in journal(plant) if line["key"] == SETPOINT][-1]
    expect(last["what"] == "ended" and "no longer in the configuration" in last["text"], last)
    plant.more = whole
    plant.configure()
    plant.ask("reload")
    await it.wait(of(SETPOINT, active=True), what="it again, with the configuration from before")
    await it.close()
    await s.quiet()
