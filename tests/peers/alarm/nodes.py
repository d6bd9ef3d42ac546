"""Conditions as nodes: what their types make mandatory, where they hang, where events are told."""

from asyncua import ua

from common import plant as plants
from common.check import check, expect
from conformance.scene import HAS_PROPERTY, HAS_TYPE_DEFINITION, SERVER, zero

from .scene import ENABLED, LATE, LEVEL, SETPOINT, O

HAS_COMPONENT, HAS_CONDITION, HAS_NOTIFIER, HAS_EVENT_SOURCE, HAS_MODELLING_RULE, MANDATORY = 47, 9006, 48, 36, 37, 78
KINDS = {
    SETPOINT: O.ExclusiveLevelAlarmType,
    LEVEL: O.NonExclusiveLimitAlarmType,
    ENABLED: O.OffNormalAlarmType,
    LATE: O.SystemOffNormalAlarmType,
    "bus_off:m": O.SystemOffNormalAlarmType,
}


async def declared(s, of):
    """Names that a type and those above it make mandatory: {path}."""
    found = set()

    async def look(node, above):
        for kind in (HAS_PROPERTY, HAS_COMPONENT):
            for one in await s.connection.references(node, reference=zero(kind), subtypes=False):
                target = ua.NodeId(one.NodeId.Identifier, one.NodeId.NamespaceIndex)
                rules = await s.connection.references(target, reference=zero(HAS_MODELLING_RULE))
                if any(rule.NodeId.Identifier == MANDATORY for rule in rules):
                    path = f"{above}{one.BrowseName.Name}"
                    found.add(path)
                    await look(target, path + "/")

    while True:
        await look(zero(of), "")
        above = await s.connection.references(zero(of), direction=ua.BrowseDirection.Inverse, reference=zero(45))
        if not above or above[0].NodeId.Identifier == O.BaseObjectType:
            return found
        of = above[0].NodeId.Identifier


@check("nodes", "each alarm is an object of its alarm type", "OPC 10000-9, 5.8")
async def types(s):
    for key, kind in KINDS.items():
        found = await s.connection.references(s.condition(key), reference=zero(HAS_TYPE_DEFINITION))
        expect(found and found[0].NodeId.Identifier == kind, key, found)


@check("nodes", "what a type and those above it make mandatory is there, with the same BrowseName, and can be read", "OPC 10000-3, 6.3.3")
async def mandatory(s):
    count = 0
    for key, kind in KINDS.items():
        for path in await declared(s, kind):
            node = s.condition(key, path)
            named = await s.connection.value(node, ua.AttributeIds.BrowseName)
            expect(named == ua.QualifiedName(path.rpartition("/")[2], 0), key, path, named)
            if await s.connection.value(node, ua.AttributeIds.NodeClass) == ua.NodeClass.Variable:
                await s.connection.value(node)
            count += 1
    expect(count > 150, count)
    return f"{count} nodes"


@check("nodes", "values are of the type that DataType says", "OPC 10000-3, 5.6.2")
async def value_types(s):
    kinds = {"ActiveState": ua.LocalizedText, "ActiveState/Id": bool, "EventId": bytes, "Severity": int, "MaxTimeShelved": float, "BranchId": ua.NodeId}
    for path, kind in kinds.items():
        value = await s.field(SETPOINT, path)
        expect(isinstance(value, kind), path, value)
    expect(await s.field(SETPOINT, "HighHighLimit") == 2000.0 and await s.field(SETPOINT, "HighLimit") == 1000.0, "limits")
    expect(await s.field(SETPOINT, "MaxTimeShelved") == 24 * 3600e3, "MaxTimeShelved")
    for path in ("LowLimit", "LowLowLimit"):
        found = (await s.connection.read([s.condition(SETPOINT, path)]))[0]
        expect(found.StatusCode.is_bad(), path, "was not configured")


@check("nodes", "a condition is referred to by its source, which is below a notifier up to Server", "OPC 10000-9, 5.12")
async def sources(s):
    async def to(node, kind, subtypes=False):
        return [one.NodeId.Identifier for one in await s.connection.references(node, reference=zero(kind), subtypes=subtypes)]

    for source, key in ((plants.SETPOINT, SETPOINT), ("m.Late", LATE), ("m", "bus_off:m"), ("Canvoy.Machine", "not_armed:machine")):
        expect(f"Canvoy.Alarms.{key}" in await to(s.node(source), HAS_CONDITION), source, key)
    expect("Canvoy.Machine" in await to(zero(SERVER), HAS_NOTIFIER), "Server")
    expect("m" in await to(s.node("Canvoy.Machine"), HAS_NOTIFIER), "the machine")
    expect("m.Command" in await to(s.node("m"), HAS_NOTIFIER), "the bus")
    expect(plants.SETPOINT in await to(s.node("m.Command"), HAS_EVENT_SOURCE), "the message")
    for node in (zero(SERVER), s.node("Canvoy.Machine"), s.node("m"), s.node("m.Command")):
        expect(await s.connection.value(node, ua.AttributeIds.EventNotifier) == 1, node)


@check("nodes", "methods say their arguments, and who may call them", "OPC 10000-3, 5.7")
async def arguments(s):
    wanted = {
        "AddComment": ["EventId", "Comment"],
        "Acknowledge": ["EventId", "Comment"],
        "Confirm": ["EventId", "Comment"],
        "ShelvingState/TimedShelve": ["ShelvingTime"],
    }
    for method, names in wanted.items():
        found = await s.field(SETPOINT, method + "/InputArguments")
        expect([one.Name for one in found] == names, method, found)
    for method in [*wanted, "Enable", "Disable", "ShelvingState/OneShotShelve", "ShelvingState/Unshelve"]:
        for attribute in (ua.AttributeIds.Executable, ua.AttributeIds.UserExecutable):
            expect(await s.connection.value(s.condition(SETPOINT, method), attribute) is True, method)
