"""Subscriptions: keep-alives, sequence numbers, acknowledging, republishing, transfer, lifetime."""

import asyncio
import datetime
import math
import time

from asyncua import ua

from common import plant as plants
from common.check import check, expect
from common.client import Connection, name, status_of
from common.subscription import Subscription, changed, statuses

NONE = 0xFFFFFFF0


async def session(s, **options):
    """A session of its own and its subscription: nothing of other checks is published here."""
    one = await s.fresh()
    return one, await Subscription.create(one, **options)


@check("lifetimes", "the lifetime is at least three keep-alives, and no count is 0", "OPC 10000-4, 5.14.2.2")
async def revised_counts(s):
    for lifetime, keep_alive in ((0, 0), (1, 1), (2, 10), (10, 10), (100, 10), (0xFFFFFFFF, 0xFFFFFFFF)):
        created = (await Subscription.create(s.connection, 100.0, lifetime, keep_alive)).created
        await s.connection.service("DeleteSubscriptions", SubscriptionIds=[created.SubscriptionId])
        good = created.RevisedMaxKeepAliveCount >= 1 and created.RevisedLifetimeCount >= 3 * created.RevisedMaxKeepAliveCount
        expect(good, "asked", lifetime, keep_alive, "revised", created.RevisedLifetimeCount, created.RevisedMaxKeepAliveCount)


@check("lifetimes", "publishing intervals come back as possible ones", "OPC 10000-4, 5.14.2.2")
async def revised_publishing(s):
    said = {}
    for asked in (0.0, -1.0, 0.001, 5.0, 50.0, 1000.0, 1e12, math.nan, math.inf):
        try:
            created = (await Subscription.create(s.connection, asked)).created
        except ua.UaStatusCodeError as error:
            said[asked] = ua.StatusCode(error.code).name
            continue
        await s.connection.service("DeleteSubscriptions", SubscriptionIds=[created.SubscriptionId])
        said[asked] = created.RevisedPublishingInterval
    for asked, revised in said.items():
        if not math.isfinite(asked) and revised == "BadInvalidArgument":
            continue
        expect(isinstance(revised, float) and 0 < revised < math.inf, asked, revised)
    expect(said[0.0] <= 100 and said[1000.0] == 1000 and said[50.0] == 50, said)
    return said


@check("lifetimes", "without items the first keep-alive comes after one interval, numbered 1 and empty", "OPC 10000-4, 5.14.1.2")
async def first_keep_alive(s):
    one, it = await session(s, publishing=300.0, keep_alive=100)
    async with one:
        started = time.monotonic()
        found = await it.publish()
        took = time.monotonic() - started
        message = found.NotificationMessage
        expect(message.SequenceNumber == 1 and not message.NotificationData, message)
        expect(took < 5, "after", took, "s; 100 intervals are 30 s")
        return f"after {took:.2f} s"


@check("lifetimes", "keep-alives come each MaxKeepAliveCount intervals, and use up no number", "OPC 10000-4, 5.14.1.2")
async def keep_alives(s):
    one, it = await session(s, publishing=100.0, keep_alive=5)
    async with one:
        await it.publish()
        for _ in range(3):
            started = time.monotonic()
            found = await it.publish()
            took = time.monotonic() - started
            expect(not found.NotificationMessage.NotificationData and found.NotificationMessage.SequenceNumber == 1, found)
            expect(0.35 < took < 5, took, "instead of 0.5 s")


@check("lifetimes", "messages are numbered from 1 without a gap", "OPC 10000-4, 5.14.1.1")
async def sequence_numbers(s):
    one, it = await session(s, publishing=50.0)
    async with one:
        await it.items([s.node(plants.FAST)], sampling=50.0)
        numbers = [(await it.publish()).NotificationMessage.SequenceNumber for _ in range(6)]
        expect(numbers == list(range(1, 7)), numbers)


@check("lifetimes", "PublishTime is the time of now", "OPC 10000-4, 7.26")
async def publish_time(s):
    one, it = await session(s)
    async with one:
        found = (await it.publish()).NotificationMessage.PublishTime
        now = datetime.datetime.now(datetime.timezone.utc)
        expect(abs((now - found).total_seconds()) < 5, found, now)


@check("lifetimes", "Republish gives the same message again", "OPC 10000-4, 5.14.6")
async def republish(s):
    one, it = await session(s, publishing=50.0)
    async with one:
        await it.items(s.nodes([plants.FAST, plants.ANALOG]), sampling=50.0)
        published = [await it.publish(acknowledge=False) for _ in range(3)]
        for found in published:
            message = found.NotificationMessage
            request = ua.RepublishRequest()
            request.Parameters.SubscriptionId, request.Parameters.RetransmitSequenceNumber = it.id, message.SequenceNumber
            again = (await one.send(request)).NotificationMessage
            expect(again == message, "was", message, "is", again)


@check("lifetimes", "unacknowledged messages are listed as available", "OPC 10000-4, 5.14.5.2")
async def available_numbers(s):
    one, it = await session(s, publishing=50.0)
    async with one:
        await it.items([s.node(plants.FAST)], sampling=50.0)
        for count in range(1, 4):
            found = await it.publish(acknowledge=False)
            expect(list(found.AvailableSequenceNumbers) == list(range(1, count + 1)), found.AvailableSequenceNumbers)


@check("lifetimes", "an acknowledged message is gone; unknown numbers and subscriptions are told apart", "OPC 10000-4, 5.14.5")
async def acknowledge(s):
    one, it = await session(s, publishing=50.0)
    async with one:
        await it.items([s.node(plants.FAST)], sampling=50.0)
        await it.publish(acknowledge=False)
        ack = lambda subscription, number: ua.SubscriptionAcknowledgement(SubscriptionId=subscription, SequenceNumber=number)
        it.acknowledge = [ack(it.id, 1), ack(it.id, 4_000_000), ack(NONE, 1), ack(it.id, 1)]
        said = [name(status) for status in (await it.publish(acknowledge=False)).Results]
        expect(said == ["Good", "BadSequenceNumberUnknown", "BadSubscriptionIdInvalid", "BadSequenceNumberUnknown"], said)
        gone = await status_of(one.service("Republish", SubscriptionId=it.id, RetransmitSequenceNumber=1))
        expect(gone == "BadMessageNotAvailable", gone)


@check("lifetimes", "Republish of an unknown number or subscription is refused", "OPC 10000-4, 5.14.6.3")
async def republish_unknown(s):
    one, it = await session(s)
    async with one:
        said = [
            await status_of(one.service("Republish", SubscriptionId=it.id, RetransmitSequenceNumber=4_000_000)),
            await status_of(one.service("Republish", SubscriptionId=NONE, RetransmitSequenceNumber=1)),
        ]
        expect(said == ["BadMessageNotAvailable", "BadSubscriptionIdInvalid"], said)


@check("lifetimes", "Publish without a subscription is BadNoSubscription", "OPC 10000-4, 5.14.5.3")
async def publish_without_subscription(s):
    async with await s.fresh() as one:
        said = await status_of(one.service("Publish", SubscriptionAcknowledgements=[]))
        expect(said == "BadNoSubscription", said)


@check("lifetimes", "a waiting Publish ends with BadNoSubscription when the last subscription is deleted", "OPC 10000-4, 5.14.8.1")
async def publish_when_deleted(s):
    one, it = await session(s, publishing=1000.0, keep_alive=100, enabled=False)
    async with one:
        await it.publish()
        waiting = asyncio.ensure_future(status_of(it.publish()))
        await asyncio.sleep(0.3)
        await it.delete()
        said = await asyncio.wait_for(waiting, 20)
        expect(said == "BadNoSubscription", said)


@check("lifetimes", "a waiting Publish ends with the session: BadSessionClosed, or its connection", "OPC 10000-4, 5.7.4")
async def publish_when_closed(s):
    one, it = await session(s, publishing=1000.0, keep_alive=100, enabled=False)
    await it.publish()
    waiting = asyncio.ensure_future(status_of(it.publish()))
    await asyncio.sleep(0.3)
    await close_session(one, True)
    said = await asyncio.wait_for(waiting, 20)
    one.drop()
    expect(said in ("BadSessionClosed", "BadNoSubscription", "BadSessionIdInvalid") or said.startswith("closed"), said)


async def close_session(one, delete):
    request = ua.CloseSessionRequest()
    request.DeleteSubscriptions = delete
    return await one.send(request)


@check("lifetimes", "with publishing disabled keep-alives come and no data; enabled again, data", "OPC 10000-4, 5.14.4")
async def publishing_disabled(s):
    one, it = await session(s, publishing=50.0, keep_alive=4, enabled=False)
    async with one:
        await it.items([s.node(plants.FAST)], sampling=50.0)
        silent = [await it.publish() for _ in range(3)]
        expect(not any(changed(found) for found in silent), silent)
        found = await one.service("SetPublishingMode", PublishingEnabled=True, SubscriptionIds=[it.id, NONE])
        said = [name(status) for status in found.Results]
        expect(said == ["Good", "BadSubscriptionIdInvalid"], said)
        expect(await it.collect(until=lambda changes: len(changes) > 2), "no data")


@check("lifetimes", "ModifySubscription revises and takes effect", "OPC 10000-4, 5.14.3")
async def modify_subscription(s):
    one, it = await session(s, publishing=5000.0, keep_alive=10)
    async with one:
        modify = lambda number: one.service(
            "ModifySubscription",
            SubscriptionId=number,
            RequestedPublishingInterval=100.0,
            RequestedLifetimeCount=30,
            RequestedMaxKeepAliveCount=2,
            MaxNotificationsPerPublish=0,
        )
        found = await modify(it.id)
        expect(found.RevisedPublishingInterval == 100 and found.RevisedLifetimeCount >= 3 * found.RevisedMaxKeepAliveCount, found)
        expect(await status_of(modify(NONE)) == "BadSubscriptionIdInvalid", await status_of(modify(NONE)))
        started = time.monotonic()
        await it.publish()
        await it.publish()
        expect(time.monotonic() - started < 4.5, "two keep-alives took", time.monotonic() - started)


@check("lifetimes", "deleting unknown subscriptions is BadSubscriptionIdInvalid, each by itself", "OPC 10000-4, 5.14.8.3")
async def delete_unknown(s):
    one, it = await session(s)
    async with one:
        said = [name(status) for status in await one.service("DeleteSubscriptions", SubscriptionIds=[NONE, it.id, it.id])]
        expect(said == ["BadSubscriptionIdInvalid", "Good", "BadSubscriptionIdInvalid"], said)


@check("lifetimes", "a subscription without Publish ends after its lifetime", "OPC 10000-4, 5.14.1.1")
async def expiry(s):
    async with await s.fresh() as one:
        it = await Subscription.create(one, publishing=50.0, lifetime=6, keep_alive=2)
        lifetime = it.created.RevisedPublishingInterval * it.created.RevisedLifetimeCount / 1000
        expect(lifetime < 60, "lifetime", lifetime)
        await asyncio.sleep(2 * lifetime + 2)
        said = [name(status) for status in await it.delete()]
        expect(said == ["BadSubscriptionIdInvalid"], f"{2 * lifetime + 2:.1f} s after, its lifetime is {lifetime:.1f} s:", said)


@check("lifetimes", "its end is told by a StatusChange with BadTimeout on the next Publish of the session", "OPC 10000-4, 5.14.1.2")
async def expiry_is_told(s):
    one, it = await session(s, publishing=50.0, lifetime=6, keep_alive=2)
    async with one:
        await asyncio.sleep(2 * it.created.RevisedPublishingInterval * it.created.RevisedLifetimeCount / 1000 + 2)
        other = await Subscription.create(one, publishing=50.0)
        end = time.monotonic() + 5
        while time.monotonic() < end:
            found = await other.publish()
            if found.SubscriptionId == it.id:
                expect([name(status) for status in statuses(found)] == ["BadTimeout"], found)
                return
        raise AssertionError("no StatusChange in 5 s")


@check("lifetimes", "a subscription with Publish lives on, with no data as well", "OPC 10000-4, 5.14.1.1")
async def publish_keeps_alive(s):
    one, it = await session(s, publishing=100.0, lifetime=12, keep_alive=4)
    async with one:
        end = time.monotonic() + 3
        while time.monotonic() < end:
            await it.publish()
        expect([name(status) for status in await it.delete()] == ["Good"], "it ended")


@check("lifetimes", "MaxNotificationsPerPublish is kept, with MoreNotifications while there is more, and nothing is lost", "OPC 10000-4, 5.14.2.2")
async def most_per_publish(s):
    one, it = await session(s, publishing=200.0, most=7)
    async with one:
        await it.items([s.node(plants.SETPOINT)] * 40, sampling=50.0)
        handles, more = [], []
        while len(handles) < 40:
            found = await it.publish()
            part = changed(found)
            expect(len(part) <= 7, len(part), "in one message")
            handles += [handle for handle, _ in part]
            more.append(found.MoreNotifications)
        expect(sorted(handles) == list(range(40)) and any(more) and not more[-1], sorted(handles), more)


@check("lifetimes", "a subscription moves to another session: its data with it, the old one is told GoodSubscriptionTransferred", "OPC 10000-4, 5.14.7")
async def transfer(s):
    one, it = await session(s, publishing=100.0)
    async with one, await s.fresh() as other:
        await it.items([s.node(plants.BEAT)], sampling=100.0)
        await it.publish(acknowledge=False)
        waiting = asyncio.ensure_future(it.publish())
        found = await other.service("TransferSubscriptions", SubscriptionIds=[it.id, NONE], SendInitialValues=True)
        said = [name(result.StatusCode) for result in found.Results]
        expect(said == ["Good", "BadSubscriptionIdInvalid"], said)
        expect(1 in list(found.Results[0].AvailableSequenceNumbers or []), "to republish:", found.Results[0].AvailableSequenceNumbers)
        moved = Subscription(other, it.created)
        expect(await moved.collect(until=lambda changes: len(changes) >= 2), "no data")
        told = []
        end = time.monotonic() + 10
        while not told and time.monotonic() < end:
            try:
                told = statuses(await waiting)
                waiting = asyncio.ensure_future(it.publish(limit=5))
            except (ua.UaStatusCodeError, asyncio.TimeoutError) as error:
                told = [str(error)]
        waiting.cancel()
        expect([name(one) for one in told if isinstance(one, ua.StatusCode)] == ["GoodSubscriptionTransferred"], told)
        gone = await status_of(one.service("Republish", SubscriptionId=it.id, RetransmitSequenceNumber=1))
        expect(gone == "BadSubscriptionIdInvalid", "the old session:", gone)


@check("lifetimes", "SendInitialValues brings all values again, without it none that did not change", "OPC 10000-4, 5.14.7.2")
async def transfer_initial_values(s):
    for initial in (True, False):
        one, it = await session(s, publishing=100.0, keep_alive=3)
        async with one, await s.fresh() as other:
            await it.items([s.node(plants.SETPOINT)] * 3, sampling=100.0)
            await it.collect(until=lambda changes: len(changes) >= 3)
            await asyncio.sleep(0.5)
            await other.service("TransferSubscriptions", SubscriptionIds=[it.id], SendInitialValues=initial)
            changes = await Subscription(other, it.created).collect(1.5)
            expect(len(changes) == (3 if initial else 0), "SendInitialValues", initial, len(changes))


@check("lifetimes", "a closed session may leave its subscription, and another of the same user takes it", "OPC 10000-4, 5.7.4.2")
async def left_subscription(s):
    one, it = await session(s, publishing=100.0)
    await it.items([s.node(plants.BEAT)], sampling=100.0)
    await close_session(one, False)
    one.drop()
    async with await s.fresh() as other:
        found = await other.service("TransferSubscriptions", SubscriptionIds=[it.id], SendInitialValues=True)
        expect(name(found.Results[0].StatusCode) == "Good", name(found.Results[0].StatusCode))
        expect(await Subscription(other, it.created).collect(until=lambda changes: changes), "no data")


@check("lifetimes", "a session closed with its subscriptions leaves none", "OPC 10000-4, 5.7.4.2")
async def deleted_with_the_session(s):
    one, it = await session(s)
    await close_session(one, True)
    one.drop()
    async with await s.fresh() as other:
        found = await other.service("TransferSubscriptions", SubscriptionIds=[it.id], SendInitialValues=False)
        expect(name(found.Results[0].StatusCode) == "BadSubscriptionIdInvalid", name(found.Results[0].StatusCode))


@check("lifetimes", "after a broken connection the session goes on in a new channel, and what was not acknowledged comes by Republish", "OPC 10000-4, 6.7")
async def broken_connection(s):
    one, it = await session(s, publishing=100.0)
    await it.items([s.node(plants.FAST)], sampling=100.0)
    message = (await it.publish(acknowledge=False)).NotificationMessage
    token, nonce, policies = one.token, one.client._server_nonce, one.client._policy_ids
    one.drop()
    await asyncio.sleep(0.5)
    other = await Connection(s.url).channel()
    other.token, other.client._server_nonce, other.client._policy_ids = token, nonce, policies
    await other.activate(plants.USER, plants.PASSWORD)
    try:
        request = ua.RepublishRequest()
        request.Parameters.SubscriptionId, request.Parameters.RetransmitSequenceNumber = it.id, message.SequenceNumber
        expect((await other.send(request)).NotificationMessage == message, "another message")
        expect(await Subscription(other, it.created).collect(until=lambda changes: len(changes) > 3), "no data")
    finally:
        other.drop()


@check("lifetimes", "two subscriptions of a session are both served by its Publish requests", "OPC 10000-4, 5.14.1.1")
async def two_subscriptions(s):
    one, it = await session(s, publishing=100.0)
    async with one:
        other = await Subscription.create(one, publishing=100.0)
        for each in (it, other):
            await each.items([s.node(plants.FAST)], sampling=100.0)
        found = [(await it.publish()).SubscriptionId for _ in range(10)]
        expect(3 <= found.count(it.id) <= 7 and found.count(it.id) + found.count(other.id) == 10, found)


@check("lifetimes", "subscription ids are unique and not 0", "OPC 10000-4, 5.14.2.2")
async def subscription_ids(s):
    ids = []
    async with await s.fresh() as one:
        for _ in range(8):
            ids.append((await Subscription.create(one, publishing=1000.0)).id)
    expect(len(set(ids)) == 8 and 0 not in ids, ids)


@check("lifetimes", "more Publish requests than the session may have waiting: the oldest is BadTooManyPublishRequests, none is forgotten", "OPC 10000-4, 5.14.5.3")
async def many_publish_requests(s):
    one, it = await session(s, publishing=1000.0, keep_alive=100, enabled=False)
    async with one:
        await it.publish()
        waiting = [asyncio.ensure_future(status_of(it.publish(limit=60))) for _ in range(2000)]
        done, pending = await asyncio.wait(waiting, timeout=10)
        said = {task.result() for task in done}
        await it.delete()
        ended, forgotten = await asyncio.wait(pending, timeout=20) if pending else (set(), set())
        expect(said <= {"BadTooManyPublishRequests"} and done, len(done), said)
        expect(not forgotten and {task.result() for task in ended} <= {"BadNoSubscription"}, len(forgotten), "have no answer")
        return f"{len(pending)} were left waiting"
