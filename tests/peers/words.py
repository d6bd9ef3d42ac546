#!/usr/bin/env python3
"""What people and SCADA systems are told about tags, seen by asyncua: texts in the language of the session, and the CSV file for
an import, which must be what is served. One JSON line a check.

By hand: .testenv/venv/bin/python tests/peers/words.py --canvoy /…/target/debug/canvoy [--only csv]
"""

import asyncio
import csv
import io
import sys

from asyncua import ua

from common import check as checks
from common import plant as plants
from common.check import check, expect
from common.session import Session
from conformance.scene import Scene

OVERLAY = '''\
tag,alias,alias[de],description[de],description[fr-CA],values[de]
Status,,Zustand,,,
Status.State,,Betriebszustand,,,0=Aus|1=Bereit|2=Läuft|3=Fehler
Status.Ready,,Bereitschaft,,,0=Nicht bereit|1=Bereit
Command.Setpoint,"Setpoint, ""speed""",Sollwert,Wie schnell das Gerät sein soll.,Vitesse voulue,
'''
UNITS = "http://www.opcfoundation.org/UA/units/un/cefact"


class Plant(plants.Plant):
    buses = plants.BUSES.replace("[bus.m]\n", '[bus.m]\noverlay = ["names.csv"]\n')

    def configure(self):
        (self.folder / "names.csv").write_text(OVERLAY)
        super().configure()


class Words(Scene):
    kind = Plant


async def told(session, name, attribute, namespace=2):
    """`locale:text` of a LocalizedText."""
    value = (await session.get_node(ua.NodeId(name, namespace)).read_attribute(attribute)).Value.Value
    return f"{value.Locale or ''}:{value.Text}"


async def words(session, name):
    values = await session.get_node(ua.NodeId(f"{name}.EnumValues", 2)).read_value()
    return [f"{one.DisplayName.Locale or ''}:{one.DisplayName.Text}" for one in values]


@check("words", "texts are in the first language of the session that there is", "OPC 10000-4, 5.7.3.2; OPC 10000-3, 8.5")
async def languages(s):
    name, description = ua.AttributeIds.DisplayName, ua.AttributeIds.Description
    own, own_words = ':Setpoint, "speed"', [":Off", ":Idle", ":Running", ":Fault"]
    german = ["de:Aus", "de:Bereit", "de:Läuft", "de:Fehler"]
    english = ":Speed that the device shall reach."
    cases = [
        (["en"], own, english, own_words, ":Status"),
        (["de"], "de:Sollwert", "de:Wie schnell das Gerät sein soll.", german, "de:Zustand"),
        (["de-AT", "en"], "de:Sollwert", "de:Wie schnell das Gerät sein soll.", german, "de:Zustand"),
        (["fr", "de"], "de:Sollwert", "fr-CA:Vitesse voulue", german, "de:Zustand"),
        (["it"], own, english, own_words, ":Status"),
    ]
    for locales, alias, text, values, message in cases:
        async with Session(s, locales) as session:
            expect(await told(session, plants.SETPOINT, name) == alias, locales, await told(session, plants.SETPOINT, name))
            expect(await told(session, plants.SETPOINT, description) == text, locales)
            expect(await words(session, plants.STATE) == values, locales, await words(session, plants.STATE))
            browsed = await session.get_node(ua.NodeId("m", 2)).get_children_descriptions()
            shown = {f"{one.DisplayName.Locale or ''}:{one.DisplayName.Text}" for one in browsed if one.NodeId.Identifier == "m.Status"}
            expect(shown == {message}, locales, shown)
            state = await told(session, f"{plants.READY}.TrueState", ua.AttributeIds.Value)
            expect(state == ("de:Bereit" if values == german else ":Ready"), locales, state)
            known = await session.get_node(ua.NodeId(2271)).read_value()
            expect(known == ["en", "de", "fr-CA"], known)
    return f"{len(cases)} sessions"


@check("words", "aliases are AliasNames of the variables they name, found by FindAlias", "OPC 10000-17, 6.2, 6.3.2, 9.3")
async def aliases(s):
    alias_for = ua.NodeId(23469)
    async with Session(s) as session:
        category = session.get_node(ua.NodeId(23479))
        expect((await category.get_parent()).nodeid == ua.NodeId(23470), "not below Aliases")
        below = await category.get_references(ua.ObjectIds.Organizes, ua.BrowseDirection.Forward)
        names = [one.BrowseName.Name for one in below]
        expect(names == ['Setpoint, "speed"'], names)
        node = session.get_node(below[0].NodeId)
        expect(await node.read_type_definition() == ua.NodeId(23455), node)
        variables = await node.get_references(alias_for, ua.BrowseDirection.Forward)
        expect([one.NodeId.Identifier for one in variables] == [plants.SETPOINT], variables)
        back = await session.get_node(ua.NodeId(plants.SETPOINT, 2)).get_references(alias_for, ua.BrowseDirection.Inverse)
        expect([one.NodeId for one in back] == [below[0].NodeId], back)
        for at, method in ((23479, 23485), (23470, 23476)):
            for pattern, filter, want in (("Set%", alias_for, names), ("%", ua.NodeId(), names), ("%", ua.NodeId(32), names), ("Off%", alias_for, [])):
                found = await session.get_node(ua.NodeId(at)).call_method(ua.NodeId(method), pattern, ua.Variant(filter, ua.VariantType.NodeId))
                expect([one.AliasName.Name for one in found or []] == want, pattern, found)
                expect(all(one.ReferencedNodes[0].Identifier == plants.SETPOINT for one in found or []), found)
        try:
            await category.call_method(ua.NodeId(23485), "%", ua.Variant(ua.NodeId(35), ua.VariantType.NodeId))
            expect(False, "Organizes is no AliasFor")
        except ua.UaStatusCodeError as error:
            expect(error.code == ua.StatusCodes.BadInvalidArgument, error)
        return ", ".join(names)


class Told:
    def __init__(self):
        self.values = []

    def datachange_notification(self, node, value, data):
        self.values.append(value)


@check("words", "a session that takes another language is told the words of values in it", "OPC 10000-4, 5.7.3.2")
async def another_language(s):
    async with Session(s, ["de"]) as session:
        told = Told()
        subscription = await session.create_subscription(50, told)
        await subscription.subscribe_data_change(session.get_node(ua.NodeId(f"{plants.STATE}.ValueAsText", 2)))

        async def last(locale):
            for _ in range(200):
                if told.values and (told.values[-1].Locale or "") == locale:
                    return told.values[-1].Text
                await asyncio.sleep(0.05)
            expect(False, locale, told.values)

        first = await last("de")
        expect(first in ("Aus", "Bereit", "Läuft", "Fehler"), first)
        session.set_locale(["it"])
        await session.activate_session(plants.USER, plants.PASSWORD)
        second = await last("")
        expect(second in ("Off", "Idle", "Running", "Fault"), second)
        # without any, it is what it was
        session.set_locale([])
        await session.activate_session(plants.USER, plants.PASSWORD)
        expect(await words(session, plants.STATE) == [":Off", ":Idle", ":Running", ":Fault"])
        return f"{first}, then {second}"


def path_of(text):
    """A path as OPC 10000-4, A.2 writes it, as elements."""
    names, escaped = [], False
    for letter in text:
        if escaped or letter not in "/&":
            names[-1] += letter
            escaped = False
        elif letter == "&":
            escaped = True
        else:
            names.append("")
    return names


@check("words", "the CSV file for an import is what is served", "RFC 4180; OPC 10000-6, 5.1.12; OPC 10000-8, 5.3 and 5.6", limit=300)
async def csv_file(s):
    plant = s.need_plant()
    rows = list(csv.DictReader(io.StringIO(plant.ask("tags", "--csv", "plant.toml"), newline=""), strict=True))
    expect(all(None not in row and None not in row.values() for row in rows), "cells without a column, or columns without cells")
    expect({row["tag"] for row in rows} >= {plants.SETPOINT, plants.STATE, plants.ANALOG}, len(rows))
    kinds, without = set(), []
    async with Session(s) as session:
        uris = await session.get_namespace_array()
        for row in rows:
            if not row["node_id"]:
                without.append(row["tag"])
                continue
            node = session.get_node(ua.NodeId.from_string(row["node_id"]))
            uri, identifier = row["node_id_uri"].removeprefix("nsu=").split(";", 1)
            expect(ua.NodeId.from_string(f"ns={uris.index(uri)};{identifier}") == node.nodeid, row["node_id_uri"])
            found = await session.nodes.root.get_child(path_of(row["browse_path"]))
            expect(found.nodeid == node.nodeid, row["browse_path"], found)
            data_type, kind = await node.read_data_type(), await node.read_type_definition()
            expect(data_type == ua.NodeId(getattr(ua.ObjectIds, row["data_type"])), row["tag"], data_type)
            expect(kind == ua.NodeId(getattr(ua.ObjectIds, row["variable_type"])), row["tag"], kind)
            kinds.add(row["variable_type"])
            level = (await node.read_attribute(ua.AttributeIds.AccessLevel)).Value.Value
            expect(bool(level & 2) == (row["access"] == "read-write") == (row["writable"] == "yes"), row["tag"], level)
            properties = {(await one.read_browse_name()).Name: await one.read_value() for one in await node.get_properties()}
            ranges = properties.get("EURange")
            said = (row["eu_low"], row["eu_high"])
            expect(said == ("", "") if ranges is None else tuple(map(float, said)) == (ranges.Low, ranges.High), row["tag"], said, ranges)
            unit = properties.get("EngineeringUnits")
            if unit is None or unit.UnitId == -1:
                expect(row["unit_id"] == row["unit_code"] == "", row["tag"], unit)
            else:
                code = int.from_bytes(row["unit_code"].encode(), "big")
                expect(int(row["unit_id"]) == unit.UnitId == code and unit.NamespaceUri == UNITS, row["tag"], unit)
            words = dict(word.split("=", 1) for word in row["values"].split("|")) if row["values"] else {}
            values = {str(one.Value): one.DisplayName.Text for one in properties.get("EnumValues", [])}
            if "TrueState" in properties:
                values = {"0": properties["FalseState"].Text, "1": properties["TrueState"].Text}
            expect(words == values, row["tag"], words, values)
            expect(row["tag"] == f"{row['bus']}.{row['message']}.{row['signal']}", row["tag"])
            above = (await node.get_parent()).nodeid.Identifier
            known = {(await one.read_browse_name()).Name: await one.read_value() for one in await session.get_node(ua.NodeId(above, 2)).get_properties()}
            expect(known["Identifier"] == row["id"] and known.get("Sender", "") == row["sender"].replace(" ", ", "), row["tag"], known)
            try:
                description = (await node.read_description()).Text
            except ua.UaStatusCodeError:
                description = ""
            expect(row["description"] == description, row["tag"], description)
    # each source of a J1939 message has nodes of its own
    expect(without == ["m.EngineSpeed.EngSpeed"], without)
    expect(kinds == {"AnalogUnitType", "BaseAnalogType", "MultiStateValueDiscreteType", "TwoStateDiscreteType", "BaseDataVariableType"}, kinds)
    by_tag = {row["tag"]: row for row in rows}
    setpoint = by_tag[plants.SETPOINT]
    for column, value in {"alias": 'Setpoint, "speed"', "factor": "0.5", "offset": "0", "instrument_high": "32767.5", "start": "0"}.items():
        expect(setpoint[column] == value, column, setpoint[column])
    expect(by_tag[plants.RAMP]["start"] == "10", by_tag[plants.RAMP]["start"])
    return f"{len(rows)} tags"


if __name__ == "__main__":
    sys.exit(checks.main(checks.options(__doc__), Words))
