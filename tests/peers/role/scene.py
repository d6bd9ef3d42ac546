"""A plant with every role, each narrowed, and a user of each; what an operation is answered with."""

import datetime
import hashlib
import json

from asyncua import ua

from common import plant as plants
from common.certificates import Identity
from common.client import Connection, name
from common.several import Several
from common.subscription import Subscription

PASSWORD = "one password for all of them"
# The name that each role is logged in by; AuthenticatedUser is who has none of the others.
USERS = {
    "Anonymous": None,
    "AuthenticatedUser": plants.SECOND_USER,
    "Observer": "olga",
    "Operator": "shift-1",
    "Engineer": "emil",
    "SecurityAdmin": "sven",
}
# m.Floats is hidden from all but the Engineer; the Operator writes m.Command and arms.
SEEN = ["m.Status.*", "m.Command.*", "m.Cycle.*", "m.Heartbeat.*", "m.Late.*", "machine"]
SECTIONS = {
    "Anonymous": {"see": SEEN},
    "AuthenticatedUser": {"see": SEEN},
    "Observer": {"users": ["olga"], "see": SEEN},
    "Operator": {"users": ["shift-*"], "see": SEEN, "write": ["m.Command.*", "machine"]},
    "Engineer": {"users": ["emil"]},
    "SecurityAdmin": {"users": ["sven"], "see": SEEN},
}
HIDDEN = plants.SINGLE
# Two more: an Observer who sees one message, and roles of a certificate and of an application.
NARROW = {"Observer": {"users": ["olga"], "see": ["m.Status.*"]}, "Engineer": {"users": ["emil"]}}
PERSON = Identity.user("Paula", role="paula")
SCADA = Identity.self_signed("SCADA", uri="urn:plant:scada", role="scada")
SHOWN = {
    "Operator": {"users": ["olga"], "applications": [SCADA.uri]},
    "Engineer": {"certificates": [hashlib.sha1(PERSON.certificate).hexdigest()]},
    "SecurityAdmin": {"users": ["Paula"]},
}
# An Engineer of a part: what an argument names counts as what is written does.
ARGUED = {"Engineer": {"users": ["emil"], "see": ["m.Status.*", "m.Command.*"], "write": ["m.Status.Speed", "m.Command.*", "machine"]}}
# A route to a bus that is not among that.
ROUTE = """
[bus.n]
virtual = true

[route.over]
from = "m"
to = "n"
message = "Heartbeat"
"""
KINDS = {"argued": ARGUED, "roles": SECTIONS, "narrow": NARROW, "shown": SHOWN, "plain": {}}
SERVER, OBJECTS = ua.NodeId(ua.ObjectIds.Server, 0), ua.NodeId(ua.ObjectIds.ObjectsFolder, 0)


def sections(of):
    """The sections of a configuration."""
    lines = [(f"\n[role.{role}]", [f"{key} = {json.dumps(value)}" for key, value in keys.items()]) for role, keys in of.items()]
    return "\n".join("\n".join([head, *keys]) for head, keys in lines) + "\n"


class Scene(Several):
    def made(self, kind):
        """The plant with these roles."""
        one = plants.Plant(self.arguments.canvoy, more=sections(KINDS[kind]) + (ROUTE if kind == "argued" else ""), anonymous_read=kind != "shown")
        for user in USERS.values():
            if user not in (None, plants.SECOND_USER):
                one.ask("user", "add", "users", user, text=PASSWORD + "\n")
        return one

    def trusts(self, plant):
        plant.put("trusted", "scada", SCADA.certificate)
        plant.put("users_trusted", "paula", PERSON.certificate)

    async def plant(self, kind="roles"):
        return await super().plant(kind)

    async def session(self, role, kind="roles"):
        plant = await self.plant(kind)
        one = await Connection(plant.url).session(USERS[role], self.password(role))
        one.space = (await one.value(ua.NodeId(ua.ObjectIds.Server_NamespaceArray, 0))).index(plants.NAMESPACE)
        return one

    def password(self, role):
        user = USERS[role]
        return None if user is None else plants.SECOND_PASSWORD if user == plants.SECOND_USER else PASSWORD


def node(one, text):
    return ua.NodeId(text, one.space)


def number(number):
    return ua.NodeId(number, 0)


async def status(one, of, attribute=ua.AttributeIds.Value):
    """The status of what is read, but for how good the value is: of that only whether there is one."""
    answer = (await one.read([of], attribute))[0]
    said = name(answer.StatusCode)
    refused = ("BadUserAccessDenied", "BadNodeIdUnknown", "BadAttributeIdInvalid", "BadNotReadable")
    return said if said in refused else "Good"


async def call(one, on, method, *arguments):
    """What a call says: where it is an argument that is wrong, what is said of the first such."""
    found = await one.call(on, method, *[ua.Variant(*each) for each in arguments])
    wrong = [name(each) for each in found.InputArgumentResults or [] if each.is_bad()]
    return wrong[0] if wrong else name(found.StatusCode)


async def history(one, of):
    end = datetime.datetime.now(datetime.timezone.utc)
    details = ua.ReadRawModifiedDetails(IsReadModified=False, StartTime=ua.get_win_epoch(), EndTime=end, NumValuesPerNode=5, ReturnBounds=False)
    wanted = [ua.HistoryReadValueId(NodeId=of)]
    found = await one.service(
        "HistoryRead", HistoryReadDetails=details, TimestampsToReturn=ua.TimestampsToReturn.Both, ReleaseContinuationPoints=False, NodesToRead=wanted
    )
    return name(found[0].StatusCode)


async def watched(one, of, **options):
    """What CreateMonitoredItems says of one item; the subscription is deleted again."""
    it = await Subscription.create(one)
    said = name((await it.items([of], **options))[0].StatusCode)
    await it.delete()
    return said


async def translated(one, start, *path):
    """What TranslateBrowsePaths says of names in the plant's namespace."""
    return name((await one.path(start, *[ua.QualifiedName(each, one.space) for each in path])).StatusCode)
