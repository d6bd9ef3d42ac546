"""What is hidden is nowhere: not in any name of a walk from Root, not in lists, not in events."""

import asyncio

from asyncua import ua

from common import plant as plants
from common.check import check, expect
from common.subscription import Subscription

from .scene import SERVER, call, node, number

O = ua.ObjectIds


async def walk(one, most=60_000):
    """Every node from Root: {(namespace, identifier): BrowseName}."""
    names, left = {}, [number(O.RootFolder)]
    while left and len(names) < most:
        part, left = left[:50], left[50:]
        asked = [
            ua.BrowseDescription(NodeId=each, BrowseDirection=ua.BrowseDirection.Both, IncludeSubtypes=True, ReferenceTypeId=number(O.References), ResultMask=63)
            for each in part
        ]
        found = []
        results = list(await one.service("Browse", RequestedMaxReferencesPerNode=0, NodesToBrowse=asked))
        while results:
            found += [reference for result in results for reference in result.References or []]
            points = [result.ContinuationPoint for result in results if result.ContinuationPoint]
            if not points:
                break
            results = (await one.service("BrowseNext", ReleaseContinuationPoints=False, ContinuationPoints=points)).Results
        for reference in found:
            key = (reference.NodeId.NamespaceIndex, reference.NodeId.Identifier)
            if key not in names:
                names[key] = reference.BrowseName.Name
                left.append(ua.NodeId(reference.NodeId.Identifier, reference.NodeId.NamespaceIndex))
    return names


WORDS = ("Floats", "Heartbeat", "m.Late", "LateCounter", "EngineSpeed", "BeatCounter")


def meets(text):
    return any(word in text for word in WORDS)


@check("hidden", "no node of what is hidden is met by a walk from Root, in any view, type or alarm of it", "OPC 10000-3, 4.9.3", limit=300)
async def walked(s):
    found = lambda names: sorted(f"{id}: {name}" for (namespace, id), name in names.items() if namespace != 0 and meets(f"{id} {name}"))
    async with await s.session("Engineer", "narrow") as one:
        expect(len(found(await walk(one))) > 10, "an Engineer meets them")
    async with await s.session("Observer", "narrow") as one:
        names = await walk(one)
        expect(plants.ANALOG in {id for _, id in names}, "what is not hidden")
        expect(not found(names), len(found(names)), found(names)[:20])
        told = []
        ids = [ua.NodeId(id, namespace) for namespace, id in names if namespace != 0]
        for at in range(0, len(ids), 500):
            part = ids[at : at + 500]
            told += [f"{id}: {each.Value.Value}" for id, each in zip(part, await one.read(part)) if each.Value is not None and meets(str(each.Value.Value))]
        expect(not told, len(told), told[:10])
        return f"{len(names)} nodes"


@check("hidden", "lists of alarms have none of what is hidden", "OPC 10000-3, 4.9.3")
async def lists(s):
    async with await s.session("Engineer", "narrow") as engineer, await s.session("Observer", "narrow") as observer:
        seen = []
        for _ in range(50):
            if any("Late" in each for each in await engineer.value(node(engineer, plants.ALARMS)) or []):
                seen += await observer.value(node(observer, plants.ALARMS)) or []
                break
            await asyncio.sleep(0.1)
        else:
            expect(False, "m.Late was never late")
        expect(not [each for each in seen if "Late" in each], seen)


def sources():
    select = [ua.SimpleAttributeOperand(TypeDefinitionId=number(O.BaseEventType), BrowsePath=[ua.QualifiedName(each, 0)], AttributeId=13) for each in ("SourceName", "Message")]
    return ua.EventFilter(SelectClauses=select)


async def told(one, seconds):
    it = await Subscription.create(one, keep_alive=5)
    created = (await it.items([SERVER], sampling=0.0, queue=1000, attribute=ua.AttributeIds.EventNotifier, filter=sources()))[0]
    created.StatusCode.check()
    seen, end = [], asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        for data in (await it.publish()).NotificationMessage.NotificationData or []:
            seen += [" ".join(str(field.Value) for field in each.EventFields) for each in getattr(data, "Events", None) or []]
    return seen


@check("hidden", "alarms of what is hidden are no events", "OPC 10000-3, 4.9.3")
async def events(s):
    async with await s.session("Engineer", "narrow") as engineer, await s.session("Observer", "narrow") as observer:
        all, few = await asyncio.gather(told(engineer, 4), told(observer, 4))
    expect([each for each in all if "Late" in each], "m.Late was never late", all)
    expect(not [each for each in few if "Late" in each], few)


@check("hidden", "an argument of a method is looked at like what is written: not there, or not to be changed", "OPC 10000-18, 4.2")
async def arguments(s):
    wrong = []
    async with await s.session("Engineer", "argued") as one:
        double, id = ua.VariantType.Double, ua.VariantType.NodeId
        for method, target, more, want in (
            ("Force", plants.ANALOG, [(1.0, double), (1000.0, double)], "Good"),
            ("Force", plants.TEMPERATURE, [(1.0, double), (1000.0, double)], "BadUserAccessDenied"),
            ("Force", plants.SINGLE, [(1.0, ua.VariantType.Float), (1000.0, double)], "BadNodeIdUnknown"),
            ("Release", plants.ANALOG, [], "Good"),
            ("Release", plants.TEMPERATURE, [], "BadUserAccessDenied"),
            ("Release", plants.SINGLE, [], "BadNodeIdUnknown"),
            ("RestartBus", "m", [], "BadUserAccessDenied"),
        ):
            said = await call(one, node(one, "Canvoy.Machine"), node(one, f"Canvoy.Methods.Machine.{method}"), (node(one, target), id), *more)
            wrong += [f"{method} {target}: {said}, not {want}"] if said != want else []
        switched = await call(one, node(one, "Canvoy.Machine"), node(one, "Canvoy.Methods.Machine.SwitchRoute"), ("over", ua.VariantType.String), (False, ua.VariantType.Boolean))
        # what a route changes is the bus that it leads to
        wrong += [] if switched == "BadUserAccessDenied" else [f"SwitchRoute over: {switched}"]
    expect(not wrong, "; ".join(wrong))
