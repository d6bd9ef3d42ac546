"""A scene of several plants with different configurations, each started when the first check needs it."""

import asyncio
import time

from asyncua import ua

from . import plant as plants
from .client import OWN, Connection

# Seconds until a change in a trust list must be seen, or a line is in the log.
SEEN = 15


class Several:
    # Why it needs `--canvoy`.
    why = "these checks have a configuration of their own"

    def __init__(self, arguments):
        self.arguments = arguments
        self.plants = {}

    async def __aenter__(self):
        if self.arguments.canvoy is None:
            raise SystemExit(f"--canvoy: {self.why}")
        return self

    async def __aexit__(self, *_):
        for one in self.plants.values():
            one.stop()

    async def after(self, one, answer):
        pass

    def made(self, kind):
        """A plant of this kind that is not started yet."""
        raise NotImplementedError

    def trusts(self, plant):
        """Puts further certificates where the plant finds them."""

    async def plant(self, kind="plain"):
        """The plant of this kind; it trusts the usual certificate."""
        if kind not in self.plants:
            self.plants[kind] = one = self.made(kind)
            one.start()
            one.put("trusted", "checks", OWN.certificate)
            self.trusts(one)
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
