"""What the checks of security share: plants with different [opcua], and who is let in by them."""

import asyncio
import time

from asyncua import ua

from common import plant as plants
from common.check import Skipped
from common.client import OWN, Connection

# Seconds until a change in a trust list must be seen.
SEEN = 15
# The configurations, one plant each, started when the first check needs it.
CONFIGURATIONS = {
    "plain": {},
    "anonymous": {"anonymous_read": True},
    "none": {"security_policy_none": True},
}


class Scene:
    def __init__(self, arguments):
        self.arguments = arguments
        self.plants = {}

    async def __aenter__(self):
        if self.arguments.canvoy is None:
            raise SystemExit("--canvoy: these checks make and change certificate folders of their own plants")
        return self

    async def __aexit__(self, *_):
        for one in self.plants.values():
            one.stop()

    async def after(self, one, answer):
        pass

    async def plant(self, kind="plain"):
        """The plant of this configuration; it trusts the usual certificate."""
        if kind not in self.plants:
            one = plants.Plant(self.arguments.canvoy, **{**CONFIGURATIONS[kind], **self.arguments.option})
            self.plants[kind] = one
            one.start()
            one.put("trusted", "checks", OWN.certificate)
            await self.admitted(one, OWN)
        return self.plants[kind]

    async def attempt(self, plant, identity, user=plants.USER, password=plants.PASSWORD, **options):
        """Connects as this application: ("in", "Good") or where it was refused and with what."""
        one = Connection(plant.url, identity=identity, limit=10, **options)
        step = "channel"
        try:
            await one.channel()
            step = "CreateSession"
            await one.create()
            step = "ActivateSession"
            await one.activate(user, password)
            step = "Read"
            await one.read([ua.NodeId(2259, 0)])
            return "in", "Good"
        except ua.UaStatusCodeError as error:
            return step, ua.StatusCode(error.code).name
        except (ConnectionError, OSError, asyncio.TimeoutError) as error:
            return step, f"{type(error).__name__} {error}".strip()
        finally:
            await one.close()

    async def admitted(self, plant, identity, **options):
        """Waits until the application is let in: the trust lists are read without a restart."""
        end = time.monotonic() + SEEN
        while (said := await self.attempt(plant, identity, **options))[0] != "in":
            if time.monotonic() > end:
                raise AssertionError(f"not let in within {SEEN} s: {said}")
            await asyncio.sleep(0.3)

    async def refused(self, plant, identity, steps=("channel",), **options):
        """Waits until it is refused, at one of these steps, with a status or a closed connection; what was said."""
        end = time.monotonic() + SEEN
        while (said := await self.attempt(plant, identity, **options))[0] not in steps:
            if time.monotonic() > end:
                raise AssertionError(f"expected a refusal at {' or '.join(steps)}, but: {said}")
            await asyncio.sleep(0.3)
        return " ".join(said)

    async def session(self, kind="plain", user=plants.USER, password=plants.PASSWORD, **options):
        plant = await self.plant(kind)
        return await Connection(plant.url, **options).session(user, password)

    def skip(self, why):
        raise Skipped(why)
