"""Read: the attributes of every variable, timestamps and status, IndexRange and DataEncoding per item."""

import asyncio
import datetime
import math

from asyncua import ua

from common import plant as plants
from common.check import check, expect
from common.client import name

from .browse import walk
from .scene import OBJECTS, SERVER, UNKNOWN, zero

A = ua.AttributeIds
T = ua.VariantType
# What each attribute is of, as far as this is one built-in type.
KINDS = {
    A.NodeId: T.NodeId,
    A.NodeClass: T.Int32,
    A.BrowseName: T.QualifiedName,
    A.DisplayName: T.LocalizedText,
    A.Description: T.LocalizedText,
    A.WriteMask: T.UInt32,
    A.UserWriteMask: T.UInt32,
    A.DataType: T.NodeId,
    A.ValueRank: T.Int32,
    A.AccessLevel: T.Byte,
    A.UserAccessLevel: T.Byte,
    A.MinimumSamplingInterval: T.Double,
    A.Historizing: T.Boolean,
}
MANDATORY = [A.NodeId, A.NodeClass, A.BrowseName, A.DisplayName, A.DataType, A.ValueRank, A.AccessLevel, A.UserAccessLevel, A.Historizing]
OF_CLASS = {
    "Object": (SERVER, [A.EventNotifier]),
    "ObjectType": (58, [A.IsAbstract]),
    "VariableType": (62, [A.DataType, A.ValueRank, A.IsAbstract]),
    "DataType": (11, [A.IsAbstract]),
    "ReferenceType": (33, [A.IsAbstract, A.Symmetric, A.InverseName]),
    "Method": (ua.ObjectIds.Server_GetMonitoredItems, [A.Executable, A.UserExecutable]),
}
# DataType attributes that are a built-in type by another name.
BUILT_IN = {290: T.Double, 294: T.DateTime, 288: T.UInt32, 289: T.UInt32, 295: T.String, 29: T.Int32, 12: T.String, 13: T.DateTime}
NAMESPACES = ua.ObjectIds.Server_NamespaceArray


async def column(s, nodes, attribute):
    """One attribute of many nodes."""
    found = []
    for at in range(0, len(nodes), 1000):
        found += await s.connection.read(nodes[at : at + 1000], attribute)
    return found


@check("attributes", "every variable of ours has the mandatory attributes, with their types", "OPC 10000-3, 5.6.2")
async def mandatory_attributes(s):
    nodes = await s.ours()
    expect(len(nodes) > 20, len(nodes), "variables")
    for attribute in MANDATORY:
        for node, one in zip(nodes, await column(s, nodes, attribute)):
            good = one.Value is not None and one.Value.VariantType == KINDS[attribute] and one.StatusCode.is_good()
            expect(good, node, attribute.name, name(one.StatusCode), one.Value)
    return f"{len(nodes)} variables"


@check("attributes", "NodeId and NodeClass say what was asked for", "OPC 10000-3, 5.2")
async def node_id_attribute(s):
    nodes = await s.ours()
    for node, one in zip(nodes, await column(s, nodes, A.NodeId)):
        expect(one.Value.Value == node, node, one.Value.Value)
    classes = {one.Value.Value for one in await column(s, nodes, A.NodeClass)}
    expect(classes == {2}, classes)


@check("attributes", "BrowseName and DisplayName are those of Browse", "OPC 10000-4, 7.30")
async def names_are_those_of_browse(s):
    _, described = await walk(s, OBJECTS)
    nodes = [one for one in described if one.NamespaceIndex == s.namespace]
    for node, one in zip(nodes, await column(s, nodes, A.BrowseName)):
        expect(one.Value.Value == described[node].BrowseName, node, one.Value.Value)
    for node, one in zip(nodes, await column(s, nodes, A.DisplayName)):
        expect(one.Value.Value.Text == described[node].DisplayName.Text, node, one.Value.Value)


@check("attributes", "every attribute of every node class is read or BadAttributeIdInvalid, never Good with nothing", "OPC 10000-4, 5.11.2.4")
async def every_attribute_of_every_class(s):
    nodes = {"Variable": s.node(plants.ANALOG), "OurObject": await an_object(s)}
    nodes.update({kind: zero(number) for kind, (number, _) in OF_CLASS.items()})
    for kind, node in nodes.items():
        for number in range(1, 28):
            one = (await s.connection.read([node], number))[0]
            said = name(one.StatusCode)
            if one.StatusCode.is_good():
                empty = one.Value is None or one.Value.VariantType == T.Null
                # ArrayDimensions and the optional texts may be empty, DataTypeDefinition not
                expect(not empty or number in (5, 16, 7) or number == 13 and kind == "VariableType", kind, "attribute", number, "is Good with nothing")
            else:
                allowed = {"BadAttributeIdInvalid", "BadUserAccessDenied", "BadNotReadable"} if number in (24, 25, 26) else {"BadAttributeIdInvalid"}
                expect(said in allowed or number == 13 and kind == "Variable", kind, "attribute", number, said)


async def an_object(s):
    _, described = await walk(s, OBJECTS)
    return next(node for node, one in described.items() if node.NamespaceIndex == s.namespace and one.NodeClass == ua.NodeClass.Object)


@check("attributes", "the mandatory attributes of each other node class are there", "OPC 10000-3, 5.5 to 5.8")
async def mandatory_of_other_classes(s):
    for kind, (number, attributes) in OF_CLASS.items():
        for attribute in [A.NodeId, A.NodeClass, A.BrowseName, A.DisplayName, *attributes]:
            one = (await s.connection.read([zero(number)], attribute))[0]
            expect(one.StatusCode.is_good() and one.Value is not None, kind, attribute.name, name(one.StatusCode))


@check("attributes", "an attribute that the class does not have is BadAttributeIdInvalid: Value of an Object, Executable of a Variable", "OPC 10000-4, 5.11.2.4")
async def attribute_of_another_class(s):
    cases = [(zero(SERVER), A.Value), (await an_object(s), A.Value), (s.node(plants.ANALOG), A.Executable), (zero(OBJECTS), A.DataType)]
    for node, attribute in cases:
        said = name((await s.connection.read([node], attribute))[0].StatusCode)
        expect(said == "BadAttributeIdInvalid", node, attribute.name, said)


@check("attributes", "attribute numbers that do not exist are BadAttributeIdInvalid", "OPC 10000-4, 5.11.2.4")
async def invented_attributes(s):
    for number in (0, 28, 99, 0xFFFFFFFF):
        for node in (s.node(plants.ANALOG), zero(SERVER)):
            said = name((await s.connection.read([node], number))[0].StatusCode)
            expect(said == "BadAttributeIdInvalid", node, number, said)


@check("attributes", "a node that is not there is BadNodeIdUnknown, in every namespace", "OPC 10000-4, 5.11.2.4")
async def unknown_nodes(s):
    nodes = [ua.NodeId(999_999, 0), ua.NodeId(UNKNOWN, 0), ua.NodeId(UNKNOWN, 1), ua.NodeId(7, 1), s.node(UNKNOWN), ua.NodeId(1, 77)]
    said = {str(node): name(one.StatusCode) for node, one in zip(nodes, await s.connection.read(nodes))}
    expect(set(said.values()) == {"BadNodeIdUnknown"}, said)


@check("attributes", "results are in the order of the request, and one wrong item harms no other", "OPC 10000-4, 5.11.2.2")
async def mixed_items(s):
    nodes = [s.node(plants.BIT), s.node(UNKNOWN), s.node(plants.RAMP), zero(2259), s.node(plants.BIT)]
    found = await s.connection.read(nodes)
    kinds = [one.Value.VariantType if one.Value else None for one in found]
    expect(kinds == [T.Boolean, None, T.Byte, T.Int32, T.Boolean] and name(found[1].StatusCode) == "BadNodeIdUnknown", kinds)


@check("attributes", "UserAccessLevel has no bit that AccessLevel lacks", "OPC 10000-3, 5.6.2")
async def user_access_level(s):
    nodes = await s.ours()
    levels, users = await column(s, nodes, A.AccessLevel), await column(s, nodes, A.UserAccessLevel)
    for node, level, user in zip(nodes, levels, users):
        expect(user.Value.Value & ~level.Value.Value == 0, node, level.Value.Value, user.Value.Value)


@check("attributes", "CurrentRead is said of every variable that can be read", "OPC 10000-3, 8.57")
async def access_level_says_readable(s):
    for one in await column(s, await s.ours(), A.UserAccessLevel):
        expect(one.Value.Value & 1, one.Value.Value)


@check("attributes", "AccessLevelEx starts with the bits of AccessLevel, or is not there", "OPC 10000-3, 8.58")
async def access_level_ex(s):
    nodes = s.nodes([plants.ANALOG, plants.SETPOINT])
    for node, level, more in zip(nodes, await s.connection.read(nodes, A.AccessLevel), await s.connection.read(nodes, 27)):
        if more.Value is None:
            expect(name(more.StatusCode) == "BadAttributeIdInvalid", node, name(more.StatusCode))
        else:
            expect(more.Value.VariantType == T.UInt32 and more.Value.Value & 0xFF == level.Value.Value, node, more.Value)


@check("attributes", "the value's type is that of DataType, or of its built-in base", "OPC 10000-3, 5.6.2")
async def value_type(s):
    nodes = await s.ours()
    checked = 0
    for node, kind, one in zip(nodes, await column(s, nodes, A.DataType), await column(s, nodes, A.Value)):
        wanted = kind.Value.Value
        if one.Value is None or one.Value.VariantType == T.Null:
            continue
        if wanted.NamespaceIndex == 0 and wanted.Identifier <= 25:
            built_in = T(wanted.Identifier)
        else:
            built_in = BUILT_IN.get(wanted.Identifier, T.ExtensionObject if wanted.NamespaceIndex == 0 else T.Int32)
        expect(one.Value.VariantType == built_in, node, one.Value.VariantType, "but DataType", wanted)
        checked += 1
    return f"{checked} values"


@check("attributes", "the value is an array where ValueRank is 1, a scalar where it is -1", "OPC 10000-3, 5.6.2")
async def value_rank(s):
    nodes = await s.ours()
    ranks = await column(s, nodes, A.ValueRank)
    expect({one.Value.Value for one in ranks} <= {-1, 1}, {one.Value.Value for one in ranks})
    for node, rank, one in zip(nodes, ranks, await column(s, nodes, A.Value)):
        if one.Value is not None and one.Value.VariantType != T.Null:
            expect(isinstance(one.Value.Value, list) == (rank.Value.Value == 1), node, rank.Value.Value, one.Value)


@check("attributes", "ArrayDimensions of an array has one number, of a scalar none", "OPC 10000-3, 5.6.2")
async def array_dimensions(s):
    for node, wanted in ((zero(NAMESPACES), 1), (s.node(plants.ALARMS), 1), (s.node(plants.ANALOG), 0)):
        one = (await s.connection.read([node], A.ArrayDimensions))[0]
        if name(one.StatusCode) == "BadAttributeIdInvalid":
            continue
        found = one.Value.Value if one.Value is not None else None
        expect(len(found or []) == wanted, node, found)


@check("attributes", "the DataType of each variable is a node of class DataType", "OPC 10000-3, 5.6.2")
async def data_types_exist(s):
    kinds = list({one.Value.Value for one in await column(s, await s.ours(), A.DataType)})
    for kind, one in zip(kinds, await column(s, kinds, A.NodeClass)):
        expect(one.Value is not None and one.Value.Value == 64, kind, name(one.StatusCode))


@check("attributes", "every value has both timestamps, the source's not after the server's", "OPC 10000-4, 7.11.2")
async def both_timestamps(s):
    nodes = s.nodes(plants.READ_ONLY + plants.WRITABLE)
    now = datetime.datetime.now(datetime.timezone.utc)
    for node, one in zip(nodes, await s.connection.read(nodes)):
        expect(one.SourceTimestamp and one.ServerTimestamp, node, one)
        expect(one.SourceTimestamp <= one.ServerTimestamp, node, one.SourceTimestamp, one.ServerTimestamp)
        expect(abs((one.ServerTimestamp - now).total_seconds()) < 5, node, one.ServerTimestamp, now)


@check("attributes", "SourceTimestamp is the frame's: it goes on with each, and is young for a message that comes every millisecond", "OPC 10000-4, 7.11.3")
async def source_timestamp_of_a_fast_message(s):
    found = []
    for _ in range(20):
        found.append((await s.connection.read([s.node(plants.FAST)]))[0])
        await asyncio.sleep(0.01)
    stamps = [one.SourceTimestamp for one in found]
    expect(stamps == sorted(stamps) and len(set(stamps)) > 10, stamps)
    ages = sorted((one.ServerTimestamp - one.SourceTimestamp).total_seconds() for one in found)
    expect(ages[len(ages) // 2] < 0.05, "age of half of the values:", ages[len(ages) // 2])


@check("attributes", "signals of one frame have one SourceTimestamp", "OPC 10000-4, 7.11.3")
async def one_frame_one_timestamp(s):
    for _ in range(20):
        found = await s.connection.read(s.nodes([plants.ANALOG, plants.STATE, plants.BIT, plants.TEMPERATURE]))
        expect(len({one.SourceTimestamp for one in found}) == 1, [one.SourceTimestamp for one in found])


@check("attributes", "a late value is held, with UncertainNoCommunicationLastUsableValue and the time of its last frame", "OPC 10000-8, 6.3.4")
async def late_value(s):
    async def late():
        one = (await s.connection.read([s.node(plants.LATE)]))[0]
        return one if name(one.StatusCode) == "UncertainNoCommunicationLastUsableValue" else None

    one = await s.until("the value to be late", late)
    expect(one.Value is not None and one.Value.Value == 7, one)
    age = (one.ServerTimestamp - one.SourceTimestamp).total_seconds()
    expect(age > 0.29, "age", age)


@check("attributes", "what was never received is BadWaitingForInitialData without a value", "OPC 10000-4, 7.38.2")
async def never_received(s):
    one = (await s.connection.read([s.node(plants.SILENT)]))[0]
    said = name(one.StatusCode)
    expect(said == "BadWaitingForInitialData" and (one.Value is None or one.Value.Value is None), said, one.Value)


@check("attributes", "Good numbers are finite", "OPC 10000-8, 6.3")
async def finite_numbers(s):
    nodes = await s.ours()
    for node, one in zip(nodes, await column(s, nodes, A.Value)):
        if one.StatusCode.is_good() and one.Value is not None and isinstance(one.Value.Value, float):
            expect(math.isfinite(one.Value.Value), node, one.Value.Value)


@check("attributes", "a Bad value of ours comes without a value, any other with one", "OPC 10000-4, 7.11.1")
async def value_goes_with_status(s):
    nodes = await s.ours()
    for node, one in zip(nodes, await column(s, nodes, A.Value)):
        there = one.Value is not None and one.Value.VariantType != T.Null
        expect(there != one.StatusCode.is_bad() or there, node, name(one.StatusCode), one.Value)


@check("attributes", "IndexRange takes parts of an array", "OPC 10000-4, 7.27")
async def index_range(s):
    whole = await s.connection.value(zero(NAMESPACES))
    for text, wanted in (("0", whole[:1]), ("1", whole[1:2]), ("0:1", whole[:2]), (f"1:{len(whole) - 1}", whole[1:])):
        one = (await s.connection.read([zero(NAMESPACES)], index_range=text))[0]
        expect(one.Value is not None and one.Value.Value == wanted, text, name(one.StatusCode), one.Value)


@check("attributes", "IndexRange that reaches beyond the end gives what there is", "OPC 10000-4, 7.27")
async def index_range_partly_outside(s):
    whole = await s.connection.value(zero(NAMESPACES))
    one = (await s.connection.read([zero(NAMESPACES)], index_range="1:1000"))[0]
    expect(one.Value is not None and one.Value.Value == whole[1:], name(one.StatusCode), one.Value)


@check("attributes", "IndexRange outside of the array is BadIndexRangeNoData", "OPC 10000-4, 7.27")
async def index_range_outside(s):
    for text in ("100", "100:200"):
        said = name((await s.connection.read([zero(NAMESPACES)], index_range=text))[0].StatusCode)
        expect(said == "BadIndexRangeNoData", text, said)


@check("attributes", "a malformed IndexRange is BadIndexRangeInvalid for its item only", "OPC 10000-4, 7.27")
async def index_range_malformed(s):
    wrong = ["abc", "1:0", "1:1", "-1", "1:", ":1", "0:1:2", "1,", " 1", "1.5", "99999999999999999999"]
    said = {}
    for text in wrong:
        wanted = [ua.ReadValueId(NodeId=zero(NAMESPACES), AttributeId=13, IndexRange=text), ua.ReadValueId(NodeId=zero(2259), AttributeId=13)]
        try:
            found = await s.connection.service("Read", NodesToRead=wanted)
        except ua.UaStatusCodeError as error:
            said[text] = f"the whole Read: {ua.StatusCode(error.code).name}"
            continue
        if name(found[0].StatusCode) not in ("BadIndexRangeInvalid",) or found[1].Value is None:
            said[text] = name(found[0].StatusCode)
    expect(not said, said)


@check("attributes", "IndexRange on a scalar number is refused for its item", "OPC 10000-4, 7.27")
async def index_range_of_a_scalar(s):
    for text in ("0", "0:1"):
        said = name((await s.connection.read([s.node(plants.ANALOG)], index_range=text))[0].StatusCode)
        expect(said in ("BadIndexRangeNoData", "BadIndexRangeInvalid"), text, said)


@check("attributes", "IndexRange of more dimensions than the array has (a String counts as one) is refused", "OPC 10000-4, 7.27")
async def index_range_of_three_dimensions(s):
    said = name((await s.connection.read([zero(NAMESPACES)], index_range="0,0,0"))[0].StatusCode)
    expect(said in ("BadIndexRangeNoData", "BadIndexRangeInvalid"), said)


@check("attributes", "IndexRange on an attribute that is no array is refused", "OPC 10000-4, 5.11.2.2")
async def index_range_of_another_attribute(s):
    said = name((await s.connection.read([s.node(plants.ANALOG)], A.BrowseName, index_range="0:1"))[0].StatusCode)
    expect(said in ("BadIndexRangeNoData", "BadIndexRangeInvalid"), said)


@check("attributes", "DataEncoding Default Binary of a structure is served", "OPC 10000-4, 5.11.2.2")
async def default_binary(s):
    one = (await s.connection.read([zero(2256)], encoding=ua.QualifiedName("Default Binary", 0)))[0]
    expect(one.Value is not None and one.StatusCode.is_good(), name(one.StatusCode))


@check("attributes", "an unknown DataEncoding is BadDataEncodingInvalid or Unsupported for its item only", "OPC 10000-4, 5.11.2.4")
async def unknown_encoding(s):
    for node, attribute, encoding in ((zero(2256), 13, "Nonsense"), (s.node(plants.ANALOG), 13, "Nonsense"), (zero(2256), 13, "Default XML")):
        one = (await s.connection.read([node], attribute, encoding=ua.QualifiedName(encoding, 0)))[0]
        expect(name(one.StatusCode) in ("BadDataEncodingInvalid", "BadDataEncodingUnsupported"), node, encoding, name(one.StatusCode))


@check("attributes", "a DataEncoding for an attribute other than Value, or for a number, is BadDataEncodingInvalid", "OPC 10000-4, 5.11.2.4")
async def encoding_of_another_attribute(s):
    for attribute in (A.BrowseName, A.Value):
        one = (await s.connection.read([s.node(plants.ANALOG)], attribute, encoding=ua.QualifiedName("Default Binary", 0)))[0]
        expect(name(one.StatusCode) == "BadDataEncodingInvalid", attribute.name, name(one.StatusCode))


@check("attributes", "EventNotifier of the Server lets clients subscribe to events", "OPC 10000-3, 8.59")
async def event_notifier(s):
    found = await s.connection.value(zero(SERVER), A.EventNotifier)
    expect(found & 1, found)


@check("attributes", "the namespace's DefaultAccessRestrictions, where there, is UInt16 as its DataType says", "OPC 10000-5, 6.3.13")
async def access_restrictions(s):
    for one in await s.connection.references(zero(ua.ObjectIds.Server_Namespaces)):
        for child in await s.connection.references(ua.NodeId(one.NodeId.Identifier, one.NodeId.NamespaceIndex)):
            if child.BrowseName.Name == "DefaultAccessRestrictions":
                value = (await s.connection.read([ua.NodeId(child.NodeId.Identifier, child.NodeId.NamespaceIndex)]))[0].Value
                expect(value is None or value.VariantType in (T.UInt16, T.Null), value)
