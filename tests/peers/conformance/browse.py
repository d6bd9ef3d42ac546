"""Browse and BrowseNext: the whole tree, paging, and what is refused."""

from asyncua import ua

from common import plant as plants
from common.check import check, expect
from common.client import name, status_of

from .scene import (
    HAS_PROPERTY,
    HAS_TYPE_DEFINITION,
    HIERARCHICAL,
    OBJECTS,
    ORGANIZES,
    ROOT,
    SERVER,
    TYPES,
    UNKNOWN,
    VIEWS,
    zero,
)

MANY = ua.NodeId(58, 0)  # BaseObjectType: many subtypes


async def browse_many(connection, nodes, reference=HIERARCHICAL, direction=ua.BrowseDirection.Forward):
    """All references of many nodes: a list for each, by Browse and BrowseNext."""
    found = []
    for at in range(0, len(nodes), 100):
        part = nodes[at : at + 100]
        wanted = [
            ua.BrowseDescription(
                NodeId=one,
                BrowseDirection=direction,
                ReferenceTypeId=zero(reference) if reference else ua.NodeId(),
                IncludeSubtypes=True,
                ResultMask=63,
            )
            for one in part
        ]
        results = await connection.service("Browse", NodesToBrowse=wanted)
        rows = []
        for node, result in zip(part, results):
            expect(result.StatusCode.is_good(), "Browse of", node, name(result.StatusCode))
            row = list(result.References or [])
            while result.ContinuationPoint:
                result = (await connection.service("BrowseNext", ContinuationPoints=[result.ContinuationPoint])).Results[0]
                row += result.References or []
            rows.append(row)
        found += rows
    return found


async def walk(s, start=ROOT):
    """Every node below `start` by hierarchical references: {NodeId: its forward references}, {NodeId: how it was described}."""

    async def make():
        tree, described, level = {}, {}, [zero(start)]
        while level:
            below = []
            for node, row in zip(level, await browse_many(s.connection, level)):
                tree[node] = row
                for one in row:
                    target = ua.NodeId(one.NodeId.Identifier, one.NodeId.NamespaceIndex)
                    if target not in described:
                        described[target] = one
                        below.append(target)
            level = [one for one in below if one not in tree]
        return tree, described

    return await s.once(f"walk {start}", make)


def plain(node):
    return ua.NodeId(node.Identifier, node.NamespaceIndex)


def facts(references):
    return [(plain(one.ReferenceTypeId), one.IsForward, plain(one.NodeId)) for one in references]


@check("browse", "the whole tree can be walked from Root: Objects, Types, Views, the Server and ours", "OPC 10000-5, 8.2")
async def walk_from_root(s):
    _, described = await walk(s)
    for node in (zero(OBJECTS), zero(TYPES), zero(VIEWS), zero(SERVER), s.node(plants.ANALOG), s.node(plants.ENGINE)):
        expect(node in described, node, "is not found")
    return f"{len(described)} nodes"


@check("browse", "every node has a BrowseName and a DisplayName", "OPC 10000-3, 5.2.1")
async def all_named(s):
    _, described = await walk(s)
    wrong = [str(node) for node, one in described.items() if not one.BrowseName.Name or not one.DisplayName.Text]
    expect(not wrong, len(wrong), wrong[:5])


@check("browse", "every Object and Variable below Objects has a type definition", "OPC 10000-3, 5.5.1, 5.6.2")
async def all_typed(s):
    _, described = await walk(s, OBJECTS)
    typed = (ua.NodeClass.Object, ua.NodeClass.Variable)
    wrong = [str(node) for node, one in described.items() if one.NodeClass in typed and plain(one.TypeDefinition) == ua.NodeId()]
    expect(not wrong, len(wrong), wrong[:5])


@check("browse", "each of ours has one HasTypeDefinition reference, to the type that Browse shows", "OPC 10000-3, 7.13")
async def type_definition_reference(s):
    _, described = await walk(s, OBJECTS)
    ours = [one for one in described if one.NamespaceIndex == s.namespace and described[one].NodeClass != ua.NodeClass.Method]
    for node, row in zip(ours, await browse_many(s.connection, ours, HAS_TYPE_DEFINITION)):
        found = [plain(one.NodeId) for one in row]
        expect(found == [plain(described[node].TypeDefinition)], node, found, described[node].TypeDefinition)
    return f"{len(ours)} nodes"


@check("browse", "the type definitions of ours are nodes that can be browsed to, of the right class", "OPC 10000-3, 7.13")
async def type_definitions_exist(s):
    _, all_described = await walk(s)
    for node, one in all_described.items():
        if node.NamespaceIndex == s.namespace and one.NodeClass in (ua.NodeClass.Object, ua.NodeClass.Variable):
            kind = all_described.get(plain(one.TypeDefinition))
            wanted = ua.NodeClass.ObjectType if one.NodeClass == ua.NodeClass.Object else ua.NodeClass.VariableType
            expect(kind is not None and kind.NodeClass == wanted, node, one.TypeDefinition)


@check("browse", "siblings below Objects have different BrowseNames", "OPC 10000-3, 5.2.4")
async def siblings_differ(s):
    tree, _ = await walk(s, OBJECTS)
    for node, row in tree.items():
        found = {}
        for one in row:
            found.setdefault((one.BrowseName.NamespaceIndex, one.BrowseName.Name), set()).add(plain(one.NodeId))
        twice = {key: value for key, value in found.items() if len(value) > 1}
        expect(not twice, node, twice)


@check("browse", "no reference appears twice", "OPC 10000-3, 4.4.2")
async def references_once(s):
    tree, _ = await walk(s)
    for node, row in tree.items():
        found = facts(row)
        expect(len(found) == len(set(found)), node)


@check("browse", "each hierarchical reference below Objects can be followed back", "OPC 10000-3, 7.3")
async def inverse_references(s):
    tree, _ = await walk(s, OBJECTS)
    pairs = [(node, one) for node, row in tree.items() for one in row if plain(one.NodeId).NamespaceIndex == s.namespace or node == zero(SERVER)]
    targets = [plain(one.NodeId) for _, one in pairs]
    for (node, one), row in zip(pairs, await browse_many(s.connection, targets, HIERARCHICAL, ua.BrowseDirection.Inverse)):
        back = [(plain(reference.ReferenceTypeId), plain(reference.NodeId)) for reference in row]
        expect((plain(one.ReferenceTypeId), node) in back, one.NodeId, "does not lead back to", node, back)
    return f"{len(pairs)} references"


@check("browse", "references of the namespace objects, too, can be followed back", "OPC 10000-3, 7.3")
async def inverse_of_namespaces(s):
    parent = zero(ua.ObjectIds.Server_Namespaces)
    for one in await s.connection.references(parent, reference=zero(HIERARCHICAL)):
        back = await s.connection.references(plain(one.NodeId), ua.BrowseDirection.Inverse, zero(HIERARCHICAL))
        expect(parent in [plain(other.NodeId) for other in back], one.NodeId)
        for child in await s.connection.references(plain(one.NodeId), reference=zero(HAS_PROPERTY)):
            back = await s.connection.references(plain(child.NodeId), ua.BrowseDirection.Inverse, zero(HAS_PROPERTY))
            expect(plain(one.NodeId) in [plain(other.NodeId) for other in back], child.BrowseName.Name)


@check("browse", "a paged Browse gives what an unpaged one gives", "OPC 10000-4, 5.9.3.1")
async def paged_is_unpaged(s):
    whole = facts(await s.connection.references(MANY))
    for most in (1, 2, 7):
        paged = facts(await s.connection.references(MANY, most=most))
        expect(paged == whole, "by", most, len(paged), "of", len(whole))
    return f"{len(whole)} references"


@check("browse", "no page is longer than RequestedMaxReferencesPerNode", "OPC 10000-4, 5.9.2.2")
async def page_size(s):
    result = await s.connection.browse(MANY, most=3)
    expect(len(result.References) == 3 and result.ContinuationPoint, len(result.References))
    await s.connection.service("BrowseNext", ReleaseContinuationPoints=True, ContinuationPoints=[result.ContinuationPoint])


@check("browse", "the order of references is the same each time", "OPC 10000-4, 5.9.2.1")
async def order_is_stable(s):
    first = facts(await s.connection.references(MANY))
    async with await s.fresh() as other:
        expect(first == facts(await other.references(MANY)), "another order in another session")


@check("browse", "a released continuation point is BadContinuationPointInvalid", "OPC 10000-4, 5.9.3.4")
async def released_continuation_point(s):
    point = (await s.connection.browse(MANY, most=1)).ContinuationPoint
    released = await s.connection.service("BrowseNext", ReleaseContinuationPoints=True, ContinuationPoints=[point])
    expect(name(released.Results[0].StatusCode) == "Good" and not released.Results[0].References, released)
    said = (await s.connection.service("BrowseNext", ContinuationPoints=[point])).Results[0]
    expect(name(said.StatusCode) == "BadContinuationPointInvalid", name(said.StatusCode))


@check("browse", "a continuation point can be used once", "OPC 10000-4, 7.9")
async def used_continuation_point(s):
    point = (await s.connection.browse(MANY, most=1)).ContinuationPoint
    following = (await s.connection.service("BrowseNext", ContinuationPoints=[point])).Results[0]
    said = name((await s.connection.service("BrowseNext", ContinuationPoints=[point])).Results[0].StatusCode)
    if following.ContinuationPoint:
        await s.connection.service("BrowseNext", ReleaseContinuationPoints=True, ContinuationPoints=[following.ContinuationPoint])
    expect(said == "BadContinuationPointInvalid" or following.ContinuationPoint == point, said)


@check("browse", "an invented continuation point is BadContinuationPointInvalid, each by itself", "OPC 10000-4, 5.9.3.4")
async def invented_continuation_point(s):
    points = [b"", b"\x00", b"nonsense", b"\xff" * 64, bytes(4096)]
    for release in (False, True):
        found = await s.connection.service("BrowseNext", ReleaseContinuationPoints=release, ContinuationPoints=points)
        said = [name(one.StatusCode) for one in found.Results]
        expect(said == ["BadContinuationPointInvalid"] * len(points), "release" if release else "", said)


@check("browse", "a continuation point is of its session alone", "OPC 10000-4, 7.9")
async def continuation_point_of_another_session(s):
    point = (await s.connection.browse(MANY, most=1)).ContinuationPoint
    async with await s.fresh() as other:
        said = name((await other.service("BrowseNext", ContinuationPoints=[point])).Results[0].StatusCode)
    expect(said == "BadContinuationPointInvalid", said)
    mine = (await s.connection.service("BrowseNext", ReleaseContinuationPoints=True, ContinuationPoints=[point])).Results[0]
    expect(name(mine.StatusCode) == "Good", name(mine.StatusCode))


@check("browse", "60 open continuation points are given or refused with BadNoContinuationPoints", "OPC 10000-4, 5.9.2.4")
async def many_continuation_points(s):
    async with await s.fresh() as one:
        said = {}
        for _ in range(60):
            result = await one.browse(MANY, most=1)
            said[name(result.StatusCode)] = said.get(name(result.StatusCode), 0) + 1
        expect(set(said) <= {"Good", "BadNoContinuationPoints"} and said.get("Good", 0) >= 1, said)
        return said


@check("browse", "a node that is not there is BadNodeIdUnknown, in every namespace", "OPC 10000-4, 5.9.2.4")
async def unknown_nodes(s):
    nodes = [ua.NodeId(999_999, 0), ua.NodeId(UNKNOWN, 0), ua.NodeId(UNKNOWN, 1), ua.NodeId(7, 1), s.node(UNKNOWN), ua.NodeId(4, s.namespace), ua.NodeId(1, 77)]
    said = {str(node): name((await s.connection.browse(node)).StatusCode) for node in nodes}
    expect(set(said.values()) == {"BadNodeIdUnknown"}, said)


@check("browse", "the null NodeId is BadNodeIdUnknown or BadNodeIdInvalid", "OPC 10000-4, 5.9.2.4")
async def null_node(s):
    said = name((await s.connection.browse(ua.NodeId())).StatusCode)
    expect(said in ("BadNodeIdUnknown", "BadNodeIdInvalid"), said)


@check("browse", "an unknown reference type, and a node that is none, are BadReferenceTypeIdInvalid", "OPC 10000-4, 5.9.2.4")
async def wrong_reference_types(s):
    nodes = [ua.NodeId(999_999, 0), s.node(UNKNOWN), zero(OBJECTS), s.node(plants.ANALOG)]
    said = {str(node): name((await s.connection.browse(zero(OBJECTS), reference=node)).StatusCode) for node in nodes}
    expect(set(said.values()) == {"BadReferenceTypeIdInvalid"}, said)


@check("browse", "a null ViewId with a timestamp or version means no view", "OPC 10000-4, 7.44")
async def null_view_with_timestamp(s):
    from datetime import datetime, timezone

    for view in (ua.ViewDescription(Timestamp=datetime.now(timezone.utc)), ua.ViewDescription(ViewVersion=1)):
        result = await s.connection.browse(zero(OBJECTS), view=view)
        expect(result.References, name(result.StatusCode))


@check("browse", "an unknown view is BadViewIdUnknown", "OPC 10000-4, 5.9.2.3")
async def unknown_view(s):
    said = await status_of(s.connection.browse(zero(OBJECTS), view=ua.ViewDescription(ViewId=s.node(UNKNOWN))))
    expect(said == "BadViewIdUnknown", said)


@check("browse", "a direction out of its range is BadBrowseDirectionInvalid", "OPC 10000-4, 5.9.2.4")
async def wrong_direction(s):
    said = name((await s.connection.browse(zero(OBJECTS), direction=ua.BrowseDirection.Invalid)).StatusCode)
    expect(said == "BadBrowseDirectionInvalid", said)


@check("browse", "the class mask chooses: Objects only, Variables only, 0 all", "OPC 10000-4, 5.9.2.2")
async def class_mask(s):
    for mask, wanted in ((1, {ua.NodeClass.Object}), (2, {ua.NodeClass.Variable}), (4, {ua.NodeClass.Method})):
        found = {one.NodeClass for one in await s.connection.references(zero(SERVER), reference=zero(HIERARCHICAL), mask=mask)}
        expect(found == wanted, mask, found)
    found = {one.NodeClass for one in await s.connection.references(zero(SERVER))}
    expect({ua.NodeClass.Object, ua.NodeClass.Variable, ua.NodeClass.Method, ua.NodeClass.ObjectType} <= found, found)


@check("browse", "the result mask chooses the fields", "OPC 10000-4, 5.9.2.2")
async def result_mask(s):
    for mask in (0, 1, 2, 4, 8, 16, 32):
        for one in await s.connection.references(zero(SERVER), reference=zero(HIERARCHICAL), result_mask=mask):
            there = [
                not plain(one.ReferenceTypeId).is_null(),
                bool(one.NodeClass),
                bool(one.BrowseName.Name),
                bool(one.DisplayName.Text),
                not plain(one.TypeDefinition).is_null(),
            ]
            wanted = [mask == 1, mask == 4, mask == 8, mask == 16, mask == 32]
            wrong = [have and not want for have, want in zip(there, wanted)]
            expect(not any(wrong), "mask", mask, "reference, class, name, display name, type:", there)
            expect(mask not in (8, 16) or any(there), "mask", mask, "gives nothing")


@check("browse", "without subtypes only the reference type itself is followed", "OPC 10000-4, 5.9.2.2")
async def without_subtypes(s):
    found = await s.connection.references(zero(ROOT), reference=zero(HIERARCHICAL), subtypes=False)
    expect(not found, facts(found))
    found = await s.connection.references(zero(ROOT), reference=zero(ORGANIZES), subtypes=False)
    expect(len(found) == 3, facts(found))


@check("browse", "both directions give the forward and the inverse references", "OPC 10000-4, 5.9.2.2")
async def both_directions(s):
    node = s.node(plants.ANALOG)
    both = set(facts(await s.connection.references(node, ua.BrowseDirection.Both)))
    one = set(facts(await s.connection.references(node, ua.BrowseDirection.Forward)))
    other = set(facts(await s.connection.references(node, ua.BrowseDirection.Inverse)))
    expect(both == one | other and one and other, len(both), len(one), len(other))


@check("browse", "no reference type means all of them, HasTypeDefinition too", "OPC 10000-4, 5.9.2.2")
async def all_reference_types(s):
    found = {plain(one.ReferenceTypeId) for one in await s.connection.references(s.node(plants.ANALOG))}
    expect({zero(HAS_TYPE_DEFINITION), zero(HAS_PROPERTY)} <= found, found)


@check("browse", "many nodes in one Browse: a result for each in their order, one wrong node harms no other", "OPC 10000-4, 5.9.2.2")
async def many_nodes(s):
    nodes = [zero(ROOT), s.node(UNKNOWN), zero(OBJECTS), ua.NodeId(999_999, 0), s.node(plants.ANALOG)]
    wanted = [ua.BrowseDescription(NodeId=one, BrowseDirection=ua.BrowseDirection.Forward, IncludeSubtypes=True, ResultMask=63) for one in nodes]
    found = await s.connection.service("Browse", NodesToBrowse=wanted)
    said = [name(one.StatusCode) for one in found]
    expect(said == ["Good", "BadNodeIdUnknown", "Good", "BadNodeIdUnknown", "Good"], said)
    expect(facts(found[2].References) == facts(await s.connection.references(zero(OBJECTS))), "another order of results")


@check("browse", "an answer of half a megabyte comes", "OPC 10000-6, 6.7.3")
async def large_answer(s):
    wanted = [ua.BrowseDescription(NodeId=MANY, BrowseDirection=ua.BrowseDirection.Forward, IncludeSubtypes=True, ResultMask=63)] * 100
    found = await s.connection.service("Browse", NodesToBrowse=wanted)
    count = sum(len(one.References or []) for one in found)
    said = {name(one.StatusCode) for one in found}
    points = [one.ContinuationPoint for one in found if one.ContinuationPoint]
    if points:
        await s.connection.service("BrowseNext", ReleaseContinuationPoints=True, ContinuationPoints=points)
    expect(said <= {"Good", "BadNoContinuationPoints"} and count > 1000, count, said)
    return f"{count} references"


@check("browse", "messages and signals are in the order of their names", "README; OPC 10000-4, 5.9.2.1 leaves the order open")
async def sorted_by_name(s):
    tree, described = await walk(s, OBJECTS)
    for node, row in tree.items():
        if node.NamespaceIndex == s.namespace and described[node].NodeClass == ua.NodeClass.Object:
            for kind in {plain(one.ReferenceTypeId) for one in row}:
                names = [one.BrowseName.Name for one in row if plain(one.ReferenceTypeId) == kind]
                expect(names == sorted(names), node, names)
