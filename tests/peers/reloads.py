#!/usr/bin/env python3
"""Changes of the model over real reloads, seen by asyncua: events, NodeVersion, SemanticsChanged, and nothing of what is hidden.

By hand: .testenv/venv/bin/python tests/peers/reloads.py --canvoy target/debug/canvoy [--only message]
"""

import asyncio
import sys
import time

from asyncua import ua

from common import check as checks
from common import plant as plants
from common.check import check, expect
from common.client import OWN, Connection, name, status_of
from common.subscription import Subscription, changed

O = ua.ObjectIds
PASSWORD = "one password for all of them"
ADDED, DELETED, REFERENCE_ADDED, REFERENCE_DELETED, DATA_TYPE = 1, 2, 4, 8, 16
SEMANTICS, STRUCTURE = 1 << 14, 1 << 15
ROLES = """
[role.Engineer]
users = ["emil"]
[role.Observer]
users = ["olga"]
see = ["m.Status", "area:hall"]
"""
TABLE = "tag,area\nStatus,yard\nStatus.Bit,hall\n"
EXTRA = 'BO_ 520 Extra: 8 Device\n SG_ Value : 0|16@1+ (1,0) [0|100] "bar" Canvoy\n\n'
ENGINE2 = 'BO_ 2566849278 EngineTemperature: 8 Vector__XXX\n SG_ EngTemp : 0|8@1+ (1,-40) [-40|210] "degC" Canvoy\n\n'


def number(number):
    return ua.NodeId(number, 0)


class Plant(plants.Plant):
    buses = plants.BUSES.replace('dbc = ["plant.dbc"]', 'dbc = ["plant.dbc"]\noverlay = ["names.csv"]')

    def configure(self):
        super().configure()
        (self.folder / "names.csv").write_text(TABLE)

    def edit(self, file, *pairs):
        text = (self.folder / file).read_text()
        for old, new in pairs:
            expect(old in text, "not in", file, old)
            text = text.replace(old, new, 1)
        (self.folder / file).write_text(text)

    def reload(self):
        said = self.ask("reload")
        expect("in force" in said or "the same" in said, said)


class Scene:
    """One plant for each check: each leaves another configuration."""

    def __init__(self, arguments):
        self.arguments, self.one = arguments, None

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.after(None, None)

    async def after(self, *_):
        if self.one is not None:
            self.one.stop()
            self.one = None

    async def plant(self):
        self.one = one = Plant(self.arguments.canvoy, more=ROLES)
        for user in ("emil", "olga"):
            one.ask("user", "add", "users", user, text=PASSWORD + "\n")
        one.start()
        one.put("trusted", "checks", OWN.certificate)
        end = time.monotonic() + 15
        while await status_of(self.attempt(one)) != "Good":
            expect(time.monotonic() < end, "not let in")
        return one

    async def attempt(self, one):
        async with await Connection(one.url).session("emil", PASSWORD):
            pass

    async def session(self, user):
        one = await Connection(self.one.url).session(user, PASSWORD)
        one.space = (await one.value(number(O.Server_NamespaceArray))).index(plants.NAMESPACE)
        return one


class Told:
    """What one user is told: events of changes, and values of a few signals."""

    def __init__(self, connection, it):
        self.connection, self.it, self.model, self.meaning, self.values = connection, it, [], [], []

    @staticmethod
    async def by(connection, *signals):
        it = await Subscription.create(connection, keep_alive=5)
        fields = [(O.BaseEventType, "EventType"), (O.BaseEventType, "SourceNode"), (O.GeneralModelChangeEventType, "Changes"), (O.SemanticChangeEventType, "Changes")]
        select = [ua.SimpleAttributeOperand(TypeDefinitionId=number(of), BrowsePath=[ua.QualifiedName(each, 0)], AttributeId=13) for of, each in fields]
        kinds = [ua.LiteralOperand(Value=ua.Variant(number(of), ua.VariantType.NodeId)) for of in (O.BaseModelChangeEventType, O.SemanticChangeEventType)]
        either = ua.ContentFilterElement(FilterOperator=ua.FilterOperator.Or, FilterOperands=[ua.ElementOperand(Index=1), ua.ElementOperand(Index=2)])
        each = [ua.ContentFilterElement(FilterOperator=ua.FilterOperator.OfType, FilterOperands=[kind]) for kind in kinds]
        filter = ua.EventFilter(SelectClauses=select, WhereClause=ua.ContentFilter(Elements=[either, *each]))
        server = number(O.Server)
        created = await it.items([server], sampling=0.0, queue=100, attribute=ua.AttributeIds.EventNotifier, filter=filter)
        if signals:
            created += await it.items([ua.NodeId(each, connection.space) for each in signals], first=1)
        for each in created:
            expect(each.StatusCode.is_good(), each)
        told = Told(connection, it)
        await told.until(lambda told: {handle for handle, _ in told.values} == set(range(1, len(signals) + 1)), "first values")
        told.values = []
        return told

    async def pump(self):
        published = await self.it.publish()
        self.values += changed(published)
        for data in published.NotificationMessage.NotificationData or []:
            for event in getattr(data, "Events", None) or []:
                kind, source, model, meaning = (field.Value for field in event.EventFields)
                expect(source == number(O.Server), "SourceNode", source)
                if kind == number(O.GeneralModelChangeEventType):
                    expect(meaning is None, "no field of another type", meaning)
                    self.model.append({str(one.Affected.Identifier): (one.Verb, one.AffectedType, one.Affected) for one in model})
                else:
                    expect(kind == number(O.SemanticChangeEventType) and model is None, kind)
                    self.meaning.append({str(one.Affected.Identifier): one.AffectedType for one in meaning})

    async def until(self, found, what, limit=30):
        end = time.monotonic() + limit
        while not found(self):
            expect(time.monotonic() < end, f"{what} did not come in {limit} s:", self.model, self.meaning, self.values[-5:])
            await self.pump()

    async def settle(self, seconds=3):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await self.pump()

    async def version(self, id):
        return await self.connection.value(ua.NodeId(f"Canvoy.NodeVersion.{id}", self.connection.space))

    def bits(self, handle):
        return [of.StatusCode.value & (SEMANTICS | STRUCTURE) for one, of in self.values if one == handle]


def met(told, word):
    return [id for event in told.model + told.meaning for id in event if word in id]


@check("reloads", "a message added, one removed, a range and a type changed: told at Server, to each user as far as he sees", "OPC 10000-3, 9.32.7 and 9.33; OPC 10000-4, 7.39.1", limit=180)
async def message(s):
    plant = await s.plant()
    async with await s.session("emil") as emil, await s.session("olga") as olga:
        all = await Told.by(emil, plants.ANALOG, plants.TEMPERATURE, "m.Status.Small")
        few = await Told.by(olga, plants.ANALOG)
        ids = ("m", "m.Status", "m.Floats", "Canvoy")
        before = {id: await all.version(id) for id in ids}
        seen_before = {id: await few.version(id) for id in ("m", "m.Status", "Canvoy")}
        expect(name((await olga.read([ua.NodeId("Canvoy.NodeVersion.m.Floats", olga.space)]))[0].StatusCode) == "BadNodeIdUnknown", "a hidden version")
        silent = 'BO_ 516 Silent: 8 Canvoy\n SG_ Unused : 0|8@1+ (1,0) [0|0] "" Device\n\n'
        plant.edit(
            "plant.dbc",
            (silent, EXTRA),
            ("[-3200|3200]", "[-4000|4000]"),
            ("[-1000|1000]", "[-2000|2000]"),
            ('SG_ Small : 40|8@1- (1,0) [0|0] ""', 'SG_ Small : 40|16@1- (1,0) [0|0] ""'),
        )
        plant.reload()
        await asyncio.gather(all.until(lambda told: told.model and told.meaning, "both events"), few.until(lambda told: told.meaning, "a change of meaning"))
        await asyncio.gather(all.settle(), few.settle())

        expect(len(all.model) == 1 and len(all.meaning) == 1, "one event of each", len(all.model), len(all.meaning))
        verbs = {id: verb for id, (verb, _, _) in all.model[0].items()}
        want = {"m.Extra": ADDED, "m.Extra.Value": ADDED, "m.Silent": DELETED, "m.Silent.Unused": DELETED, "m": REFERENCE_ADDED | REFERENCE_DELETED, "m.Status.Small": DATA_TYPE}
        for id, verb in want.items():
            expect(verbs.get(id) == verb, id, verbs.get(id), verbs)
        for id, (verb, kind, affected) in all.model[0].items():
            if verb != DELETED:
                expect(isinstance(await all.version(id), str), "NodeVersion of", id)
            else:
                expect(name((await emil.read([affected], ua.AttributeIds.NodeClass))[0].StatusCode) == "BadNodeIdUnknown", "still there", id)
        expect(all.model[0]["m"][1] == number(O.FolderType), "AffectedType", all.model[0]["m"])
        changed_versions = {id for id in ids if await all.version(id) != before[id]}
        expect(changed_versions == {"m"}, "versions that changed", changed_versions)
        meanings = set(all.meaning[0])
        expect({"m.Status.Speed", "m.Floats.Double", "m.Status.Small"} <= meanings and "m.Status.Temperature" not in meanings, meanings)
        expect(all.meaning[0]["m.Status.Speed"] == number(O.AnalogUnitType), all.meaning[0])

        for word in ("Extra", "Silent", "Floats"):
            expect(met(all, word), "an Engineer is told of", word)
            expect(not met(few, word), "an Observer is told of", met(few, word))
        expect({id: verb for event in few.model for id, (verb, _, _) in event.items()} == {"m.Status.Small": DATA_TYPE}, few.model)
        expect(set(few.meaning[0]) == {"m.Status.Speed", "m.Status.Small"}, few.meaning)
        same = {id for id in seen_before if await few.version(id) == seen_before[id]}
        expect(same == set(seen_before), "what is hidden is seen in a version", same)

        # values go on: the first after the reload says it, and no other
        for told, handle, want in ((all, 1, SEMANTICS), (few, 1, SEMANTICS), (all, 2, 0), (all, 3, SEMANTICS | STRUCTURE)):
            bits = told.bits(handle)
            expect([each for each in bits if each] == ([want] if want else []), handle, bits[:20])
        read = await emil.read([ua.NodeId(plants.ANALOG, emil.space)])
        expect(read[0].StatusCode.value & (SEMANTICS | STRUCTURE) == 0, "a Read never has it")
        level = await emil.value(ua.NodeId(plants.ANALOG + ".EURange", emil.space), ua.AttributeIds.AccessLevel)
        expect(level & 16, "AccessLevel SemanticChange", level)
        return f"{len(verbs)} nodes, {len(meanings)} meanings"


@check("reloads", "a J1939 source that comes by itself is told", "OPC 10000-3, 9.32.7", limit=120)
async def source(s):
    plant = await s.plant()
    async with await s.session("emil") as emil, await s.session("olga") as olga:
        all, few = await Told.by(emil), await Told.by(olga)
        await asyncio.gather(all.settle(5), few.settle(5))
        all.model.clear(), few.model.clear()
        plant.edit(
            "plant.dbc",
            ("CM_ SG_ 256", ENGINE2 + "CM_ SG_ 256"),
            ('BA_ "GenMsgCycleTime" BO_ 515 1000;', 'BA_ "GenMsgCycleTime" BO_ 515 1000;\nBA_ "GenMsgCycleTime" BO_ 2566849278 100;\nBA_ "VFrameFormat" BO_ 2566849278 3;'),
        )
        plant.reload()
        of = lambda told: [id for event in told.model for id, (verb, _, _) in event.items() if verb == ADDED and id.startswith("m.EngineTemperature@")]
        await all.until(of, "the source")
        await few.settle()
        id = of(all)[0]
        expect(await all.version(id), "NodeVersion of", id)
        expect(not met(few, "Engine"), "an Observer is told of", met(few, "Engine"))
        return id


@check("reloads", "a table alone makes a message visible: for who has that area it is added, and later deleted", "OPC 10000-3, 9.32.7; OPC 10000-18, 4.2", limit=120)
async def table(s):
    plant = await s.plant()
    async with await s.session("olga") as olga:
        few = await Told.by(olga)
        plant.edit("names.csv", ("Status,yard\n", "Status,yard\nFloats.Single,hall\n"))
        plant.reload()
        await few.until(lambda told: told.model, "an event")
        verbs = {id: verb for id, (verb, _, _) in few.model[0].items()}
        expect(verbs.get("m.Floats") == ADDED and verbs.get("m.Floats.Single") == ADDED and verbs.get("m") == REFERENCE_ADDED, verbs)
        expect("m.Floats.Double" not in verbs, "hidden", verbs)
        expect(await few.version("m.Floats.Single"), "it is there")
        few.model.clear()
        plant.edit("names.csv", ("Floats.Single,hall\n", ""))
        plant.reload()
        await few.until(lambda told: told.model, "an event")
        verbs = {id: verb for id, (verb, _, _) in few.model[0].items()}
        expect(verbs.get("m.Floats") == DELETED and verbs.get("m") == REFERENCE_DELETED and "m.Floats.Double" not in verbs, verbs)


if __name__ == "__main__":
    sys.exit(checks.main(checks.options(__doc__), Scene))
