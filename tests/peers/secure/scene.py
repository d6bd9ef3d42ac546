"""What the checks of security share: plants with different [opcua]."""

from common import plant as plants
from common.check import Skipped
from common.client import Connection
from common.several import Several

CONFIGURATIONS = {
    "plain": {},
    "anonymous": {"anonymous_read": True},
    "none": {"security_policy_none": True},
}


class Scene(Several):
    why = "these checks make and change certificate folders of their own plants"

    def made(self, kind):
        return plants.Plant(self.arguments.canvoy, **{**CONFIGURATIONS[kind], **self.arguments.option})

    async def session(self, kind="plain", user=plants.USER, password=plants.PASSWORD, **options):
        plant = await self.plant(kind)
        return await Connection(plant.url, **options).session(user, password)

    def skip(self, why):
        raise Skipped(why)
