"""TranslateBrowsePathsToNodeIds, RegisterNodes and UnregisterNodes."""

from asyncua import ua

from common import plant as plants
from common.check import check, expect
from common.client import name, status_of

from .browse import plain, walk
from .scene import HAS_COMPONENT, HIERARCHICAL, OBJECTS, SERVER, UNKNOWN, zero

WHOLE = 0xFFFFFFFF


def path(start, *names, reference=HIERARCHICAL, inverse=False, subtypes=True):
    elements = [
        ua.RelativePathElement(ReferenceTypeId=zero(reference) if isinstance(reference, int) else reference, IsInverse=inverse, IncludeSubtypes=subtypes, TargetName=one)
        for one in names
    ]
    return ua.BrowsePath(StartingNode=start, RelativePath=ua.RelativePath(Elements=elements))


def zero_name(text):
    return ua.QualifiedName(text, 0)


async def translate(s, *paths):
    return await s.connection.service("TranslateBrowsePathsToNodeIds", BrowsePaths=list(paths))


async def said(s, one):
    return name((await translate(s, one))[0].StatusCode)


@check("translate", "a path of the standard leads to its node, whole", "OPC 10000-4, 5.9.4.2")
async def standard_path(s):
    found = (await translate(s, path(zero(OBJECTS), zero_name("Server"), zero_name("ServerStatus"), zero_name("CurrentTime"))))[0]
    expect(name(found.StatusCode) == "Good", name(found.StatusCode))
    targets = [(plain(one.TargetId), one.RemainingPathIndex) for one in found.Targets]
    expect(targets == [(zero(2258), WHOLE)], targets)


@check("translate", "every variable of ours is found by its path from Objects", "OPC 10000-4, 5.9.4.1")
async def own_paths(s):
    tree, _ = await walk(s, OBJECTS)
    # one path for each node: the first way that leads there
    names, level = {zero(OBJECTS): []}, [zero(OBJECTS)]
    while level:
        below = []
        for node in level:
            for one in tree.get(node, []):
                target = plain(one.NodeId)
                if target not in names:
                    names[target] = [*names[node], one.BrowseName]
                    below.append(target)
        level = below
    ours = [node for node in names if node.NamespaceIndex == s.namespace]
    for at in range(0, len(ours), 100):
        part = ours[at : at + 100]
        for node, result in zip(part, await translate(s, *[path(zero(OBJECTS), *names[node]) for node in part])):
            targets = [plain(one.TargetId) for one in result.Targets or []]
            expect(targets == [node], node, name(result.StatusCode), targets)
    return f"{len(ours)} paths"


@check("translate", "a property is found from its variable", "OPC 10000-4, 5.9.4.1")
async def property_path(s):
    found = (await translate(s, path(s.node(plants.ANALOG), zero_name("EURange"))))[0]
    expect(name(found.StatusCode) == "Good" and isinstance(await s.connection.value(plain(found.Targets[0].TargetId)), ua.Range), found)


@check("translate", "a name that is not there is BadNoMatch", "OPC 10000-4, 5.9.4.4")
async def no_match(s):
    for names in (["Nothing"], ["Server", "Nothing"], ["Nothing", "Server"]):
        answer = await said(s, path(zero(OBJECTS), *map(zero_name, names)))
        expect(answer == "BadNoMatch", names, answer)


@check("translate", "the right name of another namespace is BadNoMatch", "OPC 10000-4, 5.9.4.4")
async def name_of_another_namespace(s):
    answer = await said(s, path(zero(OBJECTS), ua.QualifiedName("Server", s.namespace)))
    expect(answer == "BadNoMatch", answer)


@check("translate", "an empty path is BadNothingToDo", "OPC 10000-4, 5.9.4.4")
async def empty_path(s):
    answer = await said(s, path(zero(OBJECTS)))
    expect(answer == "BadNothingToDo", answer)


@check("translate", "no paths at all are BadNothingToDo", "OPC 10000-4, 5.9.4.3")
async def no_paths(s):
    answer = await status_of(translate(s))
    expect(answer == "BadNothingToDo", answer)


@check("translate", "a start that is not there is BadNodeIdUnknown, in every namespace", "OPC 10000-4, 5.9.4.4")
async def unknown_start(s):
    for node in (ua.NodeId(999_999, 0), ua.NodeId(UNKNOWN, 1), s.node(UNKNOWN), ua.NodeId(1, 77)):
        answer = await said(s, path(node, zero_name("Server")))
        expect(answer == "BadNodeIdUnknown", node, answer)


@check("translate", "a path whose last name is missing is BadBrowseNameInvalid", "OPC 10000-4, 5.9.4.4")
async def missing_name(s):
    answer = await said(s, path(zero(OBJECTS), zero_name("Server"), ua.QualifiedName()))
    expect(answer == "BadBrowseNameInvalid", answer)


@check("translate", "a reference type that is not there finds nothing", "OPC 10000-4, 5.9.4.4")
async def unknown_reference_type(s):
    answer = await said(s, path(zero(OBJECTS), zero_name("Server"), reference=ua.NodeId(999_999, 0)))
    expect(answer in ("BadNoMatch", "BadReferenceTypeIdInvalid"), answer)


@check("translate", "a reference type without its subtypes finds only its own", "OPC 10000-4, 7.31")
async def without_subtypes(s):
    answer = await said(s, path(zero(SERVER), zero_name("ServerStatus"), subtypes=False))
    expect(answer == "BadNoMatch", answer)
    answer = await said(s, path(zero(SERVER), zero_name("ServerStatus"), reference=HAS_COMPONENT, subtypes=False))
    expect(answer == "Good", answer)


@check("translate", "a path can go up", "OPC 10000-4, 7.31")
async def inverse_path(s):
    found = (await translate(s, path(zero(2256), zero_name("Server"), inverse=True)))[0]
    expect([plain(one.TargetId) for one in found.Targets or []] == [zero(SERVER)], name(found.StatusCode))


@check("translate", "many paths have a result each, in their order", "OPC 10000-4, 5.9.4.2")
async def many_paths(s):
    one, other = path(zero(OBJECTS), zero_name("Server")), path(zero(OBJECTS), zero_name("Nothing"))
    found = [name(answer.StatusCode) for answer in await translate(s, one, other, one, path(s.node(UNKNOWN), zero_name("x")), one)]
    expect(found == ["Good", "BadNoMatch", "Good", "BadNodeIdUnknown", "Good"], found)


@check("translate", "registered nodes can be read as the nodes themselves", "OPC 10000-4, 5.9.5.1")
async def registered_nodes(s):
    nodes = s.nodes([plants.SETPOINT, plants.MODE, plants.SILENT])
    handles = (await s.connection.service("RegisterNodes", NodesToRegister=nodes)).RegisteredNodeIds
    expect(len(handles) == len(nodes), handles)
    for node, one, other in zip(nodes, await s.connection.read(nodes), await s.connection.read(handles)):
        expect(one.Value == other.Value and name(one.StatusCode) == name(other.StatusCode), node, one, other)
    await s.connection.service("UnregisterNodes", NodesToUnregister=handles)


@check("translate", "registered nodes can be monitored and written", "OPC 10000-4, 5.9.5.1")
async def registered_nodes_are_written(s):
    handle = (await s.connection.service("RegisterNodes", NodesToRegister=[s.node(plants.SETPOINT)])).RegisteredNodeIds[0]
    answer = await s.connection.write(handle, 250.0, ua.VariantType.Double)
    expect(answer == "Good", answer)
    await s.connection.service("UnregisterNodes", NodesToUnregister=[handle])


@check("translate", "a node that is not there may be registered; reading it is BadNodeIdUnknown", "OPC 10000-4, 5.9.5.1")
async def register_unknown(s):
    try:
        handles = (await s.connection.service("RegisterNodes", NodesToRegister=[s.node(UNKNOWN)])).RegisteredNodeIds
    except ua.UaStatusCodeError as error:
        expect(ua.StatusCode(error.code).name in ("BadNodeIdInvalid", "BadNodeIdUnknown"), ua.StatusCode(error.code).name)
        return
    answer = name((await s.connection.read(handles))[0].StatusCode)
    expect(answer == "BadNodeIdUnknown", answer)


@check("translate", "what is unregistered twice, or never was registered, harms nobody", "OPC 10000-4, 5.9.6.1")
async def unregister_twice(s):
    nodes = s.nodes([plants.SETPOINT])
    for _ in range(2):
        answer = await status_of(s.connection.service("UnregisterNodes", NodesToUnregister=nodes))
        expect(answer in ("Good", "BadNodeIdUnknown"), answer)
    expect((await s.connection.read(nodes))[0].Value is not None, "the node is gone")
