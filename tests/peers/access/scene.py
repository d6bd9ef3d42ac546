"""The plant of the checks of roles: a user for each role, an application with a role, parts that are hidden or narrowed away."""

import asyncio

from common import plant as plants
from common.certificates import Identity
from common.client import OWN, Connection

SCADA = Identity.self_signed("Scada", "urn:plant:scada", role="scada")
PASSWORD = "one password for all of them"
# A column of the table: who logs in and how. `scada` shows no name, but a certificate that is known.
WHO = ["scada", "guest", "observer", "shift-1", "engineer", "admin"]
ROLES = """
[role.Observer]
users = ["obs*"]
applications = ["urn:plant:scada"]
see = ["m.Status", "m.Command", "m.Cycle"]

[role.Operator]
users = ["shift-*"]
write = ["machine", "m.Command.*"]

[role.Engineer]
users = ["engineer"]

[role.SecurityAdmin]
users = ["admin"]
"""

class Scene:
    def __init__(self, arguments):
        self.arguments = arguments
        self.plant = None
        self.open = {}

    async def __aenter__(self):
        if self.arguments.canvoy is None:
            raise SystemExit("--canvoy: these checks start a plant with roles of its own")
        self.plant = plants.Plant(self.arguments.canvoy, ROLES + plants.ALARM_LINES, **self.arguments.option)
        for user in WHO[1:]:
            self.plant.ask("user", "add", "users", user, text=PASSWORD + "\n")
        self.plant.start()
        for name, identity in (("own", OWN), ("scada", SCADA)):
            self.plant.put("trusted", name, identity.certificate)
        # trust lists are read anew within a second or two
        await asyncio.sleep(3)
        return self

    async def __aexit__(self, *_):
        for one in self.open.values():
            await one.close()
        if self.plant is not None:
            self.plant.stop()

    async def after(self, one, answer):
        pass

    async def session(self, who):
        """The session of one column, opened once."""
        if who not in self.open:
            if who == "scada":
                self.open[who] = await Connection(self.plant.url, identity=SCADA).session()
            else:
                self.open[who] = await Connection(self.plant.url).session(who, PASSWORD)
        return self.open[who]

    def lines(self, *words):
        """Lines of the log that have all these words."""
        return [line for line in self.plant.log().splitlines() if all(word in line for word in words)]
