"""Call: GetMonitoredItems and ResendData, and calls that are wrong."""

from asyncua import ua

from common import plant as plants
from common.check import check, expect
from common.client import name
from common.subscription import Subscription

from .scene import OBJECTS, SERVER, UNKNOWN, zero

GET_ITEMS, RESEND = zero(ua.ObjectIds.Server_GetMonitoredItems), zero(ua.ObjectIds.Server_ResendData)
UINT = ua.VariantType.UInt32


async def call(s, target, method, *arguments, connection=None):
    """The CallMethodResult of one call."""
    return await (connection or s.connection).call(target, method, *arguments)


@check("methods", "GetMonitoredItems gives the ids and client handles of a subscription's items", "OPC 10000-5, 9.1")
async def get_monitored_items(s):
    it = await Subscription.create(s.connection)
    created = await it.items(s.nodes([plants.ANALOG, plants.BEAT]), first=500)
    found = await call(s, zero(SERVER), GET_ITEMS, ua.Variant(it.id, UINT))
    await it.delete()
    expect(name(found.StatusCode) == "Good", name(found.StatusCode))
    server, client = [one.Value for one in found.OutputArguments]
    expect(sorted(zip(server, client)) == sorted((one.MonitoredItemId, handle) for handle, one in enumerate(created, 500)), server, client)


@check("methods", "GetMonitoredItems of an unknown subscription is BadSubscriptionIdInvalid", "OPC 10000-5, 9.1")
async def get_items_of_unknown(s):
    said = name((await call(s, zero(SERVER), GET_ITEMS, ua.Variant(0xFFFFFFF0, UINT))).StatusCode)
    expect(said == "BadSubscriptionIdInvalid", said)


@check("methods", "GetMonitoredItems of another session's subscription is BadUserAccessDenied", "OPC 10000-5, 9.1")
async def get_items_of_another(s):
    async with await s.fresh() as other:
        it = await Subscription.create(other)
        said = name((await call(s, zero(SERVER), GET_ITEMS, ua.Variant(it.id, UINT))).StatusCode)
    expect(said in ("BadUserAccessDenied", "BadSubscriptionIdInvalid"), said)


@check("methods", "ResendData brings every value again", "OPC 10000-5, 9.2")
async def resend_data(s):
    it = await Subscription.create(s.connection, publishing=100.0, keep_alive=3)
    await it.items([s.node(plants.SETPOINT)] * 3)
    await it.collect(until=lambda changes: len(changes) >= 3)
    found = await call(s, zero(SERVER), RESEND, ua.Variant(it.id, UINT))
    expect(name(found.StatusCode) == "Good", name(found.StatusCode))
    changes = await it.collect(1.5)
    await it.delete()
    expect(len(changes) == 3, len(changes), "values came again")


@check("methods", "ResendData of an unknown or a foreign subscription is refused", "OPC 10000-5, 9.2")
async def resend_data_of_another(s):
    said = name((await call(s, zero(SERVER), RESEND, ua.Variant(0xFFFFFFF0, UINT))).StatusCode)
    expect(said == "BadSubscriptionIdInvalid", said)
    async with await s.fresh() as other:
        it = await Subscription.create(other)
        said = name((await call(s, zero(SERVER), RESEND, ua.Variant(it.id, UINT))).StatusCode)
    expect(said in ("BadUserAccessDenied", "BadSubscriptionIdInvalid"), said)


@check("methods", "too few arguments are BadArgumentsMissing", "OPC 10000-4, 5.12.2.4")
async def too_few_arguments(s):
    said = name((await call(s, zero(SERVER), GET_ITEMS)).StatusCode)
    expect(said == "BadArgumentsMissing", said)


@check("methods", "too many arguments are BadTooManyArguments", "OPC 10000-4, 5.12.2.4")
async def too_many_arguments(s):
    said = name((await call(s, zero(SERVER), GET_ITEMS, ua.Variant(1, UINT), ua.Variant(1, UINT))).StatusCode)
    expect(said == "BadTooManyArguments", said)


@check("methods", "an argument of the wrong type is BadInvalidArgument, its own result BadTypeMismatch", "OPC 10000-4, 5.12.2.4")
async def wrong_argument(s):
    found = await call(s, zero(SERVER), GET_ITEMS, ua.Variant("one", ua.VariantType.String))
    results = [name(one) for one in found.InputArgumentResults or []]
    expect(name(found.StatusCode) == "BadInvalidArgument" and results == ["BadTypeMismatch"], name(found.StatusCode), results)


@check("methods", "a method that the object does not have is BadMethodInvalid", "OPC 10000-4, 5.12.2.4")
async def wrong_method(s):
    cases = [(zero(SERVER), zero(2258)), (zero(SERVER), s.node(UNKNOWN)), (zero(OBJECTS), GET_ITEMS), (zero(SERVER), ua.NodeId(999_999, 0))]
    for target, method in cases:
        said = name((await call(s, target, method, ua.Variant(1, UINT))).StatusCode)
        expect(said in ("BadMethodInvalid", "BadNodeIdUnknown"), target, method, said)


@check("methods", "an object that is not there is BadNodeIdUnknown", "OPC 10000-4, 5.12.2.4")
async def wrong_object(s):
    for target in (s.node(UNKNOWN), ua.NodeId(999_999, 0)):
        said = name((await call(s, target, GET_ITEMS, ua.Variant(1, UINT))).StatusCode)
        expect(said == "BadNodeIdUnknown", target, said)


@check("methods", "several calls have a result each, in their order", "OPC 10000-4, 5.12.2.2")
async def several_calls(s):
    it = await Subscription.create(s.connection)
    one = lambda *arguments: ua.CallMethodRequest(ObjectId=zero(SERVER), MethodId=GET_ITEMS, InputArguments=list(arguments))
    found = await s.connection.service("Call", MethodsToCall=[one(), one(ua.Variant(it.id, UINT)), one(ua.Variant(0xFFFFFFF0, UINT))])
    await it.delete()
    said = [name(result.StatusCode) for result in found]
    expect(said == ["BadArgumentsMissing", "Good", "BadSubscriptionIdInvalid"], said)


@check("methods", "methods say their arguments, and Executable", "OPC 10000-3, 5.7")
async def method_nodes(s):
    for method in (GET_ITEMS, RESEND):
        expect(await s.connection.value(method, ua.AttributeIds.UserExecutable) is True, method, "is not executable")
        found = {one.BrowseName.Name: one.NodeId for one in await s.connection.references(method, reference=zero(46))}
        expect("InputArguments" in found, method, found)
        arguments = await s.connection.value(ua.NodeId(found["InputArguments"].Identifier, 0))
        expect(arguments and arguments[0].Name and arguments[0].DataType == zero(7), arguments)
