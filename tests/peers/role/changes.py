"""What is open when a user changes, and what is told of refusals as events."""

import asyncio

from asyncua import ua

from common import plant as plants
from common.check import check, expect
from common.client import name
from common.subscription import Subscription

from .scene import HIDDEN, SERVER, USERS, node, number

O = ua.ObjectIds


@check("changes", "another user on the same session: items of what that one may not see have no value, and come back with the first", "OPC 10000-4, 5.7.3.1")
async def change_of_user(s):
    refused = ("BadUserAccessDenied", "BadNodeIdUnknown")
    async with await s.session("Engineer") as one:
        it = await Subscription.create(one)
        created = await it.items([node(one, HIDDEN), node(one, plants.BEAT)])
        expect([name(each.StatusCode) for each in created] == ["Good", "Good"], created)
        good = lambda changes: any(handle == 0 and name(of.StatusCode) not in refused for handle, of in changes)
        await it.collect(until=good)
        await one.activate(USERS["Operator"], s.password("Operator"))
        await it.collect(until=lambda changes: any(handle == 0 and name(of.StatusCode) in refused and of.Value is None for handle, of in changes))
        left = await it.collect(2.0)
        expect(not [of for handle, of in left if handle == 0 and of.Value is not None], "values went on", left)
        expect([of for handle, of in left if handle == 1], "what is not hidden has stopped")
        await one.activate(USERS["Engineer"], s.password("Engineer"))
        await it.collect(until=good)


def audit_filter():
    fields = [(O.BaseEventType, "EventType"), (O.AuditEventType, "ClientUserId"), (O.AuditEventType, "Status"), (O.BaseEventType, "Message")]
    select = [ua.SimpleAttributeOperand(TypeDefinitionId=number(of), BrowsePath=[ua.QualifiedName(each, 0)], AttributeId=13) for of, each in fields]
    operand = ua.LiteralOperand(Value=ua.Variant(number(O.AuditWriteUpdateEventType), ua.VariantType.NodeId))
    element = ua.ContentFilterElement(FilterOperator=ua.FilterOperator.OfType, FilterOperands=[operand])
    return ua.EventFilter(SelectClauses=select, WhereClause=ua.ContentFilter(Elements=[element]))


async def audited(s, listener, actor):
    """The audit events that one role is told of while another is refused a write."""
    async with await s.session(listener) as one, await s.session(actor) as other:
        it = await Subscription.create(one, keep_alive=5)
        created = (await it.items([SERVER], sampling=0.0, queue=100, attribute=ua.AttributeIds.EventNotifier, filter=audit_filter()))[0]
        created.StatusCode.check()
        await it.publish()
        said = await other.write(node(other, plants.LEVEL), 1, ua.VariantType.UInt16)
        expect(said == "BadUserAccessDenied", said)
        seen, end = [], asyncio.get_running_loop().time() + 2
        while not seen and asyncio.get_running_loop().time() < end:
            for data in (await it.publish()).NotificationMessage.NotificationData or []:
                seen += [[field.Value for field in each.EventFields] for each in getattr(data, "Events", None) or []]
        return seen


@check("changes", "a refused write is an AuditWriteUpdateEvent with its user, for a SecurityAdmin", "OPC 10000-5, 6.4.26")
async def audit_event(s):
    for actor in ("Operator", "Observer", "Anonymous"):
        seen = await audited(s, "SecurityAdmin", actor)
        mine = [each for each in seen if each[1] == (USERS[actor] or "anonymous") and each[2] is False and f"({actor})" in each[3].Text]
        expect(mine, actor, seen)


@check("changes", "nobody but a SecurityAdmin is told of audit events", "OPC 10000-18, 4.2")
async def audit_hidden(s):
    for listener in ("Anonymous", "Observer", "Operator", "Engineer"):
        seen = await audited(s, listener, "Observer")
        expect(not seen, listener, seen)
