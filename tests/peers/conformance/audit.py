"""Audit: events of sessions, certificates and writes at the Server object, and the same in the log."""

import asyncio

from asyncua import ua

from common import plant as plants
from common.certificates import DAY, Identity
from common.check import check, expect
from common.client import Connection, name, status_of
from common.subscription import Subscription

from .scene import SERVER, zero

O = ua.ObjectIds
FIELDS = ["EventType", "SourceNode", "Time", "Message", "Severity", "ActionTimeStamp", "Status", "ServerId", "ClientUserId", "ClientAuditEntryId"]
MORE = ["EventId", "SourceName", "NewValue", "OldValue", "AttributeId", "SessionId"]


def event_filter(of=O.BaseEventType, where=None):
    select = [ua.SimpleAttributeOperand(TypeDefinitionId=zero(O.BaseEventType), BrowsePath=[ua.QualifiedName(one, 0)], AttributeId=13) for one in [*FIELDS, *MORE]]
    for one in select:
        field = one.BrowsePath[0].Name
        if field in ("ActionTimeStamp", "Status", "ServerId", "ClientUserId", "ClientAuditEntryId"):
            one.TypeDefinitionId = zero(O.AuditEventType)
        if field in ("NewValue", "OldValue", "AttributeId"):
            one.TypeDefinitionId = zero(O.AuditWriteUpdateEventType)
        if field == "SessionId":
            one.TypeDefinitionId = zero(O.AuditSessionEventType)
    filter = ua.EventFilter(SelectClauses=select)
    if where is not None:
        operand = ua.LiteralOperand(Value=ua.Variant(zero(where), ua.VariantType.NodeId))
        element = ua.ContentFilterElement(FilterOperator=ua.FilterOperator.OfType, FilterOperands=[operand])
        filter.WhereClause = ua.ContentFilter(Elements=[element])
    return filter


async def events(s, cause, wanted, where=None, limit=10):
    """Events until `wanted(event)` holds for one; {field: value} of that one. `cause` makes it happen."""
    it = await Subscription.create(s.connection, publishing=50.0, keep_alive=5)
    created = (await it.items([zero(SERVER)], sampling=0.0, queue=1000, attribute=ua.AttributeIds.EventNotifier, filter=event_filter(where=where)))[0]
    created.StatusCode.check()
    await it.publish()
    await cause()
    seen, end = [], asyncio.get_running_loop().time() + limit
    while asyncio.get_running_loop().time() < end:
        for data in (await it.publish()).NotificationMessage.NotificationData or []:
            for one in getattr(data, "Events", None) or []:
                event = dict(zip([*FIELDS, *MORE], [field.Value for field in one.EventFields]))
                seen.append(event)
                if wanted(event):
                    await it.delete()
                    return event
    await it.delete()
    raise TimeoutError(f"no such event in {limit} s; seen: {[str(one['EventType']) for one in seen][:10]}")


def of_type(*kinds):
    return lambda event: event["EventType"] in [zero(one) for one in kinds]


@check("audit", "events can be subscribed to at the Server object", "OPC 10000-4, 7.22.3")
async def subscribe_to_events(s):
    it = await Subscription.create(s.connection)
    created = (await it.items([zero(SERVER)], attribute=ua.AttributeIds.EventNotifier, filter=event_filter()))[0]
    await it.delete()
    expect(name(created.StatusCode) == "Good", name(created.StatusCode))


@check("audit", "a select clause of a field that does not exist has its own result, the filter is taken", "OPC 10000-4, 7.22.3")
async def unknown_field(s):
    filter = event_filter()
    filter.SelectClauses.append(ua.SimpleAttributeOperand(TypeDefinitionId=zero(O.BaseEventType), BrowsePath=[ua.QualifiedName("Nothing", 0)], AttributeId=13))
    it = await Subscription.create(s.connection)
    created = (await it.items([zero(SERVER)], attribute=ua.AttributeIds.EventNotifier, filter=filter))[0]
    await it.delete()
    expect(name(created.StatusCode) == "Good", name(created.StatusCode))
    results = [name(one) for one in getattr(created.FilterResult, "SelectClauseResults", None) or []]
    expect(not results or results[-1].startswith("Bad") and set(results[:-1]) <= {"Good"}, results)


@check("audit", "events of an object that has none, and of a variable, are refused", "OPC 10000-4, 5.13.2.4")
async def events_of_a_variable(s):
    it = await Subscription.create(s.connection)
    created = (await it.items([s.node(plants.ANALOG)], attribute=ua.AttributeIds.EventNotifier, filter=event_filter()))[0]
    await it.delete()
    expect(name(created.StatusCode) in ("BadAttributeIdInvalid", "BadFilterNotAllowed", "BadNotSupported"), name(created.StatusCode))


@check("audit", "an event filter without select clauses is refused", "OPC 10000-4, 7.22.3")
async def empty_event_filter(s):
    it = await Subscription.create(s.connection)
    try:
        created = (await it.items([zero(SERVER)], attribute=ua.AttributeIds.EventNotifier, filter=ua.EventFilter()))[0]
        said = name(created.StatusCode)
    except ua.UaStatusCodeError as error:
        said = ua.StatusCode(error.code).name
    await it.delete()
    expect(said in ("BadEventFilterInvalid", "BadMonitoredItemFilterInvalid"), said)


@check("audit", "a write is an AuditWriteUpdateEvent with user, old and new value", "OPC 10000-5, 6.4.20")
async def write_event(s):
    node = s.node(plants.SETPOINT)
    expect(await s.connection.write(node, 410.0, ua.VariantType.Double) == "Good", "the first write")

    async def cause():
        await s.connection.write(node, 420.0, ua.VariantType.Double)

    event = await events(s, cause, of_type(O.AuditWriteUpdateEventType))
    facts = {field: event[field] for field in ("SourceNode", "ClientUserId", "NewValue", "OldValue", "AttributeId", "Status")}
    expect(event["SourceNode"] == zero(SERVER) or event["SourceNode"] == node, facts)
    expect(event["ClientUserId"] == plants.USER and event["NewValue"] == 420.0 and event["Status"] is True, facts)
    expect(event["ServerId"] and event["ActionTimeStamp"] and event["EventId"] and event["Severity"], event)


@check("audit", "a refused write is one, too, with Status false", "OPC 10000-5, 6.4.20")
async def refused_write_event(s):
    async def cause():
        await s.connection.write(s.node(plants.SETPOINT), 9999.0, ua.VariantType.Double)

    event = await events(s, cause, of_type(O.AuditWriteUpdateEventType))
    expect(event["Status"] is False, event)


@check("audit", "a new session is an AuditCreateSessionEvent and an AuditActivateSessionEvent", "OPC 10000-5, 6.4.7")
async def session_events(s):
    async def cause():
        await (await s.fresh()).close()

    await events(s, cause, of_type(O.AuditCreateSessionEventType))
    event = await events(s, cause, lambda event: of_type(O.AuditActivateSessionEventType)(event) and event["ClientUserId"] == plants.USER)
    expect(event["Status"] is True, event)


@check("audit", "a refused login is an AuditActivateSessionEvent with Status false", "OPC 10000-5, 6.4.10")
async def refused_login_event(s):
    async def cause():
        await status_of(s.fresh(password="wrong"))

    event = await events(s, cause, lambda event: of_type(O.AuditActivateSessionEventType)(event) and event["Status"] is False, limit=20)
    return event["Message"]


@check("audit", "a refused certificate is an AuditCertificateEvent", "OPC 10000-5, 6.4.12")
async def certificate_event(s):
    old = Identity.self_signed("Expired", role="audit", start=-100 * DAY, days=10)

    async def cause():
        try:
            one = await Connection(s.url, identity=old, limit=5).channel()
            one.drop()
        except Exception:
            pass

    kinds = ("AuditCertificateEventType", "AuditCertificateExpiredEventType", "AuditCertificateUntrustedEventType", "AuditCertificateInvalidEventType")
    await events(s, cause, of_type(*[getattr(O, one) for one in kinds]))


@check("audit", "OfType in the where clause leaves other events out", "OPC 10000-4, 7.7.3")
async def where_clause(s):
    async def cause():
        await (await s.fresh()).close()
        await s.connection.write(s.node(plants.SETPOINT), 430.0, ua.VariantType.Double)
        await s.connection.write(s.node(plants.SETPOINT), 440.0, ua.VariantType.Double)

    event = await events(s, cause, lambda event: True, where=O.AuditWriteUpdateEventType)
    expect(event["EventType"] == zero(O.AuditWriteUpdateEventType), event["EventType"])


@check("audit", "who may not administer sees no audit events: an anonymous or other user's filter is refused or silent", "OPC 10000-4, 6.5.2")
async def not_for_everybody(s):
    # said only where the server has rights of its own for it; a second user of the same file is no lesser one
    async with await s.fresh(plants.SECOND_USER, plants.SECOND_PASSWORD) as other:
        it = await Subscription.create(other)
        created = (await it.items([zero(SERVER)], attribute=ua.AttributeIds.EventNotifier, filter=event_filter()))[0]
        expect(name(created.StatusCode) in ("Good", "BadUserAccessDenied"), name(created.StatusCode))


@check("audit", "a write is in the log with its user, node and value", "README: every write leaves an audit record")
async def write_in_the_log(s):
    plant = s.need_plant()
    await s.connection.write(s.node(plants.SETPOINT), 455.5, ua.VariantType.Double)

    async def logged():
        return any("455.5" in line and plants.USER in line for line in plant.log().splitlines())

    await s.until("the write in the log", logged, 10)


@check("audit", "a refused login is in the log with its user", "OPC 10000-4, 6.5")
async def login_in_the_log(s):
    plant = s.need_plant()
    await status_of(s.fresh(user="somebody", password="wrong"))

    async def logged():
        return any("somebody" in line for line in plant.log().splitlines())

    await s.until("the login in the log", logged, 10)
