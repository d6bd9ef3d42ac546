"""Data access: ranges and units, words for numbers and bits, own data types."""

from asyncua import ua

from common import plant as plants
from common.check import check, expect
from common.client import name

from .browse import plain, walk
from .scene import HAS_PROPERTY, HAS_TYPE_DEFINITION, OBJECTS, zero

BASE_ANALOG, ANALOG_ITEM, ANALOG_UNIT, ANALOG_UNIT_RANGE = 15318, 2368, 17497, 17570
MULTI_STATE, MULTI_STATE_VALUE, TWO_STATE, PROPERTY = 2376, 11238, 2373, 68
# Properties by type definition, at least one of each group.
WANTED = {
    ANALOG_ITEM: [["EURange"]],
    ANALOG_UNIT: [["EngineeringUnits"]],
    ANALOG_UNIT_RANGE: [["EURange"], ["EngineeringUnits"]],
    MULTI_STATE: [["EnumStrings"]],
    MULTI_STATE_VALUE: [["EnumValues"], ["ValueAsText"]],
    TWO_STATE: [["TrueState"], ["FalseState"]],
}


async def properties(s, node):
    """Properties of a node: {BrowseName: NodeId}."""
    found = await s.connection.references(node, reference=zero(HAS_PROPERTY))
    return {one.BrowseName.Name: plain(one.NodeId) for one in found}


async def kind(s, node):
    return plain((await s.connection.references(node, reference=zero(HAS_TYPE_DEFINITION)))[0].NodeId)


async def typed(s):
    """All variables of ours with one of the types above: (NodeId, type, properties)."""

    async def make():
        _, described = await walk(s, OBJECTS)
        rows = []
        for node, one in described.items():
            of = plain(one.TypeDefinition)
            if node.NamespaceIndex == s.namespace and of.NamespaceIndex == 0 and of.Identifier in [*WANTED, BASE_ANALOG]:
                rows.append((node, of.Identifier, await properties(s, node)))
        return rows

    return await s.once("typed", make)


@check("analog", "a number with a range and a unit is of an analog type", "OPC 10000-8, 5.3.2")
async def analog_type(s):
    for one in (plants.ANALOG, plants.TEMPERATURE, plants.SETPOINT, plants.ENGINE):
        found = await kind(s, s.node(one))
        expect(found in [zero(ANALOG_ITEM), zero(ANALOG_UNIT), zero(ANALOG_UNIT_RANGE)], one, found)


@check("analog", "each variable has the properties that its type makes mandatory", "OPC 10000-8, 5.3")
async def mandatory_properties(s):
    rows = await typed(s)
    for node, of, found in rows:
        for group in WANTED.get(of, []):
            expect(any(one in found for one in group), node, group, list(found))
    expect(len(rows) > 10, len(rows), "variables")
    return f"{len(rows)} variables"


@check("analog", "EURange is a Range whose High is above its Low", "OPC 10000-8, 5.6.2")
async def ranges(s):
    count = 0
    for node, _, found in await typed(s):
        if "EURange" in found:
            value = await s.connection.value(found["EURange"])
            expect(isinstance(value, ua.Range) and value.High > value.Low, node, value)
            count += 1
    expect(count > 3, count)


@check("analog", "EURange is that of the DBC file", "OPC 10000-8, 5.3.2.2")
async def range_of_the_dbc(s):
    for one, low, high in ((plants.ANALOG, -3200, 3200), (plants.SETPOINT, 0, 3000), (plants.TEMPERATURE, -40, 160)):
        value = await s.connection.value((await properties(s, s.node(one)))["EURange"])
        expect((value.Low, value.High) == (low, high), one, value)


@check("analog", "EngineeringUnits has a namespace and a DisplayName", "OPC 10000-8, 5.6.3")
async def units(s):
    for node, _, found in await typed(s):
        if "EngineeringUnits" in found:
            value = await s.connection.value(found["EngineeringUnits"])
            expect(isinstance(value, ua.EUInformation) and value.NamespaceUri and value.DisplayName.Text, node, value)


@check("analog", "known units have the UNECE code: rpm is RPM, degC is CEL", "OPC 10000-8, 5.6.3")
async def unit_codes(s):
    for one, code in ((plants.ANALOG, b"RPM"), (plants.TEMPERATURE, b"CEL")):
        value = await s.connection.value((await properties(s, s.node(one)))["EngineeringUnits"])
        expect(value.UnitId == int.from_bytes(code, "big") and value.NamespaceUri == "http://www.opcfoundation.org/UA/units/un/cefact", one, value)


@check("analog", "Good values are in their EURange", "OPC 10000-8, 5.3.2.2")
async def values_in_range(s):
    for one in (plants.ANALOG, plants.TEMPERATURE, plants.SETPOINT, plants.RAMP, plants.ENGINE):
        value = await s.connection.value((await properties(s, s.node(one)))["EURange"])
        answer = (await s.connection.read([s.node(one)]))[0]
        if answer.StatusCode.is_good():
            expect(value.Low <= answer.Value.Value <= value.High, one, answer.Value.Value, value)


@check("analog", "a value table is a MultiStateValueDiscrete with EnumValues, none without text", "OPC 10000-8, 5.3.3.4")
async def enum_values(s):
    for one in (plants.STATE, plants.MODE):
        expect(await kind(s, s.node(one)) == zero(MULTI_STATE_VALUE), one, await kind(s, s.node(one)))
    for node, of, found in await typed(s):
        if of == MULTI_STATE_VALUE:
            values = await s.connection.value(found["EnumValues"])
            expect(values and all(isinstance(value, ua.EnumValueType) and value.DisplayName.Text for value in values), node, values)
            numbers = [value.Value for value in values]
            expect(len(numbers) == len(set(numbers)), node, numbers)


@check("analog", "EnumValues are those of the DBC file", "OPC 10000-8, 5.3.3.4")
async def enum_values_of_the_dbc(s):
    values = await s.connection.value((await properties(s, s.node(plants.STATE)))["EnumValues"])
    found = {value.Value: value.DisplayName.Text for value in values}
    expect(found == {0: "Off", 1: "Idle", 2: "Running", 3: "Fault"}, found)


@check("analog", "ValueAsText is the text of the value, read together", "OPC 10000-8, 5.3.3.4")
async def value_as_text(s):
    words = ["Off", "Idle", "Running", "Fault"]
    text = (await properties(s, s.node(plants.STATE)))["ValueAsText"]
    for _ in range(50):
        value, said = await s.connection.read([s.node(plants.STATE), text])
        expect(said.Value is not None and said.Value.Value.Text == words[value.Value.Value], value.Value, said.Value)


@check("analog", "ValueAsText has the value's status and SourceTimestamp", "OPC 10000-8, 5.3.3.4")
async def status_of_value_as_text(s):
    text = (await properties(s, s.node(plants.STATE)))["ValueAsText"]
    value, said = await s.connection.read([s.node(plants.STATE), text])
    expect(value.SourceTimestamp == said.SourceTimestamp and name(value.StatusCode) == name(said.StatusCode), value, said)


@check("analog", "a bit with words is a TwoStateDiscrete with TrueState and FalseState", "OPC 10000-8, 5.3.3.2")
async def two_state(s):
    expect(await kind(s, s.node(plants.READY)) == zero(TWO_STATE), await kind(s, s.node(plants.READY)))
    found = await properties(s, s.node(plants.READY))
    said = [(await s.connection.value(found[one])).Text for one in ("FalseState", "TrueState")]
    expect(said == ["Not ready", "Ready"], said)


@check("analog", "properties have names of namespace 0, the PropertyType and their DataType", "OPC 10000-8, 5.3")
async def property_nodes(s):
    wanted = {"EURange": 884, "EngineeringUnits": 887, "EnumValues": 7594, "ValueAsText": 21, "TrueState": 21, "FalseState": 21, "NodeVersion": 12}
    for node in s.nodes([plants.ANALOG, plants.STATE, plants.READY]):
        for one in await s.connection.references(node, reference=zero(HAS_PROPERTY)):
            expect(one.BrowseName.NamespaceIndex == 0 and plain(one.TypeDefinition) == zero(PROPERTY), node, one)
            data_type = await s.connection.value(plain(one.NodeId), ua.AttributeIds.DataType)
            rank = await s.connection.value(plain(one.NodeId), ua.AttributeIds.ValueRank)
            expect(data_type == zero(wanted[one.BrowseName.Name]), one.BrowseName.Name, data_type)
            expect(rank == (1 if one.BrowseName.Name == "EnumValues" else -1), one.BrowseName.Name, rank)


@check("analog", "properties that describe can't be written", "OPC 10000-3, 5.6.2")
async def properties_are_read_only(s):
    node = (await properties(s, s.node(plants.SETPOINT)))["EURange"]
    said = await s.connection.write(node, ua.Range(Low=0.0, High=1.0), ua.VariantType.ExtensionObject)
    expect(said in ("BadNotWritable", "BadUserAccessDenied"), said)


@check("analog", "the DBC file's comment is the Description", "OPC 10000-3, 5.2.6")
async def description(s):
    found = await s.connection.value(s.node(plants.SETPOINT), ua.AttributeIds.Description)
    expect(found.Text and found.Text.startswith("Speed that the device shall reach"), found)


@check("analog", "data types of our own, where there are any, have a DataTypeDefinition and lead to the standard's", "OPC 10000-3, 5.8.3")
async def own_data_types(s):
    _, described = await walk(s)
    own = [node for node, one in described.items() if node.NamespaceIndex and one.NodeClass == ua.NodeClass.DataType]
    for node in own:
        one = (await s.connection.read([node], ua.AttributeIds.DataTypeDefinition))[0]
        expect(one.StatusCode.is_good() and one.Value is not None, node, name(one.StatusCode))
    return f"{len(own)} data types of our own"
