#!/usr/bin/env python3
"""All that is served, beside what the official NodeSets declare of the types that it is of. One JSON line a check.

Types of the standard, of DI and of Machinery are read from their files, not from the server: what it left out of them it owes its
instances all the same. Those of the plant are read from it.

By hand: .testenv/venv/bin/python tests/peers/declared.py --canvoy /…/target/debug/canvoy [--only mandatory]
"""

import sys
from pathlib import Path

from asyncua import ua

import companions
from common import check as checks
from common import plant as plants
from common.check import Skipped, check, expect
from common.session import Session
from conformance import scene

# the official NodeSets: in a package that the peers' package.json names
NODE_SETS = Path(__file__).parent.parent.parent / ".testenv/node/node_modules/node-opcua-nodesets/nodesets"
FILES = ["Opc.Ua.NodeSet2.xml", "Opc.Ua.Di.NodeSet2.xml", "Opc.Ua.Machinery.NodeSet2.xml"]
ROOT, OBJECTS = (0, 84), (0, 85)
HAS_RULE, HAS_TYPE, HAS_SUBTYPE, HAS_PROPERTY, HAS_INTERFACE = (0, 37), (0, 40), (0, 45), (0, 46), (0, 17603)
# HasEventSource, HasNotifier: they tell where events come from, and name nothing
EVENTS = [(0, 36), (0, 48)]
HIERARCHICAL, AGGREGATES = (0, 33), (0, 44)
MANDATORY, OPTIONAL = (0, 78), (0, 80)
# ExposesItsArray, the placeholders and the two above: all the rules there are (OPC 10000-3, 6.4.4.4)
RULES = [MANDATORY, OPTIONAL, (0, 83), (0, 11508), (0, 11510)]
INSTANCES = ("Object", "Variable", "Method")
TYPES = ("ObjectType", "VariableType", "DataType", "ReferenceType")
# a batch of what one request may ask
BATCH = 500


def pair(node):
    return node.NamespaceIndex, node.Identifier


class Model:
    """Nodes by (namespace, identifier), each with class, BrowseName, data type, rank and all references both ways."""

    def __init__(self, nodes):
        self.nodes = nodes
        self.declarations = {}

    def to(self, node, kind, forward=True):
        found = self.nodes[node]["references"] if node in self.nodes else []
        return [other for of, ahead, other in found if of == kind and ahead == forward]

    def up(self, node):
        return next(iter(self.to(node, HAS_SUBTYPE, False)), None)

    def derives(self, node, of):
        while node is not None and node != of:
            node = self.up(node)
        return node == of

    def children(self, node):
        """{BrowseName: [(reference type, node)]} by hierarchical references."""
        found = {}
        for kind, forward, other in self.nodes[node]["references"]:
            if forward and kind != HAS_SUBTYPE and kind not in EVENTS and other in self.nodes and self.derives(kind, HIERARCHICAL):
                found.setdefault(self.nodes[other]["name"], []).append((kind, other))
        return found

    def declared(self, of):
        """{BrowseName: (reference type, declaration, rule)} of a type or a declaration, what is inherited included."""
        if of in self.declarations:
            return self.declarations[of]
        found = {}
        # what is more special goes before what it derives from and what it implements
        for above in [self.up(of), *self.to(of, HAS_INTERFACE)]:
            found.update(self.declared(above) if above in self.nodes else {})
        for name, below in self.children(of).items() if of in self.nodes else ():
            for kind, other in below:
                for rule in self.to(other, HAS_RULE):
                    if self.nodes[other]["class"] in INSTANCES:
                        found[name] = (kind, other, rule)
        self.declarations[of] = found
        return found


def official():
    """The official NodeSets as one."""
    if not NODE_SETS.exists():
        raise Skipped(f"no {NODE_SETS}")
    nodes = {}
    for file in FILES:
        nodes |= companions.node_set(NODE_SETS / file)
    for one, node in list(nodes.items()):
        for kind, forward, other in node["references"]:
            if other in nodes and (kind, not forward, one) not in nodes[other]["references"]:
                nodes[other]["references"].append((kind, not forward, one))
    return nodes


async def in_batches(all_of, ask):
    found = []
    for at in range(0, len(all_of), BATCH):
        found += await ask(all_of[at : at + BATCH])
    return found


async def served(s):
    """All nodes that a walk from Root by hierarchical references meets, and those that these refer to."""
    async with Session(s) as session:
        # alarms of a plant at work come and go; what is here does not
        async def browse(nodes):
            about = [ua.BrowseDescription(ua.NodeId(name, of), ua.BrowseDirection.Both, ua.NodeId(31), True, 0, 63) for of, name in nodes]
            results = await session.uaclient.browse(ua.BrowseParameters(ua.ViewDescription(), 0, about))
            found = []
            for result in results:
                result.StatusCode.check()
                references = list(result.References or [])
                while result.ContinuationPoint:
                    more = ua.BrowseNextParameters(False, [result.ContinuationPoint])
                    [result] = await session.uaclient.browse_next(more)
                    references += result.References or []
                found.append(references)
            return found

        async def read(nodes, attribute):
            async def ask(some):
                wanted = [ua.ReadValueId(ua.NodeId(name, of), attribute) for of, name in some]
                return await session.uaclient.read(ua.ReadParameters(0, ua.TimestampsToReturn.Neither, wanted))

            return await in_batches(nodes, ask)

        nodes, level = {}, [ROOT]
        while level:
            below = []
            for one, references in zip(level, await in_batches(level, browse)):
                node = nodes.setdefault(one, {})
                node["references"] = [(pair(each.ReferenceTypeId), each.IsForward, pair(each.NodeId)) for each in references]
                node["seen"] = [(pair(each.NodeId), each.NodeClass, each.BrowseName, pair(each.TypeDefinition)) for each in references]
                for each in references:
                    if pair(each.NodeId) not in nodes:
                        nodes[pair(each.NodeId)] = {}
                        below.append(pair(each.NodeId))
            level = below
        every = list(nodes)
        for attribute, key in ((ua.AttributeIds.NodeClass, "class"), (ua.AttributeIds.BrowseName, "name")):
            for one, value in zip(every, await read(every, attribute)):
                value.StatusCode.check()
                found = value.Value.Value
                nodes[one][key] = ua.NodeClass(found).name if key == "class" else (found.NamespaceIndex, found.Name)
        variables = [one for one in every if nodes[one]["class"] in ("Variable", "VariableType")]
        kinds = (ua.AttributeIds.DataType, "data_type"), (ua.AttributeIds.ValueRank, "rank"), (ua.AttributeIds.ArrayDimensions, "dimensions")
        for attribute, key in kinds:
            for one, value in zip(variables, await read(variables, attribute)):
                if value.StatusCode.is_good():
                    found = value.Value.Value
                    nodes[one][key] = pair(found) if key == "data_type" else found
        for one in nodes.values():
            one.setdefault("data_type", None)
        return nodes


async def both(s):
    """What is served; and the types: the official ones, with those of the plant."""

    async def make():
        nodes, standard = await served(s), official()
        ours = {one: node for one, node in nodes.items() if one[0] in (1, s.namespace)}
        # what of the plant derives from the standard
        for one, node in ours.items():
            for kind, forward, other in node["references"]:
                if kind == HAS_SUBTYPE and not forward and other in standard:
                    standard[other]["references"].append((HAS_SUBTYPE, True, one))
        return Model(nodes), Model({**standard, **ours})

    return await s.once("both", make)


def fits_rank(rank, wanted):
    """OPC 10000-3, 6.2.7: what a declaration leaves open may be narrowed."""
    return rank == wanted or wanted == -2 or wanted == -3 and rank in (-1, 1) or wanted == 0 and rank >= 1


def compare(plant, types, instance, wanted, below, wrong):
    """What a node declares, on its instance; how many of them are there."""
    count, children = 0, plant.children(instance)
    for name, (kind, declaration, rule) in wanted.items():
        if rule not in (MANDATORY, OPTIONAL):
            continue
        found = children.get(name)
        if found is None:
            if rule == MANDATORY:
                wrong.append(f"{instance} has no {name}")
            continue
        count += 1
        (reference, child), declared = found[0], types.nodes[declaration]
        node = plant.nodes[child]
        if len({other for _, other in found}) != 1:
            wrong.append(f"{instance} has {name} more than once")
        if not any(types.derives(each, kind) for each, _ in found):
            wrong.append(f"{instance} {name} by {reference} and not {kind}")
        if node["class"] != declared["class"]:
            wrong.append(f"{child} is {node['class']} and not {declared['class']}")
            continue
        if node["class"] == "Variable":
            # DI's ModelVersion is a String, against the standard's own NamespaceMetadataType: as its file has it
            as_published = child in types.nodes and types.nodes[child]["data_type"] == node["data_type"] and child[0] in (0, 3, 4)
            if not as_published and not types.derives(node["data_type"], declared["data_type"]):
                wrong.append(f"{child} is of {node['data_type']} and not {declared['data_type']}")
            if not fits_rank(node["rank"], declared["rank"]):
                wrong.append(f"{child} has rank {node['rank']} and not {declared['rank']}")
        if node["class"] != "Method":
            own, of = plant.to(child, HAS_TYPE), types.to(declaration, HAS_TYPE)
            if not (own and of and types.derives(own[0], of[0])):
                wrong.append(f"{child} is a {own} and not a {of}")
        # a method of a type serves its instances (OPC 10000-3, 6.4.4.4.1), and a type may be its own instance of one
        if child != declaration and declaration not in below:
            count += compare(plant, types, child, types.declared(declaration), [*below, declaration], wrong)
    return count


def instances(plant, types):
    """Objects and variables that are not there to declare something."""
    open_nodes, found = [OBJECTS], {OBJECTS}
    while open_nodes:
        node = open_nodes.pop()
        for below in plant.children(node).values():
            for _, other in below:
                if other not in found and plant.nodes[other]["class"] in INSTANCES:
                    found.add(other)
                    open_nodes.append(other)
    return found


def said(wrong):
    expect(not wrong, len(wrong), "wrong:", "; ".join(map(str, wrong[:12])))


@check("declared", "each mandatory declaration of the official types and interfaces is on each instance, as declared", "OPC 10000-3, 6.4.4", limit=600)
async def mandatory(s):
    plant, types = await both(s)
    wrong, count, of = [], 0, set()
    every = instances(plant, types)
    for one in every:
        for definition in plant.to(one, HAS_TYPE):
            of.add(definition)
            if definition not in types.nodes:
                wrong.append(f"{one} is of {definition}, which is declared nowhere")
            count += compare(plant, types, one, types.declared(definition), [], wrong)
        for interface in plant.to(one, HAS_INTERFACE):
            count += compare(plant, types, one, types.declared(interface), [], wrong)
    said(wrong)
    expect(count > 3000 and len(of) > 40, count, len(of))
    return f"{count} declarations on {len(every)} nodes of {len(of)} types"


@check("declared", "variables are of the data type and rank of their VariableType, dimensions of the rank", "OPC 10000-3, 5.6.2 and 6.2.7", limit=300)
async def variables(s):
    plant, types = await both(s)
    wrong, count = [], 0
    for one in instances(plant, types):
        node = plant.nodes[one]
        if node["class"] != "Variable":
            continue
        count += 1
        [definition] = plant.to(one, HAS_TYPE)
        declared = types.nodes[definition]
        if not types.derives(node["data_type"], declared["data_type"]):
            wrong.append(f"{one} is of {node['data_type']}, its type {definition} of {declared['data_type']}")
        if not fits_rank(node["rank"], declared["rank"]):
            wrong.append(f"{one} has rank {node['rank']}, its type {definition} {declared['rank']}")
        if node.get("dimensions") and len(node["dimensions"]) != node["rank"]:
            wrong.append(f"{one} has dimensions {node['dimensions']} of rank {node['rank']}")
    said(wrong)
    expect(count > 1500, count)
    return f"{count} variables"


@check("declared", "the standard's types declare what the official ones have as mandatory", "OPC 10000-3, 6.4.4", limit=300)
async def whole(s):
    plant, types = await both(s)
    wrong, count = [], 0
    for one, node in plant.nodes.items():
        if one[0] == s.namespace or node["class"] not in ("ObjectType", "VariableType") or one not in types.nodes:
            continue
        count += 1
        there = plant.declared(one)
        wrong += [f"{one} {node['name']} lacks {name}" for name, (_, _, rule) in types.declared(one).items() if rule == MANDATORY and name not in there]
    said(wrong)
    return f"{count} types"


@check("declared", "the plant's types have rules, and override what they inherit with what derives from it", "OPC 10000-3, 6.3.3 and 6.4.4", limit=300)
async def own_types(s):
    plant, types = await both(s)
    wrong, count = [], 0

    def rules(node, below):
        number = 0
        for found in plant.children(node).values():
            for kind, other in found:
                if plant.nodes[other]["class"] not in INSTANCES or not types.derives(kind, AGGREGATES) or other[0] != s.namespace:
                    continue
                number += 1
                rule = plant.to(other, HAS_RULE)
                # a property that describes the type itself has none (OPC 10000-3, 6.2.6): NodeVersion, EnumStrings
                describes = kind == HAS_PROPERTY and plant.nodes[other]["name"][0] == 0 and not rule
                if not describes and (len(rule) != 1 or rule[0] not in RULES):
                    wrong.append(f"{other} has the rules {rule}")
                if other not in below:
                    number += rules(other, {*below, other})
        return number

    for one, node in plant.nodes.items():
        if one[0] != s.namespace or node["class"] not in TYPES:
            continue
        above = plant.up(one)
        if above is None or not plant.nodes[above]["class"] == node["class"]:
            wrong.append(f"{one} derives from {above}")
            continue
        count += rules(one, {one})
        if node["class"] in ("ObjectType", "VariableType"):
            inherited = {name: found for name, found in types.declared(above).items() if name in plant.children(one)}
            compare(plant, types, one, inherited, [], wrong)
    said(wrong)
    expect(count > 100, count)
    return f"{count} declarations"


@check("declared", "all references are told at both ends, lead to what is there, and say of it what it says itself", "OPC 10000-3, 5.3 and OPC 10000-4, 7.30", limit=300)
async def ends(s):
    plant, _ = await both(s)
    wrong, count = [], 0
    for one, node in plant.nodes.items():
        expect(len(node["references"]) == len(set(node["references"])), one, "tells a reference twice")
        for (kind, forward, other), (_, node_class, name, definition) in zip(node["references"], node["seen"]):
            count += 1
            there = plant.nodes[other]
            # neither types nor rules list who is of them
            if not (kind in (HAS_TYPE, HAS_RULE) and forward) and (kind, not forward, one) not in there["references"]:
                wrong.append(f"{one} {kind} {forward} {other} is not told there")
            if (node_class.name, (name.NamespaceIndex, name.Name)) != (there["class"], there["name"]):
                wrong.append(f"{one} says that {other} is {node_class.name} {name}")
            of = plant.to(other, HAS_TYPE)
            if definition != (of[0] if of else (0, 0)):
                wrong.append(f"{one} says that {other} is a {definition}, which says {of}")
    said(wrong)
    return f"{count} references of {len(plant.nodes)} nodes"


@check("declared", "every node has a way from Root by hierarchical references", "OPC 10000-5, 8.2.1", limit=300)
async def reachable(s):
    plant, types = await both(s)
    found, open_nodes = {ROOT}, [ROOT]
    while open_nodes:
        for kind, forward, other in plant.nodes[open_nodes.pop()]["references"]:
            if forward and other not in found and types.derives(kind, HIERARCHICAL):
                found.add(other)
                open_nodes.append(other)
    # encodings hang from their data types only, by a reference that is not hierarchical (OPC 10000-3, 5.8.4)
    beyond = [one for one, node in plant.nodes.items() if one not in found and (0, 76) not in {of for of, node in [(t, 0) for t in plant.to(one, HAS_TYPE)]}]
    said(beyond)
    return f"{len(found)} of {len(plant.nodes)} nodes"


class Plant(plants.Plant):
    buses = plants.MODEL


class Scene(scene.Scene):
    kind = Plant
    more = plants.ALARM_LINES


if __name__ == "__main__":
    sys.exit(checks.main(checks.options(__doc__), Scene))
