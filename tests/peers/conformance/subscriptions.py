"""Monitored items: first values, sampling, queues and their overflow, filters, modes."""

import asyncio
import math
import time

from asyncua import ua

from common import plant as plants
from common.check import check, expect
from common.client import name, status_of
from common.subscription import Subscription

from .scene import OBJECTS, SERVER, UNKNOWN, zero

CONFIGURATION_HASH = "Canvoy.Machine.ConfigurationHash"
OVERFLOW = 0x480  # InfoType DataValue, Overflow (OPC 10000-4, 7.38.1)
INFO_BITS = 0x7FF
DATA_CHANGE = ua.DataChangeTrigger


def deadband(kind, value, trigger=DATA_CHANGE.StatusValue):
    return ua.DataChangeFilter(Trigger=trigger, DeadbandType=kind, DeadbandValue=value)


def values(changes, handle=0):
    return [one.Value.Value for number, one in changes if number == handle and one.Value is not None]


def info(one):
    return (one.StatusCode.value if one.StatusCode else 0) & INFO_BITS


async def subscription(s, **options):
    return await Subscription.create(s.connection, **options)


async def one_item(s, node, seconds=None, until=None, publishing=50.0, parallel=2, **options):
    """What comes of one item: (its create result, changes). The subscription is gone afterwards."""
    it = await subscription(s, publishing=publishing)
    try:
        result = (await it.items([node], **options))[0]
        result.StatusCode.check()
        return result, await it.collect(seconds or 1.0, until, parallel=parallel)
    finally:
        await it.delete()


def at_least(count):
    return lambda changes: len(changes) >= count


@check("subscriptions", "the first value comes within 1.5 s", "OPC 10000-4, 5.13.1.3")
async def first_value(s):
    started = time.monotonic()
    _, changes = await one_item(s, s.node(plants.ANALOG), until=at_least(1))
    took = time.monotonic() - started
    expect(took < 1.5 and changes[0][1].Value is not None, took, changes)


@check("subscriptions", "every item has a first value, also what never changes and what is Bad", "OPC 10000-4, 5.13.1.3")
async def first_value_of_each(s):
    nodes = s.nodes([*plants.READ_ONLY, *plants.WRITABLE, plants.SILENT, plants.ARMED, plants.ALARMS]) + [zero(2259), zero(2255)]
    it = await subscription(s)
    results = await it.items(nodes)
    expect(all(one.StatusCode.is_good() for one in results), [name(one.StatusCode) for one in results])
    changes = await it.collect(until=lambda changes: len({handle for handle, _ in changes}) == len(nodes))
    first = dict(reversed(changes))
    said = name(first[nodes.index(s.node(plants.SILENT))].StatusCode)
    expect(said == "BadWaitingForInitialData", "what was never received:", said)
    await it.delete()


@check("subscriptions", "what does not change is said once", "OPC 10000-4, 5.13.1.3")
async def no_repeats(s):
    _, changes = await one_item(s, s.node(plants.SETPOINT), seconds=1.5)
    expect(len(changes) == 1, len(changes), changes)


@check("subscriptions", "no two changes of an item in a row have the same value and status", "OPC 10000-4, 7.22.2")
async def no_equal_neighbours(s):
    _, changes = await one_item(s, s.node(plants.STATE), seconds=4.0, sampling=10.0, queue=100)
    facts = [(one.Value.Value, one.StatusCode.value & ~INFO_BITS) for _, one in changes]
    expect(all(first != second for first, second in zip(facts, facts[1:])), facts)


@check("subscriptions", "source timestamps do not go backwards, and are those of frames", "OPC 10000-4, 7.11.3")
async def stamps_go_forward(s):
    for sampling in (0.0, 10.0, 100.0, -1.0):
        _, changes = await one_item(s, s.node(plants.FAST), seconds=1.5, sampling=sampling, queue=1000)
        stamps = [one.SourceTimestamp for _, one in changes]
        expect(len(stamps) > 5 and stamps == sorted(stamps), "sampling", sampling, len(stamps))
        ages = [(one.ServerTimestamp - one.SourceTimestamp).total_seconds() for _, one in changes]
        expect(min(ages) >= 0 and sorted(ages)[len(ages) // 2] < 0.3, "sampling", sampling, "ages", min(ages), max(ages))


@check("subscriptions", "value and source timestamp belong together: one counts as the other goes", "OPC 10000-4, 7.11.3")
async def stamp_belongs_to_value(s):
    for sampling in (0.0, 10.0, 130.0):
        _, changes = await one_item(s, s.node(plants.BEAT), seconds=3.0, sampling=sampling, queue=100)
        rows = [(one.Value.Value, one.SourceTimestamp) for _, one in changes]
        for (first, start), (second, end) in zip(rows, rows[1:]):
            steps = (second - first) % 256
            took = (end - start).total_seconds()
            expect(abs(took - 0.2 * steps) < 0.05 + 0.02 * steps, "sampling", sampling, steps, "frames of 200 ms in", took, "s")


@check("subscriptions", "sampling interval 0 sees every frame of a 200 ms message", "OPC 10000-4, 7.21")
async def every_frame(s):
    _, changes = await one_item(s, s.node(plants.BEAT), seconds=4.0, sampling=0.0, queue=100)
    found = values(changes)
    steps = {(second - first) % 256 for first, second in zip(found, found[1:])}
    expect(len(found) >= 15 and steps == {1}, found)


@check("subscriptions", "sampling interval -1 is revised to the publishing interval", "OPC 10000-4, 5.13.1.2")
async def sampling_of_the_subscription(s):
    it = await subscription(s, publishing=500.0)
    result = (await it.items([s.node(plants.ANALOG)], sampling=-1.0))[0]
    expect(result.RevisedSamplingInterval == it.created.RevisedPublishingInterval, result.RevisedSamplingInterval, it.created.RevisedPublishingInterval)
    await it.delete()


@check("subscriptions", "sampling intervals come back as possible ones: 0 stays 0 or the fastest, none is negative or NaN", "OPC 10000-4, 5.13.1.2")
async def revised_sampling(s):
    it = await subscription(s, publishing=100.0)
    said = {}
    for asked in (0.0, 0.001, 1.0, 5.0, 10.0, 250.0, 1e9, -1.0, -5.0, math.nan, math.inf):
        result = (await it.items([s.node(plants.ANALOG)], sampling=asked))[0]
        said[asked] = (name(result.StatusCode), result.RevisedSamplingInterval)
    await it.delete()
    for asked, (status, revised) in said.items():
        # what is no number may be refused as well
        refused = not math.isfinite(asked) and status == "BadInvalidArgument"
        expect(refused or status == "Good" and 0 <= revised < math.inf, asked, status, revised)
    expect(said[0.0][1] <= 10 and said[0.001][1] <= 50 and said[250.0][1] >= 250 and said[10.0][1] >= 10, said)
    return said


@check("subscriptions", "an item modified to sampling -1 has the publishing interval, too", "OPC 10000-4, 5.13.3.2")
async def modified_sampling(s):
    it = await subscription(s, publishing=500.0)
    result = (await it.items([s.node(plants.ANALOG)], sampling=100.0))[0]
    asked = ua.MonitoringParameters(ClientHandle=0, SamplingInterval=-1.0, QueueSize=1)
    wanted = [ua.MonitoredItemModifyRequest(MonitoredItemId=result.MonitoredItemId, RequestedParameters=asked)]
    found = await s.connection.service("ModifyMonitoredItems", SubscriptionId=it.id, ItemsToModify=wanted)
    await it.delete()
    expect(found[0].RevisedSamplingInterval == it.created.RevisedPublishingInterval, found)


@check("subscriptions", "queue size 0 becomes 1, 1 stays 1, 2^32-1 the most there is", "OPC 10000-4, 5.13.1.5")
async def revised_queue(s):
    it = await subscription(s)
    said = {}
    for asked in (0, 1, 2, 10, 1000, 0xFFFFFFFF):
        said[asked] = (await it.items([s.node(plants.ANALOG)], queue=asked))[0].RevisedQueueSize
    await it.delete()
    expect(said[0] == 1 and said[1] == 1 and said[2] == 2 and said[10] == 10, said)
    expect(1 <= said[0xFFFFFFFF] <= 100_000 and said[1000] <= 1000, said)
    return said


@check("subscriptions", "what is promised is granted: sampling and publishing at 5 ms and no faster, queues of 10,000", "issue: truth in time and quality")
async def promised_limits(s):
    it = await subscription(s, publishing=5.0)
    said = [it.created.RevisedPublishingInterval]
    for sampling in (5.0, 1.0, 20.0):
        said.append((await it.items([s.node(plants.ANALOG)], sampling=sampling))[0].RevisedSamplingInterval)
    said.append((await it.items([s.node(plants.FAST)], queue=10_000))[0].RevisedQueueSize)
    await it.delete()
    expect(said == [5, 5, 5, 20, 10_000], "publishing, sampling of 5, 1 and 20, queue:", said)


async def overflowed(s, **options):
    """Changes of a fast counter in one message after its queue has overflowed."""
    it = await subscription(s, publishing=1000.0)
    result = (await it.items([s.node(plants.FAST)], sampling=0.0, **options))[0]
    await it.publish()
    await asyncio.sleep(1.2)
    published = await it.publish()
    await it.delete()
    changes = [one for data in published.NotificationMessage.NotificationData for one in data.MonitoredItems]
    return result, [one.Value for one in changes]


@check("subscriptions", "discarding the oldest keeps the newest values, with Overflow (0x480) on the first of them alone", "OPC 10000-4, 5.13.1.5")
async def overflow_discards_oldest(s):
    result, found = await overflowed(s, queue=5)
    said = [(one.Value.Value, hex(info(one))) for one in found]
    expect(len(found) == result.RevisedQueueSize == 5, said)
    expect([info(one) for one in found] == [OVERFLOW, 0, 0, 0, 0], said)
    counts = [one.Value.Value for one in found]
    expect(counts == sorted(counts) and counts[-1] - counts[0] < 60, said)


@check("subscriptions", "not discarding the oldest keeps it, with Overflow (0x480) on the last value alone", "OPC 10000-4, 5.13.1.5")
async def overflow_discards_newest(s):
    result, found = await overflowed(s, queue=5, oldest=False)
    said = [(one.Value.Value, hex(info(one))) for one in found]
    expect(len(found) == 5 and [info(one) for one in found] == [0, 0, 0, 0, OVERFLOW], said)
    counts = [one.Value.Value for one in found]
    expect(counts[3] - counts[0] < 100 and counts[4] - counts[3] > 100, said)


@check("subscriptions", "a queue of one never says Overflow", "OPC 10000-4, 5.13.1.5")
async def no_overflow_at_queue_one(s):
    for oldest in (True, False):
        _, found = await overflowed(s, queue=1, oldest=oldest)
        expect(len(found) == 1 and info(found[0]) == 0, [(one.Value.Value, hex(info(one))) for one in found])


@check("subscriptions", "a queue that held all says no Overflow", "OPC 10000-4, 5.13.1.5")
async def no_overflow_without_loss(s):
    it = await subscription(s, publishing=1000.0)
    await it.items([s.node(plants.BEAT)], sampling=0.0, queue=100)
    changes = await it.collect(3.0)
    await it.delete()
    expect(len(changes) > 8 and all(info(one) == 0 for _, one in changes), [hex(info(one)) for _, one in changes])


@check("subscriptions", "absolute deadband: neighbours differ by more", "OPC 10000-4, 7.22.2")
async def absolute_deadband(s):
    _, changes = await one_item(s, s.node(plants.ANALOG), seconds=4.0, sampling=50.0, queue=100, filter=deadband(1, 200.0))
    found = values(changes)
    expect(len(found) >= 3 and all(abs(first - second) > 200 for first, second in zip(found, found[1:])), found)


@check("subscriptions", "percent deadband: neighbours differ by more of the EURange", "OPC 10000-8, 7.2")
async def percent_deadband(s):
    _, changes = await one_item(s, s.node(plants.ANALOG), seconds=4.0, sampling=50.0, queue=100, filter=deadband(2, 5.0))
    found = values(changes)
    expect(len(found) >= 3 and all(abs(first - second) > 320 for first, second in zip(found, found[1:])), found)


@check("subscriptions", "percent deadband for more items than translate takes is served", "OPC 10000-8, 7.2")
async def many_percent_deadbands(s):
    it = await subscription(s)
    found = await it.items([s.node(plants.ANALOG)] * 300, filter=deadband(2, 5.0))
    await it.delete()
    said = {name(one.StatusCode) for one in found}
    expect(said == {"Good"}, said)


@check("subscriptions", "percent deadband where there is no EURange is refused", "OPC 10000-4, 7.22.2")
async def percent_deadband_without_range(s):
    it = await subscription(s)
    found = [name(one.StatusCode) for one in await it.items(s.nodes([plants.BIT, plants.STATE, CONFIGURATION_HASH]), filter=deadband(2, 5.0))]
    await it.delete()
    allowed = {"BadFilterNotAllowed", "BadDeadbandFilterInvalid", "BadMonitoredItemFilterUnsupported"}
    expect(set(found) <= allowed, found)


@check("subscriptions", "a deadband for a String is BadFilterNotAllowed", "OPC 10000-4, 5.13.2.4")
async def deadband_of_a_string(s):
    it = await subscription(s)
    found = [name(one.StatusCode) for one in await it.items([s.node(CONFIGURATION_HASH)], filter=deadband(1, 5.0))]
    await it.delete()
    expect(set(found) <= {"BadFilterNotAllowed", "BadDeadbandFilterInvalid", "BadMonitoredItemFilterUnsupported"}, found)


@check("subscriptions", "impossible deadbands are refused: below 0, above 100 percent, NaN, of an unknown kind", "OPC 10000-4, 7.38.2")
async def impossible_deadbands(s):
    it = await subscription(s)
    said = {}
    for kind, value in ((1, -1.0), (2, -1.0), (2, 100.5), (1, math.nan), (2, math.nan), (3, 1.0), (99, 1.0)):
        said[kind, value] = name((await it.items([s.node(plants.ANALOG)], filter=deadband(kind, value)))[0].StatusCode)
    await it.delete()
    allowed = {"BadDeadbandFilterInvalid", "BadMonitoredItemFilterInvalid", "BadMonitoredItemFilterUnsupported"}
    expect(set(said.values()) <= allowed, said)


@check("subscriptions", "a data change filter for another attribute, an event filter for a value are refused", "OPC 10000-4, 5.13.2.4")
async def wrong_filters(s):
    it = await subscription(s)
    refused = {"BadFilterNotAllowed", "BadMonitoredItemFilterUnsupported", "BadMonitoredItemFilterInvalid"}
    found = (await it.items([s.node(plants.ANALOG)], filter=deadband(1, 1.0), attribute=ua.AttributeIds.DisplayName))[0]
    expect(name(found.StatusCode) in refused, "DisplayName", name(found.StatusCode))
    events = ua.EventFilter(SelectClauses=[ua.SimpleAttributeOperand(TypeDefinitionId=zero(2041), BrowsePath=[ua.QualifiedName("Time", 0)], AttributeId=13)])
    found = (await it.items([s.node(plants.ANALOG)], filter=events))[0]
    expect(name(found.StatusCode) in refused, "event filter", name(found.StatusCode))
    aggregate = ua.AggregateFilter(AggregateType=zero(2342), ProcessingInterval=1000.0)
    found = (await it.items([s.node(plants.ANALOG)], filter=aggregate))[0]
    expect(name(found.StatusCode) in refused | {"BadAggregateNotSupported"}, "aggregate filter", name(found.StatusCode))
    await it.delete()


@check("subscriptions", "a change of quality alone is notified without a filter: Good, late, Good at one value", "OPC 10000-4, 7.22.2")
async def quality_change_without_filter(s):
    _, changes = await one_item(s, s.node(plants.LATE), until=at_least(5), sampling=20.0, queue=100)
    found = [name(one.StatusCode) for _, one in changes]
    expect(len(set(values(changes))) == 1, values(changes))
    late = "UncertainNoCommunicationLastUsableValue"
    expect(all((first == late) != (second == late) for first, second in zip(found, found[1:])), found)


@check("subscriptions", "trigger Status notifies changes of status and nothing else", "OPC 10000-4, 7.22.2")
async def trigger_status(s):
    trigger = deadband(0, 0.0, DATA_CHANGE.Status)
    it = await subscription(s)
    await it.items(s.nodes([plants.LATE, plants.BEAT]), sampling=20.0, queue=100, filter=trigger)
    changes = await it.collect(4.0)
    await it.delete()
    late = [name(one.StatusCode) for handle, one in changes if handle == 0]
    expect(len(late) >= 3 and all(first != second for first, second in zip(late, late[1:])), late)
    expect(len(values(changes, 1)) == 1, "of a counter:", values(changes, 1))


@check("subscriptions", "trigger StatusValueTimestamp notifies each frame, also one with the same value", "OPC 10000-4, 7.22.2")
async def trigger_timestamp(s):
    trigger = deadband(0, 0.0, DATA_CHANGE.StatusValueTimestamp)
    _, changes = await one_item(s, s.node(plants.SETPOINT), seconds=3.0, sampling=50.0, queue=100, filter=trigger)
    stamps = [one.SourceTimestamp for _, one in changes]
    expect(len(stamps) == len(set(stamps)) and len(stamps) >= 1, stamps)
    # of received frames there is no doubt when they came
    _, changes = await one_item(s, s.node(plants.LATE), seconds=4.0, sampling=0.0, queue=100, filter=trigger)
    stamps = sorted({one.SourceTimestamp for _, one in changes})
    expect(len(stamps) >= 3, "frames of a message that comes each second, in 4 s:", len(stamps))


@check("subscriptions", "items of nodes that are not there are BadNodeIdUnknown, in every namespace", "OPC 10000-4, 5.13.2.4")
async def unknown_nodes(s):
    nodes = [ua.NodeId(999_999, 0), ua.NodeId(UNKNOWN, 0), ua.NodeId(UNKNOWN, 1), s.node(UNKNOWN), ua.NodeId(1, 77)]
    it = await subscription(s)
    said = {str(node): name(one.StatusCode) for node, one in zip(nodes, await it.items(nodes))}
    await it.delete()
    expect(set(said.values()) == {"BadNodeIdUnknown"}, said)


@check("subscriptions", "items of attributes that are not there are BadAttributeIdInvalid", "OPC 10000-4, 5.13.2.4")
async def wrong_attributes(s):
    it = await subscription(s)
    cases = [(zero(SERVER), 13), (zero(OBJECTS), 13), (s.node(plants.ANALOG), 99), (s.node(plants.ANALOG), 0)]
    said = [name((await it.items([node], attribute=attribute))[0].StatusCode) for node, attribute in cases]
    await it.delete()
    expect(set(said) == {"BadAttributeIdInvalid"}, said)


@check("subscriptions", "a wrong IndexRange or DataEncoding is refused for its item", "OPC 10000-4, 5.13.2.4")
async def wrong_range_and_encoding(s):
    it = await subscription(s)
    said = []
    for more in ({"IndexRange": "abc"}, {"IndexRange": "1:0"}, {"DataEncoding": ua.QualifiedName("Nonsense", 0)}):
        try:
            said.append(name((await it.items([s.node(plants.ALARMS)], **more))[0].StatusCode))
        except ua.UaStatusCodeError as error:
            said.append("the whole request: " + ua.StatusCode(error.code).name)
    await it.delete()
    expect(said[:2] == ["BadIndexRangeInvalid"] * 2 and said[2] in ("BadDataEncodingInvalid", "BadDataEncodingUnsupported"), said)


@check("subscriptions", "an item with IndexRange has this part of the array", "OPC 10000-4, 7.27")
async def item_with_range(s):
    it = await subscription(s)
    result = (await it.items([zero(2255)], IndexRange="0"))[0]
    expect(name(result.StatusCode) == "Good", name(result.StatusCode))
    found = values(await it.collect(until=at_least(1)))
    await it.delete()
    expect(found[0] == s.namespaces[:1], found)


@check("subscriptions", "items of other attributes have their value once", "OPC 10000-4, 5.13.1.1")
async def item_of_another_attribute(s):
    it = await subscription(s)
    await it.items([s.node(plants.ANALOG)], attribute=ua.AttributeIds.DisplayName)
    changes = await it.collect(1.0)
    await it.delete()
    expect(len(changes) == 1 and changes[0][1].Value.Value.Text == "Speed", changes)


@check("subscriptions", "timestamps are those that were asked for", "OPC 10000-4, 5.13.2.2")
async def timestamps_to_return(s):
    kinds = ua.TimestampsToReturn
    for stamps, source, server in ((kinds.Source, True, False), (kinds.Server, False, True), (kinds.Both, True, True), (kinds.Neither, False, False)):
        it = await subscription(s)
        await it.items([s.node(plants.ANALOG)], stamps=stamps)
        one = (await it.collect(until=at_least(1)))[0][1]
        await it.delete()
        expect((one.SourceTimestamp is not None, one.ServerTimestamp is not None) == (source, server), stamps.name, one)


@check("subscriptions", "wrong requests are refused whole: unknown subscription, no items, wrong timestamps", "OPC 10000-4, 5.13.2.3")
async def wrong_create_requests(s):
    it = await subscription(s)
    item = ua.MonitoredItemCreateRequest(ItemToMonitor=ua.ReadValueId(NodeId=s.node(plants.ANALOG), AttributeId=13), MonitoringMode=ua.MonitoringMode.Reporting)
    create = lambda **more: status_of(s.connection.service("CreateMonitoredItems", **{"SubscriptionId": it.id, "ItemsToCreate": [item], **more}))
    said = [await create(SubscriptionId=0xFFFFFFF0), await create(ItemsToCreate=[]), await create(TimestampsToReturn=ua.TimestampsToReturn.Invalid)]
    await it.delete()
    expect(said == ["BadSubscriptionIdInvalid", "BadNothingToDo", "BadTimestampsToReturnInvalid"], said)


@check("subscriptions", "more items in one call than MaxMonitoredItemsPerCall is BadTooManyOperations", "OPC 10000-4, 5.13.2.3")
async def too_many_in_one_call(s):
    most = await s.limit(ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall)
    expect(most, "no limit is said")
    it = await subscription(s)
    said = await status_of(it.items([s.node(plants.ANALOG)] * (most + 1), mode=ua.MonitoringMode.Disabled))
    await it.delete()
    expect(said == "BadTooManyOperations", said)


@check("subscriptions", "ids are unique and not 0", "OPC 10000-4, 5.13.2.2")
async def item_ids(s):
    it = await subscription(s)
    ids = [one.MonitoredItemId for one in await it.items([s.node(plants.ANALOG)] * 50)]
    await it.delete()
    expect(len(set(ids)) == 50 and 0 not in ids, ids)


@check("subscriptions", "one thousand items in one call all have their first value", "OPC 10000-4, 5.13.2")
async def thousand_items(s):
    it = await subscription(s, publishing=100.0)
    await it.items([s.node(plants.SETPOINT)] * 1000, sampling=100.0, queue=1)
    changes = await it.collect(until=lambda changes: len({handle for handle, _ in changes}) == 1000)
    await it.delete()
    return f"{len(changes)} changes"


@check("subscriptions", "Modify changes sampling, queue and client handle", "OPC 10000-4, 5.13.3")
async def modify_item(s):
    it = await subscription(s)
    created = (await it.items([s.node(plants.BEAT)], sampling=50.0))[0]
    await it.collect(until=at_least(1))
    asked = ua.MonitoringParameters(ClientHandle=77, SamplingInterval=300.0, QueueSize=3)
    wanted = [ua.MonitoredItemModifyRequest(MonitoredItemId=created.MonitoredItemId, RequestedParameters=asked)]
    wanted.append(ua.MonitoredItemModifyRequest(MonitoredItemId=0xFFFFFFF0, RequestedParameters=asked))
    found = await s.connection.service("ModifyMonitoredItems", SubscriptionId=it.id, TimestampsToReturn=ua.TimestampsToReturn.Both, ItemsToModify=wanted)
    said = [name(one.StatusCode) for one in found]
    expect(said == ["Good", "BadMonitoredItemIdInvalid"], said)
    expect(found[0].RevisedSamplingInterval >= 300 and found[0].RevisedQueueSize == 3, found[0])
    changes = await it.collect(until=lambda changes: len([1 for handle, _ in changes if handle == 77]) >= 3)
    await it.delete()
    handles = [handle for handle, _ in changes]
    expect(77 in handles, handles)


@check("subscriptions", "a deleted item is silent; deleting it again is BadMonitoredItemIdInvalid", "OPC 10000-4, 5.13.6")
async def delete_item(s):
    it = await subscription(s, keep_alive=3)
    ids = [one.MonitoredItemId for one in await it.items(s.nodes([plants.BEAT, plants.BEAT]))]
    await it.collect(until=at_least(2))
    delete = lambda: s.connection.service("DeleteMonitoredItems", SubscriptionId=it.id, MonitoredItemIds=[ids[0], 0xFFFFFFF0])
    said = [name(one) for one in await delete()]
    expect(said == ["Good", "BadMonitoredItemIdInvalid"], said)
    await it.collect(0.5)
    handles = {handle for handle, _ in await it.collect(1.0)}
    again = [name(one) for one in await delete()]
    await it.delete()
    expect(handles == {1} and again[0] == "BadMonitoredItemIdInvalid", handles, again)


async def set_mode(s, it, ids, mode):
    found = await s.connection.service("SetMonitoringMode", SubscriptionId=it.id, MonitoringMode=mode, MonitoredItemIds=ids)
    return [name(one) for one in found.Results]


@check("subscriptions", "a disabled item is silent, and begins anew when it is enabled", "OPC 10000-4, 5.13.4")
async def disabled_item(s):
    it = await subscription(s, keep_alive=3)
    created = (await it.items([s.node(plants.BEAT)], mode=ua.MonitoringMode.Disabled))[0]
    silent = await it.collect(1.0)
    said = await set_mode(s, it, [created.MonitoredItemId, 0xFFFFFFF0], ua.MonitoringMode.Reporting)
    changes = await it.collect(until=at_least(2))
    await set_mode(s, it, [created.MonitoredItemId], ua.MonitoringMode.Disabled)
    await it.collect(0.5)
    after = await it.collect(1.0)
    await it.delete()
    expect(not silent and not after, "while disabled:", silent, after)
    expect(said == ["Good", "BadMonitoredItemIdInvalid"] and changes, said)


@check("subscriptions", "an item that only samples says nothing until it reports", "OPC 10000-4, 5.13.1.3")
async def sampling_item(s):
    it = await subscription(s, keep_alive=3)
    created = (await it.items([s.node(plants.BEAT)], sampling=20.0, queue=100, mode=ua.MonitoringMode.Sampling))[0]
    silent = await it.collect(1.2)
    await set_mode(s, it, [created.MonitoredItemId], ua.MonitoringMode.Reporting)
    changes = await it.collect(until=at_least(3))
    await it.delete()
    expect(not silent, "while sampling:", silent)
    found = values(changes)
    expect(len(found) >= 3 and {(second - first) % 256 for first, second in zip(found, found[1:])} == {1}, found)


@check("subscriptions", "a monitoring mode out of its range is BadMonitoringModeInvalid", "OPC 10000-4, 5.13.4.3")
async def wrong_mode(s):
    it = await subscription(s)
    created = (await it.items([s.node(plants.BEAT)]))[0]
    said = await status_of(s.connection.service("SetMonitoringMode", SubscriptionId=it.id, MonitoringMode=99, MonitoredItemIds=[created.MonitoredItemId]))
    await it.delete()
    expect(said == "BadMonitoringModeInvalid", said)


@check("subscriptions", "a triggering item brings what the linked one has sampled", "OPC 10000-4, 5.13.5")
async def triggering(s):
    it = await subscription(s, keep_alive=3)
    trigger = (await it.items([s.node(plants.SETPOINT)], sampling=20.0))[0]
    linked = (await it.items([s.node(plants.BEAT)], sampling=20.0, queue=1, mode=ua.MonitoringMode.Sampling, first=1))[0]
    found = await s.connection.service(
        "SetTriggering", SubscriptionId=it.id, TriggeringItemId=trigger.MonitoredItemId, LinksToAdd=[linked.MonitoredItemId, 0xFFFFFFF0], LinksToRemove=[]
    )
    said = [name(one) for one in found.AddResults]
    expect(said == ["Good", "BadMonitoredItemIdInvalid"], said)
    await it.collect(1.0)
    quiet = [handle for handle, _ in await it.collect(1.0)]
    value = await s.connection.value(s.node(plants.SETPOINT))
    # the request that nobody waits for any more is answered by a keep-alive first
    await asyncio.sleep(0.5)
    await s.connection.write(s.node(plants.SETPOINT), 400.0 if value != 400.0 else 401.0, ua.VariantType.Double)
    changes = await it.collect(until=lambda changes: {0, 1} <= {handle for handle, _ in changes})
    await it.delete()
    expect(1 not in quiet and len([1 for handle, _ in changes if handle == 1]) == 1, quiet, changes)


@check("subscriptions", "SetTriggering of an unknown item or subscription is refused", "OPC 10000-4, 5.13.5.3")
async def wrong_triggering(s):
    it = await subscription(s)
    one = (await it.items([s.node(plants.BEAT)]))[0]
    ask = lambda **more: status_of(
        s.connection.service("SetTriggering", **{"SubscriptionId": it.id, "TriggeringItemId": one.MonitoredItemId, "LinksToAdd": [one.MonitoredItemId], **more})
    )
    said = [await ask(SubscriptionId=0xFFFFFFF0), await ask(TriggeringItemId=0xFFFFFFF0), await ask(LinksToAdd=[])]
    await it.delete()
    expect(said == ["BadSubscriptionIdInvalid", "BadMonitoredItemIdInvalid", "BadNothingToDo"], said)


@check("subscriptions", "values of one message are of one frame, in one sample", "OPC 10000-4, 7.11.3")
async def consistent_message(s):
    it = await subscription(s, publishing=100.0)
    await it.items(s.nodes([plants.ANALOG, plants.TEMPERATURE]), sampling=100.0, queue=10)
    changes = await it.collect(2.0)
    await it.delete()
    first, second = ({one.SourceTimestamp for handle, one in changes if handle == number} for number in (0, 1))
    common = len(first & second)
    expect(common >= 0.8 * min(len(first), len(second)) and common > 3, common, "of", len(first), len(second))


@check("subscriptions", "CurrentTime and ValueAsText can be monitored and change", "OPC 10000-5, 12.10")
async def live_standard_nodes(s):
    it = await subscription(s)
    await it.items([zero(2258)], sampling=100.0, queue=10)
    found = values(await it.collect(until=at_least(3)))
    await it.delete()
    expect(found == sorted(found), found)
    from .analog import properties

    text = (await properties(s, s.node(plants.STATE)))["ValueAsText"]
    it = await subscription(s)
    await it.items([s.node(plants.STATE), text], sampling=20.0, queue=10)
    changes = await it.collect(until=lambda changes: len(values(changes, 1)) >= 3)
    await it.delete()
    words = ["Off", "Idle", "Running", "Fault"]
    expect(all(one.Text in words for one in values(changes, 1)), changes)
