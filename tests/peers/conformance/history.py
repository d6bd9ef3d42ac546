"""HistoryRead raw, over what the store's ring still holds."""

import asyncio
import datetime

from asyncua import ua

from common import plant as plants
from common.check import check, expect
from common.client import name, status_of

from .scene import OBJECTS, UNKNOWN, zero

SECOND = datetime.timedelta(seconds=1)
NEVER = ua.get_win_epoch()


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def raw(start=NEVER, end=NEVER, most=0, bounds=False, modified=False):
    return ua.ReadRawModifiedDetails(IsReadModified=modified, StartTime=start, EndTime=end, NumValuesPerNode=most, ReturnBounds=bounds)


async def read(s, nodes, details, points=None, release=False, stamps=ua.TimestampsToReturn.Both, **more):
    """HistoryReadResults of these nodes."""
    wanted = [ua.HistoryReadValueId(NodeId=node, ContinuationPoint=point, **more) for node, point in zip(nodes, points or [None] * len(nodes))]
    return await s.connection.service(
        "HistoryRead", HistoryReadDetails=details, TimestampsToReturn=stamps, ReleaseContinuationPoints=release, NodesToRead=wanted
    )


def values(result):
    """DataValues of a result."""
    data = result.HistoryData
    if data is None or isinstance(data, ua.ExtensionObject):
        return []
    return list(data.DataValues or [])


async def last(s, node, seconds, **more):
    """What was in the last seconds, all of it."""
    end = now()
    result = (await read(s, [node], raw(end - seconds * SECOND, end, **more)))[0]
    result.StatusCode.check()
    found = values(result)
    while result.ContinuationPoint:
        result = (await read(s, [node], raw(end - seconds * SECOND, end, **more), [result.ContinuationPoint]))[0]
        result.StatusCode.check()
        found += values(result)
    return found


@check("history", "received signals say Historizing or HistoryRead in AccessLevel where their history can be read, and it can", "OPC 10000-11, 5.2.3")
async def access_level_says_history(s):
    for one in (plants.BEAT, plants.ANALOG, plants.FAST):
        level = await s.connection.value(s.node(one), ua.AttributeIds.AccessLevel)
        result = (await read(s, [s.node(one)], raw(now() - SECOND, now())))[0]
        readable = result.StatusCode.is_good()
        expect(bool(level & 4) == readable, one, "AccessLevel", level, name(result.StatusCode))


@check("history", "HistoryServerCapabilities say that raw data can be read, and no more than is so", "OPC 10000-11, 5.4.2")
async def capabilities(s):
    O = ua.ObjectIds
    data = await s.connection.value(zero(O.HistoryServerCapabilities_AccessHistoryDataCapability))
    expect(data is True, "AccessHistoryDataCapability", data)
    for one in ("InsertData", "ReplaceData", "UpdateData", "DeleteRaw", "DeleteAtTime", "AccessHistoryEvents"):
        found = await s.connection.value(zero(getattr(O, f"HistoryServerCapabilities_{one}Capability")))
        expect(found is False, one, found)


@check("history", "the last seconds of a counter have every frame, in order, with their times", "OPC 10000-11, 6.5.3")
async def every_frame(s):
    await asyncio.sleep(2.5)
    found = await last(s, s.node(plants.BEAT), 2)
    counts, stamps = [one.Value.Value for one in found], [one.SourceTimestamp for one in found]
    expect(8 <= len(found) <= 11 and stamps == sorted(stamps), len(found))
    expect({(second - first) % 256 for first, second in zip(counts, counts[1:])} == {1}, counts)


@check("history", "history has the times that a subscription saw", "OPC 10000-11, 6.5.3")
async def times_of_a_subscription(s):
    from common.subscription import Subscription

    it = await Subscription.create(s.connection, publishing=100.0)
    await it.items([s.node(plants.BEAT)], sampling=0.0, queue=100)
    changes = await it.collect(until=lambda changes: len(changes) >= 6)
    await it.delete()
    history = {one.SourceTimestamp: one.Value.Value for one in await last(s, s.node(plants.BEAT), 5)}
    for _, one in changes[1:]:
        expect(history.get(one.SourceTimestamp) == one.Value.Value, one, "is not in", history)


@check("history", "a start after the end gives the newest first", "OPC 10000-11, 6.5.3.2")
async def backwards(s):
    await asyncio.sleep(1.5)
    end = now()
    result = (await read(s, [s.node(plants.BEAT)], raw(end, end - SECOND)))[0]
    stamps = [one.SourceTimestamp for one in values(result)]
    expect(result.StatusCode.is_good() and len(stamps) >= 3 and stamps == sorted(stamps, reverse=True), name(result.StatusCode), stamps)


@check("history", "a start without an end gives so many values from there on; an end without a start so many before", "OPC 10000-11, 6.5.3.2")
async def open_ended(s):
    await asyncio.sleep(2.0)
    start = now() - 2 * SECOND
    result = (await read(s, [s.node(plants.BEAT)], raw(start, NEVER, most=3)))[0]
    stamps = [one.SourceTimestamp for one in values(result)]
    expect(len(stamps) == 3 and stamps == sorted(stamps) and stamps[0] >= start, name(result.StatusCode), stamps)
    end = now()
    result = (await read(s, [s.node(plants.BEAT)], raw(NEVER, end, most=3)))[0]
    stamps = [one.SourceTimestamp for one in values(result)]
    expect(len(stamps) == 3 and stamps == sorted(stamps, reverse=True) and stamps[0] <= end, name(result.StatusCode), stamps)


@check("history", "NumValuesPerNode cuts, and the continuation point brings the rest, each value once", "OPC 10000-11, 6.3")
async def continuation(s):
    await asyncio.sleep(2.5)
    end = now()
    details = raw(end - 2 * SECOND, end, most=3)
    result = (await read(s, [s.node(plants.BEAT)], details))[0]
    expect(len(values(result)) == 3 and result.ContinuationPoint, name(result.StatusCode), len(values(result)), result.ContinuationPoint)
    stamps = [one.SourceTimestamp for one in values(result)]
    while result.ContinuationPoint:
        result = (await read(s, [s.node(plants.BEAT)], details, [result.ContinuationPoint]))[0]
        stamps += [one.SourceTimestamp for one in values(result)]
    expect(len(stamps) >= 8 and stamps == sorted(set(stamps)), stamps)


@check("history", "released and invented continuation points are BadContinuationPointInvalid", "OPC 10000-4, 5.11.3.4")
async def wrong_continuation_points(s):
    await asyncio.sleep(1.0)
    end = now()
    details = raw(end - SECOND, end, most=1)
    point = (await read(s, [s.node(plants.BEAT)], details))[0].ContinuationPoint
    expect(point, "no continuation point")
    await read(s, [s.node(plants.BEAT)], details, [point], release=True)
    for one in (point, b"nonsense"):
        said = name((await read(s, [s.node(plants.BEAT)], details, [one]))[0].StatusCode)
        expect(said == "BadContinuationPointInvalid", one, said)


@check("history", "a time of which nothing is kept is GoodNoData", "OPC 10000-11, 6.5.3.2")
async def no_data(s):
    day = now() - datetime.timedelta(days=300)
    result = (await read(s, [s.node(plants.BEAT)], raw(day, day + SECOND)))[0]
    expect(name(result.StatusCode) == "GoodNoData" and not values(result), name(result.StatusCode))


@check("history", "nodes that are not there are BadNodeIdUnknown, those without history BadHistoryOperationUnsupported, each by itself", "OPC 10000-4, 5.11.3.4")
async def wrong_nodes(s):
    nodes = [s.node(UNKNOWN), ua.NodeId(999_999, 0), zero(2258), zero(OBJECTS), s.node(plants.BEAT)]
    said = [name(one.StatusCode) for one in await read(s, nodes, raw(now() - SECOND, now()))]
    without = {"BadHistoryOperationUnsupported", "BadHistoryOperationInvalid", "BadUserAccessDenied", "BadNotReadable", "BadAttributeIdInvalid"}
    expect(said[:2] == ["BadNodeIdUnknown"] * 2 and set(said[2:4]) <= without and said[4].startswith("Good"), said)


@check("history", "an impossible request is refused: no times and no number, no nodes, no details", "OPC 10000-11, 6.5.3.2")
async def impossible_requests(s):
    node = s.node(plants.BEAT)
    try:
        said = [name(one.StatusCode) for one in await read(s, [node], raw())]
    except ua.UaStatusCodeError as error:
        said = [ua.StatusCode(error.code).name]
    expect(said[0] in ("BadInvalidTimestampArgument", "BadHistoryOperationInvalid", "BadInvalidArgument"), "no times:", said)
    empty = await status_of(read(s, [], raw(now() - SECOND, now())))
    expect(empty == "BadNothingToDo", "no nodes:", empty)
    none = await status_of(read(s, [node], ua.ExtensionObject()))
    expect(none in ("BadHistoryOperationInvalid", "BadHistoryOperationUnsupported", "BadInvalidArgument"), "no details:", none)


@check("history", "modified, processed and event history are refused cleanly", "OPC 10000-4, 5.11.3")
async def other_kinds(s):
    kinds = [
        raw(now() - SECOND, now(), modified=True),
        ua.ReadProcessedDetails(StartTime=now() - SECOND, EndTime=now(), ProcessingInterval=100.0, AggregateType=[zero(2342)]),
        ua.ReadEventDetails(StartTime=now() - SECOND, EndTime=now()),
    ]
    for details in kinds:
        try:
            said = [name(one.StatusCode) for one in await read(s, [s.node(plants.BEAT)], details)]
        except ua.UaStatusCodeError as error:
            said = [ua.StatusCode(error.code).name]
        allowed = ("BadHistoryOperationUnsupported", "BadHistoryOperationInvalid", "BadAggregateNotSupported", "BadServiceUnsupported")
        expect(said[0] in allowed or said[0] in ("GoodNoData", "GoodNoDataIgnored"), type(details).__name__, said)


@check("history", "timestamps are those that were asked for, Neither is refused", "OPC 10000-4, 5.11.3.2")
async def timestamps(s):
    await asyncio.sleep(1.0)
    kinds = ua.TimestampsToReturn
    result = (await read(s, [s.node(plants.BEAT)], raw(now() - SECOND, now()), stamps=kinds.Source))[0]
    found = values(result)
    expect(found and all(one.SourceTimestamp and not one.ServerTimestamp for one in found), found)
    said = await status_of(read(s, [s.node(plants.BEAT)], raw(now() - SECOND, now()), stamps=kinds.Neither))
    expect(said == "BadTimestampsToReturnInvalid", "Neither:", said)
