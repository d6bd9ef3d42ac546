"""What outlives the plant process: states, and a journal without a gap."""

import json
import os
import signal

from common.check import check, expect

from .scene import SETPOINT, Events, of


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
