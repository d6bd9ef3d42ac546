"""What the checks of alarms share: a plant with alarms that a check raises by writing, events of conditions, method calls."""

import time

from asyncua import ua

from common import plant as plants
from common.client import name
from common.subscription import Subscription
from conformance import scene
from conformance.scene import SERVER, zero

O = ua.ObjectIds
CONDITION, ALARM = O.ConditionType, O.AlarmConditionType
SETPOINT, LEVEL, ENABLED, LATE = "alarm:setpoint", "alarm:level", "alarm:enabled", "late:m.Late"
# Fields of events: type that they are asked for at, and path.
FIELDS = {
    "EventId": O.BaseEventType,
    "EventType": O.BaseEventType,
    "SourceNode": O.BaseEventType,
    "SourceName": O.BaseEventType,
    "Time": O.BaseEventType,
    "Message": O.BaseEventType,
    "Severity": O.BaseEventType,
    "ConditionName": CONDITION,
    "ConditionClassId": CONDITION,
    "ConditionClassName": CONDITION,
    "BranchId": CONDITION,
    "Retain": CONDITION,
    "EnabledState": CONDITION,
    "EnabledState/Id": CONDITION,
    "Quality": CONDITION,
    "LastSeverity": CONDITION,
    "Comment": CONDITION,
    "ClientUserId": CONDITION,
    "AckedState": O.AcknowledgeableConditionType,
    "AckedState/Id": O.AcknowledgeableConditionType,
    "ConfirmedState/Id": O.AcknowledgeableConditionType,
    "ActiveState": ALARM,
    "ActiveState/Id": ALARM,
    "ActiveState/EffectiveDisplayName": ALARM,
    "ActiveState/TransitionTime": ALARM,
    "SuppressedState/Id": ALARM,
    "SuppressedOrShelved": ALARM,
    "ShelvingState/CurrentState": ALARM,
    "ShelvingState/CurrentState/Id": ALARM,
    "MaxTimeShelved": ALARM,
    "InputNode": ALARM,
    "HighHighLimit": O.LimitAlarmType,
    "LimitState/CurrentState": O.ExclusiveLimitAlarmType,
    "HighHighState/Id": O.NonExclusiveLimitAlarmType,
    "HighState/Id": O.NonExclusiveLimitAlarmType,
}


def event_filter(where=None):
    select = [
        ua.SimpleAttributeOperand(TypeDefinitionId=zero(of), BrowsePath=[ua.QualifiedName(one, 0) for one in path.split("/")], AttributeId=13)
        for path, of in FIELDS.items()
    ]
    # the condition itself
    select.append(ua.SimpleAttributeOperand(TypeDefinitionId=zero(CONDITION), BrowsePath=[], AttributeId=ua.AttributeIds.NodeId))
    filter = ua.EventFilter(SelectClauses=select)
    if where is not None:
        operand = ua.LiteralOperand(Value=ua.Variant(zero(where), ua.VariantType.NodeId))
        element = ua.ContentFilterElement(FilterOperator=ua.FilterOperator.OfType, FilterOperands=[operand])
        filter.WhereClause = ua.ContentFilter(Elements=[element])
    return filter


class Events:
    """The events of one monitored item, kept in the order in which they came."""

    def __init__(self, subscription, item, namespace):
        self.subscription, self.item, self.namespace = subscription, item, namespace
        self.seen = []

    @staticmethod
    async def at(s, node=None, connection=None, where=None, queue=1000):
        subscription = await Subscription.create(connection or s.connection, publishing=50.0, keep_alive=4)
        node = zero(SERVER) if node is None else node
        created = (
            await subscription.items([node], sampling=0.0, queue=queue, attribute=ua.AttributeIds.EventNotifier, filter=event_filter(where))
        )[0]
        created.StatusCode.check()
        return Events(subscription, created.MonitoredItemId, s.namespace)

    async def pump(self):
        for data in (await self.subscription.publish()).NotificationMessage.NotificationData or []:
            for one in getattr(data, "Events", None) or []:
                event = dict(zip([*FIELDS, "ConditionId"], [field.Value for field in one.EventFields]))
                event["key"] = None
                if event["ConditionId"] is not None:
                    event["key"] = str(event["ConditionId"].Identifier).removeprefix("Canvoy.Alarms.")
                self.seen.append(event)

    async def wait(self, wanted, limit=15, what="an event"):
        """The first event from now on, or among those that nobody has waited for yet, that is wanted. Earlier ones are dropped."""
        end = time.monotonic() + limit
        while True:
            while self.seen:
                event = self.seen.pop(0)
                if wanted(event):
                    return event
            if time.monotonic() > end:
                raise TimeoutError(f"{what} did not come in {limit} s")
            await self.pump()

    async def gather(self, seconds):
        """All that come in this time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await self.pump()
        found, self.seen = self.seen, []
        return found

    async def close(self):
        await self.subscription.delete()


def of(key, active=None, acked=None, **fields):
    """Whether an event is of this alarm, and so."""

    def wanted(event):
        same = event["key"] == key
        if active is not None:
            same = same and event["ActiveState/Id"] is active
        if acked is not None:
            same = same and event["AckedState/Id"] is acked
        return same and all(event[field.replace("__", "/")] == value for field, value in fields.items())

    return wanted


class Scene(scene.Scene):
    more = plants.ALARM_LINES

    def condition(self, key, path=""):
        return self.node(f"Canvoy.Alarms.{key}{'.' if path else ''}{path.replace('/', '.')}")

    async def call(self, target, method, *arguments, connection=None):
        """The name of the status of one call."""
        return name((await (connection or self.connection).call(target, method, *arguments)).StatusCode)

    async def do(self, key, method, *arguments, connection=None):
        """Calls a method of the condition itself."""
        return await self.call(self.condition(key), self.condition(key, method), *arguments, connection=connection)

    async def on_event(self, key, method, event_id, text="", connection=None):
        comment = ua.Variant(ua.LocalizedText(text or None), ua.VariantType.LocalizedText)
        return await self.do(key, method, ua.Variant(event_id, ua.VariantType.ByteString), comment, connection=connection)

    async def setpoint(self, value):
        said = await self.connection.write(self.node(plants.SETPOINT), float(value), ua.VariantType.Double)
        assert said == "Good", said

    async def level(self, value):
        said = await self.connection.write(self.node(plants.LEVEL), value, ua.VariantType.UInt16)
        assert said == "Good", said

    async def field(self, key, path):
        return await self.connection.value(self.condition(key, path))

    async def is_so(self, key, path, value, limit=10):
        async def found():
            return await self.field(key, path) == value

        await self.until(f"{key} {path} = {value}", found, limit)

    async def quiet(self, key=SETPOINT):
        """Brings the alarm of the setpoint to rest: inactive, acknowledged, confirmed, enabled, unshelved."""
        if not await self.field(key, "EnabledState/Id"):
            await self.do(key, "Enable")
        if (await self.field(key, "ShelvingState/CurrentState")).Text != "Unshelved":
            await self.do(key, "ShelvingState/Unshelve")
        await self.setpoint(500)
        await self.is_so(key, "ActiveState/Id", False)
        if not await self.field(key, "AckedState/Id"):
            await self.on_event(key, "Acknowledge", await self.field(key, "EventId"))
        if not await self.field(key, "ConfirmedState/Id"):
            await self.on_event(key, "Confirm", await self.field(key, "EventId"))
        assert not await self.field(key, "Retain")
