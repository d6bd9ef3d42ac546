"""A subscription whose Publish requests are the check's own: nothing is asked, acknowledged or dropped behind its back."""

import asyncio
import time

from asyncua import ua


class Subscription:
    """`items` adds monitored items with handles 0, 1, 2...; `collect` publishes and gives back what came."""

    def __init__(self, connection, created):
        self.connection, self.created, self.id = connection, created, created.SubscriptionId
        self.acknowledge = []
        self.messages = []

    @staticmethod
    async def create(connection, publishing=50.0, lifetime=3000, keep_alive=10, enabled=True, most=0, priority=0):
        created = await connection.service(
            "CreateSubscription",
            RequestedPublishingInterval=publishing,
            RequestedLifetimeCount=lifetime,
            RequestedMaxKeepAliveCount=keep_alive,
            MaxNotificationsPerPublish=most,
            PublishingEnabled=enabled,
            Priority=priority,
        )
        return Subscription(connection, created)

    async def items(self, nodes, sampling=50.0, queue=10, oldest=True, filter=None, mode=ua.MonitoringMode.Reporting, attribute=13, first=0, **more):
        """MonitoredItemCreateResults of these nodes."""
        stamps = more.pop("stamps", ua.TimestampsToReturn.Both)
        wanted = []
        for handle, node in enumerate(nodes, first):
            item = ua.ReadValueId(NodeId=node, AttributeId=attribute, **more)
            asked = ua.MonitoringParameters(ClientHandle=handle, SamplingInterval=sampling, QueueSize=queue, DiscardOldest=oldest, Filter=filter)
            wanted.append(ua.MonitoredItemCreateRequest(ItemToMonitor=item, MonitoringMode=mode, RequestedParameters=asked))
        return await self.connection.service("CreateMonitoredItems", SubscriptionId=self.id, TimestampsToReturn=stamps, ItemsToCreate=wanted)

    async def publish(self, acknowledge=True, limit=20):
        """One PublishResult, of whatever subscription of the session; its message is acknowledged with the next one."""
        acks, self.acknowledge = self.acknowledge, []
        found = await self.connection.service("Publish", limit, SubscriptionAcknowledgements=acks)
        self.messages.append(found)
        if acknowledge and found.NotificationMessage.NotificationData:
            number = found.NotificationMessage.SequenceNumber
            self.acknowledge.append(ua.SubscriptionAcknowledgement(SubscriptionId=found.SubscriptionId, SequenceNumber=number))
        return found

    async def collect(self, seconds=1.0, until=None, most=30.0, parallel=1):
        """Publishes for this time, or until `until(changes)`: (handle, DataValue) of each change, in order."""
        changes, start = [], time.monotonic()
        waiting = []
        try:
            while True:
                passed = time.monotonic() - start
                if until is not None and until(changes) or until is None and passed > seconds:
                    return changes
                if passed > most:
                    if until is None:
                        return changes
                    raise TimeoutError(f"{len(changes)} changes in {most} s: {[(handle, one.Value, one.StatusCode) for handle, one in changes[-5:]]}")
                while len(waiting) < parallel:
                    waiting.append(asyncio.ensure_future(self.publish()))
                left = (most if until is not None else seconds) - passed
                done, _ = await asyncio.wait(waiting[:1], timeout=max(left, 0.01))
                if done:
                    found = waiting.pop(0).result()
                    changes += changed(found) if found.SubscriptionId == self.id else []
        finally:
            for task in waiting:
                task.cancel()

    async def delete(self):
        return await self.connection.service("DeleteSubscriptions", SubscriptionIds=[self.id])


def changed(published):
    """The data changes in a PublishResult."""
    found = []
    for one in published.NotificationMessage.NotificationData or []:
        if isinstance(one, ua.DataChangeNotification):
            found += [(item.ClientHandle, tidy(item.Value)) for item in one.MonitoredItems]
    return found


def tidy(value):
    """A Null Variant and none at all are the same, and so are Good and no status."""
    if value.Value is not None and value.Value.VariantType == ua.VariantType.Null:
        value.Value = None
    value.StatusCode = value.StatusCode or ua.StatusCode(0)
    return value


def statuses(published):
    """The status changes in a PublishResult."""
    return [one.Status for one in published.NotificationMessage.NotificationData or [] if isinstance(one, ua.StatusChangeNotification)]
