#!/usr/bin/env python3
"""The information model, seen by asyncua: types and instances, companion specifications, the NodeSet file. One JSON line a check.

By hand: .testenv/venv/bin/python tests/peers/model.py --canvoy /…/target/debug/canvoy [--only round_trip]
"""

import asyncio
import sys
from pathlib import Path

from asyncua import Server, ua

import companions
from common import check as checks
from common.check import Skipped, check, expect
from common.session import Session
from conformance.scene import Scene

HERE = Path(__file__).parent
# the official NodeSets: in a package that the peers' package.json names
NODE_SETS = HERE.parent.parent / ".testenv/node/node_modules/node-opcua-nodesets/nodesets"
DI, MACHINERY = "http://opcfoundation.org/UA/DI/", "http://opcfoundation.org/UA/Machinery/"
MANDATORY, OPTIONAL = ua.NodeId(78), ua.NodeId(80)
HAS_RULE, HAS_TYPE, HAS_SUBTYPE = ua.NodeId(37), ua.NodeId(40), ua.NodeId(45)


def node_sets():
    if not NODE_SETS.exists():
        raise Skipped(f"no {NODE_SETS}")
    return NODE_SETS


async def references(session, node, kind=None, direction=ua.BrowseDirection.Forward):
    kind = kind or ua.NodeId(ua.ObjectIds.References)
    return await session.get_node(node).get_references(kind, direction, includesubtypes=True)


def plain(node):
    return ua.NodeId(node.Identifier, node.NamespaceIndex)


def named(one):
    return one.BrowseName.NamespaceIndex, one.BrowseName.Name


def pair(node):
    return node.NamespaceIndex, node.Identifier


async def walk(session, start):
    """All nodes below by hierarchical references: {NodeId: description}."""
    found, open_nodes = {}, [start]
    while open_nodes:
        below = []
        for node in open_nodes:
            for one in await references(session, node, ua.NodeId(ua.ObjectIds.HierarchicalReferences)):
                target = plain(one.NodeId)
                if target not in found:
                    found[target] = one
                    below.append(target)
        open_nodes = below
    return found


class Declared:
    """What types declare, asked once for each."""

    def __init__(self, session):
        self.session, self.known = session, {}

    async def of(self, node):
        """{name: (NodeId, description, mandatory)} of a type or a declaration, those of supertypes included."""
        if node in self.known:
            return self.known[node]
        found = {}
        for one in await references(self.session, node):
            if one.NodeClass not in (ua.NodeClass.Object, ua.NodeClass.Variable) or one.ReferenceTypeId in (HAS_TYPE, HAS_RULE):
                continue
            rules = [plain(rule.NodeId) for rule in await references(self.session, plain(one.NodeId), HAS_RULE)]
            if MANDATORY in rules or OPTIONAL in rules:
                found[named(one)] = (plain(one.NodeId), one, MANDATORY in rules)
        for one in await references(self.session, node, HAS_SUBTYPE, ua.BrowseDirection.Inverse):
            found = {**await self.of(plain(one.NodeId)), **found}
        self.known[node] = found
        return found


async def derives(session, node, of):
    """Whether a type is the other, or below it."""
    node = plain(node)
    while node != plain(of):
        up = await references(session, node, HAS_SUBTYPE, ua.BrowseDirection.Inverse)
        if not up:
            return False
        node = plain(up[0].NodeId)
    return True


async def conforms(session, declared, instance, of):
    """Each mandatory declaration of a type is on its instance, of its class, type and data type; how many."""
    wanted = await declared.of(of)
    children = {named(one): one for one in await references(session, instance, ua.NodeId(ua.ObjectIds.HierarchicalReferences))}
    count = 0
    for name, (node, one, mandatory) in wanted.items():
        found = children.get(name)
        if found is None:
            expect(not mandatory, instance, "has no", name)
            continue
        count += 1
        expect(found.NodeClass == one.NodeClass, instance, name, found.NodeClass)
        expect(await derives(session, found.TypeDefinition, one.TypeDefinition), instance, name, found.TypeDefinition)
        expect(await derives(session, found.ReferenceTypeId, one.ReferenceTypeId), instance, name, found.ReferenceTypeId)
        if one.NodeClass == ua.NodeClass.Variable:
            both = [await session.get_node(each).read_data_type() for each in (node, plain(found.NodeId))]
            expect(both[0] == both[1], instance, name, both)
        count += await conforms(session, declared, plain(found.NodeId), node)
    return count


@check("model", "each mandatory declaration of a type is on each of its instances", "OPC 10000-3, 6.4.4", limit=600)
async def declarations(s):
    async with Session(s) as session:
        declared, count, instances = Declared(session), 0, 0
        for node, one in (await walk(session, ua.NodeId(ua.ObjectIds.ObjectsFolder))).items():
            if node.NamespaceIndex != s.namespace or one.TypeDefinition.NamespaceIndex == 0:
                continue
            instances += 1
            count += await conforms(session, declared, node, plain(one.TypeDefinition))
        expect(instances > 5 and count > 50, instances, count)
        return f"{count} declarations on {instances} instances"


@check("model", "devices are below DeviceSet, of types that derive from DI's DeviceType", "OPC 10000-100, 5.9")
async def devices(s):
    async with Session(s) as session:
        di = await session.get_namespace_index(DI)
        found = await references(session, ua.NodeId(5001, di), ua.NodeId(ua.ObjectIds.HierarchicalReferences))
        expect(found, "no device")
        for one in found:
            up = await references(session, plain(one.TypeDefinition), HAS_SUBTYPE, ua.BrowseDirection.Inverse)
            expect([plain(each.NodeId) for each in up] == [ua.NodeId(1002, di)], one.BrowseName, up)
            messages = [each for each in await references(session, plain(one.NodeId)) if each.NodeClass == ua.NodeClass.Object]
            expect(messages, one.BrowseName, "has no messages")
        names = [one.BrowseName.Name for one in found]
        expect(len(names) == len(set(names)), names)
        return ", ".join(names)


@check("model", "DataTypeDefinitions of the plant's own data types make Python types", "OPC 10000-3, 8.47")
async def data_types(s):
    async with Session(s) as session:
        made = await session.load_data_type_definitions()
        state = ua.NodeId("Canvoy.CanBusState", s.namespace)
        definition = await session.get_node(state).read_data_type_definition()
        names = [field.Name for field in definition.Fields]
        expect(names == ["Gone", "Down", "ErrorActive", "ErrorWarning", "ErrorPassive", "BusOff"], names)
        expect(hasattr(ua, "CanBusState"), made)
        value = await session.get_node(ua.NodeId("Canvoy.Buses.m.State", s.namespace)).read_value()
        expect(value == 2, value)
        strings = await session.get_node(ua.NodeId("Canvoy.CanBusState.EnumStrings", s.namespace)).read_value()
        expect([one.Text for one in strings] == names, strings)
        return ", ".join(names)


@check("model", "the load of a bus is a percentage with unit and range", "OPC 10000-8, 5.3.2")
async def bus_load(s):
    async with Session(s) as session:
        def node(name):
            return session.get_node(ua.NodeId(f"Canvoy.Buses.{name}", s.namespace))

        async def read(name):
            return await node(name).read_attribute(ua.AttributeIds.Value, raise_on_bad_status=False)

        for _ in range(100):
            peak = await read("m.LoadPeak")
            if peak.StatusCode.is_good():
                break
            await asyncio.sleep(0.1)
        load = await read("m.Load")
        expect(load.StatusCode.is_good() and 0 < load.Value.Value < 100, load)
        peak = await read("m.LoadPeak")
        expect(peak.StatusCode.is_good() and load.Value.Value <= peak.Value.Value < 100, load, peak)
        for name in ("m.Load", "m.LoadPeak"):
            expect(await node(name).read_type_definition() == ua.NodeId(ua.ObjectIds.AnalogUnitType), name)
            limits, unit = (await read(f"{name}.EURange")).Value.Value, (await read(f"{name}.EngineeringUnits")).Value.Value
            # UNECE code P1, percent
            expect((limits.Low, limits.High) == (0, 100) and unit.DisplayName.Text == "%" and unit.UnitId == 20529, name, limits, unit)
        return f"{load.Value.Value:.1f} %, highest {peak.Value.Value:.1f} %"


@check("model", "what is served of DI and Machinery is as their NodeSets have it", "OPC 10000-100, OPC 40001-1", limit=300)
async def official(s):
    folder = node_sets()
    sets = companions.node_set(folder / "Opc.Ua.Di.NodeSet2.xml") | companions.node_set(folder / "Opc.Ua.Machinery.NodeSet2.xml")
    classes = {"Object": ua.NodeClass.Object, "Variable": ua.NodeClass.Variable, "ObjectType": ua.NodeClass.ObjectType}
    async with Session(s) as session:
        served = {}
        for node, one in (await walk(session, ua.NodeId(ua.ObjectIds.RootFolder))).items():
            if node.NamespaceIndex in (3, 4):
                served[node] = one
        for node, one in served.items():
            official = sets.get((node.NamespaceIndex, node.Identifier))
            expect(official is not None, node, "is in no NodeSet")
            expect(one.NodeClass == classes[official["class"]], node, one.NodeClass)
            expect((one.BrowseName.NamespaceIndex, one.BrowseName.Name) == official["name"], node, one.BrowseName)
            both = await references(session, node, direction=ua.BrowseDirection.Both)
            ours = {(pair(one.ReferenceTypeId), one.IsForward, pair(one.NodeId)) for one in both}
            for kind, forward, other in official["references"]:
                known = other[0] == 0 or ua.NodeId(other[1], other[0] or 0) in served
                if kind[0] == 0 and known and not (kind[1] in (37, 40) and not forward):
                    expect((kind, forward, other) in ours, node, "lacks", kind, forward, other)
            if one.NodeClass == ua.NodeClass.Variable:
                found = await session.get_node(node).read_data_type()
                expect((found.NamespaceIndex, found.Identifier) == official["data_type"], node, found)
                rank = await session.get_node(node).read_value_rank()
                expect(int(rank) == official["rank"], node, rank)
        expect(len(served) > 100, len(served))
        return f"{len(served)} nodes"


@check("model", "the NodeSet file loads into another server, which then browses the same", "OPC 10000-6, F", limit=300)
async def round_trip(s):
    folder, plant = node_sets(), s.need_plant()
    file = plant.folder / "plant.NodeSet2.xml"
    file.write_text(plant.ask("tags", "--nodeset", "plant.toml"))
    server = Server()
    await server.init()
    # asyncua has an older standard than these; what it cannot take of them is not ours
    await server.import_xml(folder / "Opc.Ua.Di.NodeSet2.xml", strict_mode=False)
    if "http://opcfoundation.org/UA/Machinery/" in file.read_text():
        await server.import_xml(folder / "Opc.Ua.IA.NodeSet2.xml", strict_mode=False)
        await server.import_xml(folder / "Opc.Ua.Machinery.NodeSet2.xml", strict_mode=False)
    await server.import_xml(file)
    uris = await server.get_namespace_array()
    index = {s.namespaces.index(uri): uris.index(uri) for uri in s.namespaces if uri in uris}

    def there(node):
        return ua.NodeId(node.Identifier, index[node.NamespaceIndex])

    async with Session(s) as session:
        served = await walk(session, ua.NodeId(ua.ObjectIds.RootFolder))
        count = 0
        for node, one in served.items():
            # sources of J1939 are seen by their frames only
            if node.NamespaceIndex != s.namespace or "@" in str(node.Identifier) and "@J1939" not in str(node.Identifier):
                continue
            count += 1
            other = server.get_node(there(node))
            name = await other.read_browse_name()
            expect(name.Name == one.BrowseName.Name and name.NamespaceIndex == index[one.BrowseName.NamespaceIndex], node, name)
            expect(await other.read_node_class() == one.NodeClass, node)
            ends = []
            both = ua.BrowseDirection.Both
            for browsed, of in ((await references(session, node, direction=both), there), (await other.get_references(direction=both), plain)):
                # types and rules do not list who is of them
                listed = [one for one in browsed if one.IsForward or one.ReferenceTypeId not in (HAS_TYPE, HAS_RULE)]
                kept = [one for one in listed if "@" not in str(one.NodeId.Identifier) or "@J1939" in str(one.NodeId.Identifier)]
                ends.append({(one.ReferenceTypeId.Identifier, one.IsForward, of(one.NodeId)) for one in kept})
            expect(ends[0] == ends[1], node, sorted(map(str, ends[0] ^ ends[1]))[:4])
            if one.NodeClass == ua.NodeClass.Variable:
                data_type = await session.get_node(node).read_data_type()
                expect(await other.read_data_type() == there(data_type), node, data_type)
        expect(count > 200, count)
        return f"{count} nodes"


if __name__ == "__main__":
    sys.exit(checks.main(checks.options(__doc__), Scene))
