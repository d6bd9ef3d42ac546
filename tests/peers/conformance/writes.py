"""Write: what may be written and what may not, by type, range, attribute and node; and node management, which may not be at all."""

import asyncio
import datetime
import math

from asyncua import ua

from common import plant as plants
from common.check import check, expect
from common.client import name, status_of

from .scene import OBJECTS, SERVER, UNKNOWN, zero

T = ua.VariantType
DENIED = ("BadNotWritable", "BadUserAccessDenied")
A = ua.AttributeIds
# The variables that are written here: value, its type.
OWN = {plants.SETPOINT: (120.5, T.Double), plants.ENABLE: (True, T.Boolean), plants.MODE: (2, None), plants.RAMP: (42, T.Byte), plants.LEVEL: (777, T.UInt16)}


async def kind_of(s, node):
    """The built-in type that a variable's values have."""
    return (await s.connection.read([node]))[0].Value.VariantType


@check("writes", "a value of the variable's own type is Good, and is read back", "OPC 10000-4, 5.11.4.1")
async def own_type(s):
    for one, (value, kind) in OWN.items():
        node = s.node(one)
        said = await s.connection.write(node, value, kind or await kind_of(s, node))
        expect(said == "Good", one, said)

        async def read_back():
            return await s.connection.value(node) == value

        await s.until(f"{one} to be {value}", read_back)


@check("writes", "the value that is there already is Good", "OPC 10000-4, 5.11.4.1")
async def same_value(s):
    for _ in range(2):
        said = await s.connection.write(s.node(plants.SETPOINT), 100.0, T.Double)
        expect(said == "Good", said)


@check("writes", "a value that was read is written back: AccessLevel says the truth of each variable", "OPC 10000-3, 8.57")
async def access_level_is_true(s):
    nodes = s.nodes(plants.READ_ONLY + plants.WRITABLE)
    levels = await s.connection.read(nodes, A.UserAccessLevel)
    for node, level, value in zip(nodes, levels, await s.connection.read(nodes)):
        said = await s.connection.write(node, ua.DataValue(value.Value))
        writable = bool(level.Value.Value & 2)
        expect(said == "Good" if writable else said in DENIED, node, "UserAccessLevel", level.Value.Value, said)
        expect(writable == (node.Identifier in plants.WRITABLE), node, "UserAccessLevel", level.Value.Value)


@check("writes", "read-only variables are BadNotWritable or BadUserAccessDenied", "OPC 10000-4, 5.11.4.4")
async def read_only(s):
    for one in plants.READ_ONLY:
        said = await s.connection.write(s.node(one), 1.0, T.Double)
        expect(said in DENIED, one, said)


@check("writes", "variables of the standard's namespace are BadNotWritable or BadUserAccessDenied", "OPC 10000-4, 5.11.4.4")
async def standard_nodes(s):
    cases = [(2259, 1, T.Int32), (2267, 0, T.Byte), (2255, ["x"], T.String), (2254, ["x"], T.String)]
    for number, value, kind in cases:
        said = await s.connection.write(zero(number), value, kind)
        expect(said in DENIED, number, said)


@check("writes", "a node that is not there is BadNodeIdUnknown, in every namespace", "OPC 10000-4, 5.11.4.4")
async def unknown_nodes(s):
    for node in (ua.NodeId(999_999, 0), ua.NodeId(UNKNOWN, 1), s.node(UNKNOWN), ua.NodeId(1, 77)):
        said = await s.connection.write(node, 1.0, T.Double)
        expect(said == "BadNodeIdUnknown", node, said)


@check("writes", "a String for a Double is BadTypeMismatch", "OPC 10000-4, 5.11.4.4")
async def string_for_double(s):
    said = await s.connection.write(s.node(plants.SETPOINT), "fast", T.String)
    expect(said == "BadTypeMismatch", said)


@check("writes", "other numbers for a Double are BadTypeMismatch", "OPC 10000-4, 5.11.4.4")
async def numbers_for_double(s):
    for kind in (T.Int32, T.Float, T.Byte, T.UInt64):
        said = await s.connection.write(s.node(plants.SETPOINT), 1, kind)
        expect(said == "BadTypeMismatch", kind.name, said)


@check("writes", "wrong types for Boolean, Byte, UInt16 and a value table are BadTypeMismatch", "OPC 10000-4, 5.11.4.4")
async def other_wrong_types(s):
    for one, value, kind in ((plants.ENABLE, 1, T.Byte), (plants.RAMP, 1, T.Int32), (plants.LEVEL, 1, T.Int16), (plants.MODE, "Automatic", T.String)):
        said = await s.connection.write(s.node(one), value, kind)
        expect(said == "BadTypeMismatch", one, kind.name, said)


@check("writes", "Null is refused", "OPC 10000-4, 5.11.4.4")
async def null_value(s):
    for value in (ua.DataValue(ua.Variant(None, T.Null)), ua.DataValue(None)):
        said = await s.connection.write(s.node(plants.SETPOINT), value)
        expect(said in ("BadTypeMismatch", "BadWriteNotSupported"), said)


@check("writes", "an array for a scalar is BadTypeMismatch", "OPC 10000-4, 5.11.4.4")
async def array_for_scalar(s):
    for value in ([1.0], [1.0, 2.0], []):
        said = await s.connection.write(s.node(plants.SETPOINT), ua.DataValue(ua.Variant(value, T.Double, is_array=True)))
        expect(said == "BadTypeMismatch", value, said)


@check("writes", "beyond EURange is BadOutOfRange, and changes nothing", "OPC 10000-8, 5.3.2.2")
async def out_of_range(s):
    expect(await s.connection.write(s.node(plants.SETPOINT), 300.0, T.Double) == "Good", "300 is refused")
    for value in (3000.5, -0.5, 1e300):
        said = await s.connection.write(s.node(plants.SETPOINT), value, T.Double)
        expect(said == "BadOutOfRange", value, said)
    for value in (0, 101, 255):
        said = await s.connection.write(s.node(plants.RAMP), value, T.Byte)
        expect(said == "BadOutOfRange", "Ramp", value, said)
    expect(await s.connection.value(s.node(plants.SETPOINT)) == 300.0, await s.connection.value(s.node(plants.SETPOINT)))


@check("writes", "NaN and infinities are BadOutOfRange or BadTypeMismatch", "OPC 10000-8, 5.3.2.2")
async def not_finite(s):
    for value in (math.nan, math.inf, -math.inf):
        said = await s.connection.write(s.node(plants.SETPOINT), value, T.Double)
        expect(said in ("BadOutOfRange", "BadTypeMismatch"), value, said)


@check("writes", "a number that the value table does not have is BadOutOfRange", "OPC 10000-8, 5.3.3.4")
async def not_in_the_table(s):
    node = s.node(plants.MODE)
    said = await s.connection.write(node, 9, await kind_of(s, node))
    expect(said == "BadOutOfRange", said)


@check("writes", "a client's timestamps or status are refused with BadWriteNotSupported, or not taken", "OPC 10000-4, 5.11.4.2")
async def timestamps(s):
    past = datetime.datetime(2001, 2, 3, tzinfo=datetime.timezone.utc)
    node = s.node(plants.SETPOINT)
    for field in ({"SourceTimestamp": past}, {"ServerTimestamp": past}, {"StatusCode": ua.StatusCode(ua.StatusCodes.UncertainLastUsableValue)}):
        said = await s.connection.write(node, ua.DataValue(ua.Variant(310.0, T.Double), **field))
        expect(said in ("Good", "BadWriteNotSupported"), field, said)
        await asyncio.sleep(0.15)
        one = (await s.connection.read([node]))[0]
        expect(one.SourceTimestamp.year > 2020 and one.StatusCode.is_good(), "is now", one)


@check("writes", "other attributes are refused: DisplayName, Description, BrowseName, NodeId, DataType", "OPC 10000-4, 5.11.4.4")
async def other_attributes(s):
    cases = [
        (A.DisplayName, ua.LocalizedText("x"), T.LocalizedText),
        (A.Description, ua.LocalizedText("x"), T.LocalizedText),
        (A.BrowseName, ua.QualifiedName("x", 1), T.QualifiedName),
        (A.NodeId, ua.NodeId(1, 1), T.NodeId),
        (A.DataType, ua.NodeId(1, 0), T.NodeId),
        (A.Historizing, True, T.Boolean),
    ]
    for attribute, value, kind in cases:
        for node in (s.node(plants.SETPOINT), zero(SERVER)):
            said = await s.connection.write(node, value, kind, attribute)
            expect(said in (*DENIED, "BadAttributeIdInvalid", "BadWriteNotSupported"), node, attribute.name, said)


@check("writes", "Value of an Object and attributes that do not exist are BadAttributeIdInvalid", "OPC 10000-4, 5.11.4.4")
async def no_such_attribute(s):
    for node, attribute in ((zero(OBJECTS), 13), (zero(SERVER), 13), (s.node(plants.SETPOINT), 99), (s.node(plants.SETPOINT), 0)):
        said = await s.connection.write(node, 1.0, T.Double, attribute)
        expect(said in ("BadAttributeIdInvalid", *(DENIED if attribute == 13 else ())), node, attribute, said)


@check("writes", "an IndexRange on a scalar is refused, a malformed one for its item only", "OPC 10000-4, 5.11.4.4")
async def index_range(s):
    for text in ("0", "0:1", "abc", "1:0"):
        good = ua.WriteValue(NodeId=s.node(plants.LEVEL), AttributeId=13, Value=ua.DataValue(ua.Variant(5, T.UInt16)))
        wrong = ua.WriteValue(NodeId=s.node(plants.SETPOINT), AttributeId=13, IndexRange=text, Value=ua.DataValue(ua.Variant(1.0, T.Double)))
        try:
            said = [name(one) for one in await s.connection.service("Write", NodesToWrite=[wrong, good])]
        except ua.UaStatusCodeError as error:
            said = [f"the whole Write: {ua.StatusCode(error.code).name}"] * 2
        refused = ("BadIndexRangeInvalid", "BadIndexRangeNoData", "BadWriteNotSupported", "BadIndexRangeDataMismatch")
        expect(said[0] in refused and said[1] == "Good", text, said)


@check("writes", "many writes in one request have a result each, in their order; those of one message together", "OPC 10000-4, 5.11.4.2; README")
async def many_writes(s):
    value = lambda number, kind: ua.DataValue(ua.Variant(number, kind))
    rows = [
        (s.node(plants.SETPOINT), value(330.0, T.Double), "BadRequestNotAllowed"),
        (s.node(UNKNOWN), value(1.0, T.Double), "BadNodeIdUnknown"),
        (s.node(plants.RAMP), value(7, T.Byte), "BadRequestNotAllowed"),
        (s.node(plants.SETPOINT), value("x", T.String), "BadTypeMismatch"),
        (s.node(plants.SETPOINT), value(4000.0, T.Double), "BadOutOfRange"),
        (s.node(plants.LEVEL), value(5, T.UInt16), "Good"),
    ]
    wanted = [ua.WriteValue(NodeId=node, AttributeId=13, Value=one) for node, one, _ in rows]
    said = [name(one) for one in await s.connection.service("Write", NodesToWrite=wanted)]
    expect(said == [one for _, _, one in rows], said)


@check("writes", "the machine's own variable takes its type only", "OPC 10000-4, 5.11.4.4")
async def armed_variable(s):
    node = s.node(plants.ARMED)
    said = await s.connection.write(node, 1, T.Int32)
    expect(said == "BadTypeMismatch", said)
    said = await s.connection.write(node, True, T.Boolean)
    expect(said == "Good", said)


@check("writes", "AddNodes is refused", "OPC 10000-4, 5.8.2")
async def add_nodes(s):
    item = ua.AddNodesItem(ParentNodeId=ua.ExpandedNodeId(OBJECTS), ReferenceTypeId=zero(35), BrowseName=ua.QualifiedName("x", 1), NodeClass=ua.NodeClass.Object)
    item.NodeAttributes = ua.ObjectAttributes()
    try:
        said = [name(one.StatusCode) for one in await s.connection.service("AddNodes", NodesToAdd=[item])]
    except ua.UaStatusCodeError as error:
        said = [ua.StatusCode(error.code).name]
    expect(all(one in ("BadServiceUnsupported", "BadUserAccessDenied", "BadNotSupported") for one in said), said)


@check("writes", "HistoryUpdate is refused", "OPC 10000-4, 5.11.5")
async def history_update(s):
    details = ua.UpdateDataDetails(NodeId=s.node(plants.ANALOG), PerformInsertReplace=ua.PerformUpdateType.Insert)
    try:
        found = await s.connection.service("HistoryUpdate", HistoryUpdateDetails=[details])
        said = [name(one.StatusCode) for one in found]
    except ua.UaStatusCodeError as error:
        said = [ua.StatusCode(error.code).name]
    refused = ("BadServiceUnsupported", "BadUserAccessDenied", "BadHistoryOperationUnsupported", "BadHistoryOperationInvalid", "BadNotWritable")
    expect(said and all(one in refused for one in said), said)


@check("writes", "while disarmed, a write is BadInvalidState; armed again it is Good", "README: outputs")
async def while_disarmed(s):
    armed, setpoint = s.node(plants.ARMED), s.node(plants.SETPOINT)
    expect(await s.connection.write(armed, False, T.Boolean) == "Good", "disarming is refused")
    try:

        async def substitute():
            return name((await s.connection.read([setpoint]))[0].StatusCode) == "UncertainSubstituteValue"

        await s.until("the fallback value", substitute)
        said = await s.connection.write(setpoint, 100.0, T.Double)
        expect(said == "BadInvalidState", said)
    finally:
        await s.connection.write(armed, True, T.Boolean)

    async def accepted():
        return await s.connection.write(setpoint, 100.0, T.Double) == "Good"

    await s.until("a write to be taken", accepted)


@check("writes", "an empty Write is BadNothingToDo", "OPC 10000-4, 5.11.4.3")
async def write_nothing(s):
    said = await status_of(s.connection.service("Write", NodesToWrite=[]))
    expect(said == "BadNothingToDo", said)
