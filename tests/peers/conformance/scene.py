"""What the checks of conformance share: the plant, a session of its operator, and short names for nodes and services."""

import asyncio
import time

from asyncua import ua

from common import plant as plants
from common.check import Skipped
from common.client import Connection, endpoints

ROOT, OBJECTS, TYPES, VIEWS, SERVER = 84, 85, 86, 87, 2253
HIERARCHICAL, NON_HIERARCHICAL, HAS_PROPERTY, ORGANIZES, HAS_COMPONENT = 33, 32, 46, 35, 47
HAS_TYPE_DEFINITION, HAS_SUBTYPE = 40, 45
UNKNOWN = "no.such.Node"


def zero(number):
    """A node of the standard's namespace."""
    return ua.NodeId(number, 0)


class Scene:
    kind = plants.Plant
    # Further text of the plant's configuration.
    more = ""

    def __init__(self, arguments):
        self.arguments = arguments
        self.plant = None
        self.connection = None
        self.url = arguments.url
        self.kept = {}

    async def __aenter__(self):
        if self.url is None:
            if self.arguments.canvoy is None:
                raise SystemExit("--canvoy or --url")
            # any client is let in: who is, is what security.py checks
            options = {"trust_any_client_certificate": True, **self.arguments.option}
            self.plant = self.kind(self.arguments.canvoy, self.more, **options).start()
            self.url = self.plant.url
        try:
            await self.login()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_):
        if self.connection is not None:
            await self.connection.close()
        if self.plant is not None:
            self.plant.stop()

    async def after(self, one, answer):
        """A check may have lost its connection or left subscriptions: the next one has a session like the first."""
        alive = self.connection.is_open and answer["ok"] and one["category"] != "subscriptions"
        if alive:
            try:
                await self.connection.read([zero(2259)])
            except Exception:
                alive = False
        if not alive:
            await self.connection.close()
            for _ in range(30):
                try:
                    await self.login()
                    return
                except Exception:
                    await asyncio.sleep(1)
            raise RuntimeError("the server lets nobody in any more")

    async def login(self):
        self.connection = await self.fresh()
        self.namespaces = await self.connection.value(zero(2255))
        self.namespace = self.namespaces.index(plants.NAMESPACE)

    async def fresh(self, user=plants.USER, password=plants.PASSWORD, **options):
        """A session of its own, the operator's unless told."""
        return await Connection(self.url, **options).session(user, password)

    async def endpoints(self):
        return await endpoints(self.url)

    def node(self, name):
        """A node of ours by its name."""
        return ua.NodeId(name, self.namespace)

    def nodes(self, names):
        return [self.node(one) for one in names]

    async def once(self, what, make):
        """Something costly that several checks look at: made once."""
        if what not in self.kept:
            self.kept[what] = await make()
        return self.kept[what]

    def need_plant(self):
        if self.plant is None:
            raise Skipped("needs a plant that this run started (--canvoy)")
        return self.plant

    async def application_uri(self):
        return (await self.endpoints())[0].Server.ApplicationUri

    async def limit(self, number):
        """An operation limit as advertised; None where there is none."""
        answer = (await self.connection.read([zero(number)]))[0]
        return answer.Value.Value or None if answer.Value is not None else None

    async def ours(self):
        """All variables of ours, found by browsing from Objects: NodeIds."""

        async def walk():
            found, seen, level = [], set(), [zero(OBJECTS)]
            while level:
                below = []
                for node in level:
                    for one in await self.connection.references(node, reference=zero(HIERARCHICAL)):
                        target = ua.NodeId(one.NodeId.Identifier, one.NodeId.NamespaceIndex)
                        if target in seen or one.NodeId.NamespaceIndex == 0 and node == zero(OBJECTS):
                            continue
                        seen.add(target)
                        below.append(target)
                        if one.NodeClass == ua.NodeClass.Variable and target.NamespaceIndex == self.namespace:
                            found.append(target)
                level = below
            return found

        return await self.once("ours", walk)

    async def until(self, what, found, limit=30):
        """Asks again and again until there is an answer."""
        end = time.monotonic() + limit
        while True:
            if answer := await found():
                return answer
            if time.monotonic() > end:
                raise TimeoutError(f"waited {limit} s for {what}")
            await asyncio.sleep(0.05)
