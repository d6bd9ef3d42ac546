"""The Server object: status, build, capabilities, and the limits that it says it has."""

import asyncio
import datetime

from asyncua import ua
from asyncua.ua.ua_binary import struct_from_binary

from common import plant as plants
from common.check import check, expect
from common.client import name, status_of

from .scene import SERVER, zero

O = ua.ObjectIds
LIMITS = {
    "MaxNodesPerRead": 11705,
    "MaxNodesPerWrite": 11707,
    "MaxNodesPerMethodCall": 11709,
    "MaxNodesPerBrowse": 11710,
    "MaxNodesPerRegisterNodes": 11711,
    "MaxNodesPerTranslateBrowsePathsToNodeIds": 11712,
    "MaxMonitoredItemsPerCall": 11714,
    "MaxNodesPerHistoryReadData": 12165,
}


def now():
    return datetime.datetime.now(datetime.timezone.utc)


@check("server", "ServerStatus says Running", "OPC 10000-5, 12.6")
async def status_running(s):
    found = await s.connection.value(zero(O.Server_ServerStatus))
    expect(found.State == ua.ServerState.Running, found.State)


@check("server", "CurrentTime is within five seconds of now", "OPC 10000-5, 12.10")
async def current_time(s):
    found = (await s.connection.value(zero(O.Server_ServerStatus))).CurrentTime
    expect(abs((now() - found).total_seconds()) < 5, found, "now", now())


@check("server", "ServerStatus as a whole is live: its CurrentTime goes on", "OPC 10000-5, 12.10")
async def status_is_live(s):
    first = (await s.connection.value(zero(O.Server_ServerStatus))).CurrentTime
    await asyncio.sleep(1.2)
    second = (await s.connection.value(zero(O.Server_ServerStatus))).CurrentTime
    expect(second > first, first, "and 1.2 s later", second)


@check("server", "CurrentTime alone goes on", "OPC 10000-5, 12.10")
async def current_time_goes_on(s):
    first = await s.connection.value(zero(O.Server_ServerStatus_CurrentTime))
    await asyncio.sleep(1.2)
    second = await s.connection.value(zero(O.Server_ServerStatus_CurrentTime))
    expect(second > first, first, second)


@check("server", "the parts of ServerStatus say what the whole says", "OPC 10000-5, 7.9")
async def status_parts(s):
    parts = [O.Server_ServerStatus, O.Server_ServerStatus_State, O.Server_ServerStatus_StartTime, O.Server_ServerStatus_SecondsTillShutdown]
    whole, state, start, seconds = [one.Value.Value for one in await s.connection.read([zero(one) for one in parts])]
    expect(state == whole.State and start == whole.StartTime and seconds == whole.SecondsTillShutdown == 0, state, start, seconds, whole)


@check("server", "StartTime is past and stays", "OPC 10000-5, 12.10")
async def start_time(s):
    first = await s.connection.value(zero(O.Server_ServerStatus_StartTime))
    expect(now() - datetime.timedelta(days=400) < first <= now(), first)
    expect(first == await s.connection.value(zero(O.Server_ServerStatus_StartTime)), "it changed")


@check("server", "BuildInfo is complete", "OPC 10000-5, 12.4")
async def build_info(s):
    found = await s.connection.value(zero(O.Server_ServerStatus_BuildInfo))
    for field in ("ProductUri", "ManufacturerName", "ProductName", "SoftwareVersion", "BuildNumber"):
        expect(getattr(found, field), field, "is empty")
    expect(found.BuildDate.year >= 2020, "BuildDate", found.BuildDate)


@check("server", "the parts of BuildInfo say what the whole says", "OPC 10000-5, 7.8")
async def build_info_parts(s):
    whole = await s.connection.value(zero(O.Server_ServerStatus_BuildInfo))
    fields = ("ProductName", "ProductUri", "ManufacturerName", "SoftwareVersion", "BuildNumber", "BuildDate")
    for field in fields:
        found = await s.connection.value(zero(getattr(O, f"Server_ServerStatus_BuildInfo_{field}")))
        expect(found == getattr(whole, field), field, found)


@check("server", "NamespaceArray starts with the standard's namespace and the ApplicationUri", "OPC 10000-5, 6.3.1")
async def namespace_array(s):
    uri = await s.application_uri()
    expect(s.namespaces[:2] == ["http://opcfoundation.org/UA/", uri], s.namespaces)
    expect(plants.NAMESPACE in s.namespaces and len(set(s.namespaces)) == len(s.namespaces), s.namespaces)


@check("server", "ServerArray starts with the ApplicationUri", "OPC 10000-5, 6.3.1")
async def server_array(s):
    found = await s.connection.value(zero(O.Server_ServerArray))
    expect(found and found[0] == await s.application_uri(), found)


@check("server", "ServiceLevel is a Byte above 0", "OPC 10000-4, 6.6.2.4.2")
async def service_level(s):
    found = (await s.connection.read([zero(O.Server_ServiceLevel)]))[0].Value
    expect(found.VariantType == ua.VariantType.Byte and found.Value > 0, found)


@check("server", "Auditing is a Boolean", "OPC 10000-5, 6.3.1")
async def auditing(s):
    found = (await s.connection.read([zero(O.Server_Auditing)]))[0].Value
    expect(found is not None and found.VariantType == ua.VariantType.Boolean, found)


@check("server", "ServerProfileArray names profiles of the standard", "OPC 10000-5, 6.3.2")
async def profiles(s):
    found = await s.connection.value(zero(O.Server_ServerCapabilities_ServerProfileArray))
    # the profile of a security policy is the policy's own URI
    known = ("http://opcfoundation.org/UA-Profile/", "http://opcfoundation.org/UA/SecurityPolicy#")
    expect(found and all(one.startswith(known) for one in found), found)
    return ", ".join(one.rpartition("/")[2] for one in found)


@check("server", "LocaleIdArray is an array of locales, not Null", "OPC 10000-5, 6.3.2")
async def locales(s):
    found = (await s.connection.read([zero(O.Server_ServerCapabilities_LocaleIdArray)]))[0].Value
    expect(found is not None and isinstance(found.Value, list), found)


@check("server", "MinSupportedSampleRate is a Duration that is not negative", "OPC 10000-5, 6.3.2")
async def least_sampling(s):
    found = (await s.connection.read([zero(O.Server_ServerCapabilities_MinSupportedSampleRate)]))[0].Value
    expect(found is not None and found.VariantType == ua.VariantType.Double and 0 <= found.Value <= 1000, found)


@check("server", "continuation points for browse, query and history have their limits, UInt16", "OPC 10000-5, 6.3.2")
async def continuation_limits(s):
    nodes = [O.Server_ServerCapabilities_MaxBrowseContinuationPoints, O.Server_ServerCapabilities_MaxQueryContinuationPoints]
    nodes.append(O.Server_ServerCapabilities_MaxHistoryContinuationPoints)
    found = [one.Value for one in await s.connection.read([zero(one) for one in nodes])]
    expect(all(one is not None and one.VariantType == ua.VariantType.UInt16 for one in found), found)
    expect(found[0].Value >= 1, "browse:", found[0].Value)


@check("server", "operation limits are UInt32 above 0", "OPC 10000-5, 6.3.11")
async def operation_limits(s):
    answers = await s.connection.read([zero(one) for one in LIMITS.values()])
    said = {limit: one.Value.Value if one.Value else None for limit, one in zip(LIMITS, answers)}
    expect(all(one.Value is not None and one.Value.VariantType == ua.VariantType.UInt32 and one.Value.Value for one in answers), said)
    return said


@check("server", "limits of sessions, subscriptions, items and queues are UInt32, not Null", "OPC 10000-5, 6.3.2")
async def session_limits(s):
    fields = ["MaxSessions", "MaxSubscriptions", "MaxMonitoredItems", "MaxSubscriptionsPerSession", "MaxMonitoredItemsPerSubscription"]
    answers = await s.connection.read([zero(getattr(O, f"Server_ServerCapabilities_{one}")) for one in fields])
    said = {field: one.Value.Value if one.Value else name(one.StatusCode) for field, one in zip(fields, answers)}
    expect(all(one.Value is not None and one.Value.VariantType == ua.VariantType.UInt32 for one in answers), said)
    return said


@check("server", "MaxArrayLength, MaxStringLength and MaxByteStringLength are UInt32, or not there", "OPC 10000-5, 6.3.2")
async def size_limits(s):
    nodes = [O.Server_ServerCapabilities_MaxArrayLength, O.Server_ServerCapabilities_MaxStringLength, O.Server_ServerCapabilities_MaxByteStringLength]
    for one in await s.connection.read([zero(one) for one in nodes]):
        there = one.Value is not None and one.Value.VariantType == ua.VariantType.UInt32
        expect(there or name(one.StatusCode) == "BadNodeIdUnknown", one)


@check("server", "RedundancySupport is said: none", "OPC 10000-5, 6.3.7")
async def redundancy(s):
    found = await s.connection.value(zero(O.Server_ServerRedundancy_RedundancySupport))
    expect(found == 0, found)


@check("server", "as many nodes as MaxNodesPerRead says can be read at once", "OPC 10000-5, 6.3.11")
async def read_at_the_limit(s):
    limit = min(await s.limit(LIMITS["MaxNodesPerRead"]) or 1000, 20_000)
    found = await s.connection.read([s.node(plants.ANALOG)] * limit)
    expect(len(found) == limit and all(one.Value is not None for one in found), len(found), "of", limit)


@check("server", "one node more than MaxNodesPerRead is BadTooManyOperations", "OPC 10000-4, 5.11.2.3")
async def read_above_the_limit(s):
    limit = await s.limit(LIMITS["MaxNodesPerRead"])
    expect(limit, "no limit is said")
    said = await status_of(s.connection.read([zero(O.Server_ServerStatus_State)] * (limit + 1)))
    expect(said == "BadTooManyOperations", said)


@check("server", "one operation more than Write, Browse, Translate, Register, Call and CreateMonitoredItems take is BadTooManyOperations", "OPC 10000-4, 7.38.2")
async def others_above_the_limit(s):
    path = ua.BrowsePath(StartingNode=zero(SERVER), RelativePath=ua.RelativePath(Elements=[ua.RelativePathElement(TargetName=ua.QualifiedName("x"))]))
    cases = {
        "MaxNodesPerWrite": lambda n: s.connection.service("Write", NodesToWrite=[ua.WriteValue(NodeId=zero(1), AttributeId=13)] * n),
        "MaxNodesPerBrowse": lambda n: s.connection.service("Browse", NodesToBrowse=[ua.BrowseDescription(NodeId=zero(1))] * n),
        "MaxNodesPerTranslateBrowsePathsToNodeIds": lambda n: s.connection.service("TranslateBrowsePathsToNodeIds", BrowsePaths=[path] * n),
        "MaxNodesPerRegisterNodes": lambda n: s.connection.service("RegisterNodes", NodesToRegister=[zero(1)] * n),
        "MaxNodesPerMethodCall": lambda n: s.connection.service("Call", MethodsToCall=[ua.CallMethodRequest(ObjectId=zero(1), MethodId=zero(1))] * n),
    }
    wrong = []
    for limit, call in cases.items():
        most = await s.limit(LIMITS[limit])
        if not most:
            wrong.append(f"{limit} is not said")
            continue
        said = await status_of(call(most + 1))
        if said != "BadTooManyOperations":
            wrong.append(f"{limit}={most}: {said}")
        if not s.connection.is_open:
            wrong.append(f"{limit}: the connection is gone")
            break
    expect(not wrong, "; ".join(wrong))


@check("server", "a Read of no nodes is BadNothingToDo", "OPC 10000-4, 5.11.2.3")
async def read_nothing(s):
    said = await status_of(s.connection.read([]))
    expect(said == "BadNothingToDo", said)


@check("server", "empty Write, Browse, BrowseNext, Register, Unregister and Call are BadNothingToDo", "OPC 10000-4, 7.38.2")
async def others_with_nothing(s):
    cases = {
        "Write": {"NodesToWrite": []},
        "Browse": {"NodesToBrowse": []},
        "BrowseNext": {"ContinuationPoints": []},
        "RegisterNodes": {"NodesToRegister": []},
        "UnregisterNodes": {"NodesToUnregister": []},
        "Call": {"MethodsToCall": []},
        "DeleteSubscriptions": {"SubscriptionIds": []},
        "SetPublishingMode": {"SubscriptionIds": [], "PublishingEnabled": True},
        "TransferSubscriptions": {"SubscriptionIds": []},
    }
    wrong = {}
    for service, parameters in cases.items():
        said = await status_of(s.connection.service(service, **parameters))
        if said != "BadNothingToDo":
            wrong[service] = said
    expect(not wrong, wrong)


@check("server", "a negative MaxAge is BadMaxAgeInvalid", "OPC 10000-4, 5.11.2.3")
async def negative_max_age(s):
    said = await status_of(s.connection.read([s.node(plants.ANALOG)], max_age=-1.0))
    expect(said == "BadMaxAgeInvalid", said)


@check("server", "TimestampsToReturn out of its range is BadTimestampsToReturnInvalid", "OPC 10000-4, 5.11.2.3")
async def invalid_timestamps_to_return(s):
    said = await status_of(s.connection.read([s.node(plants.ANALOG)], stamps=ua.TimestampsToReturn.Invalid))
    expect(said == "BadTimestampsToReturnInvalid", said)


@check("server", "each choice of timestamps gives those and no others", "OPC 10000-4, 7.40")
async def timestamps_to_return(s):
    T = ua.TimestampsToReturn
    for choice, source, server in ((T.Source, 1, 0), (T.Server, 0, 1), (T.Both, 1, 1), (T.Neither, 0, 0)):
        one = (await s.connection.read([s.node(plants.ANALOG)], stamps=choice))[0]
        found = (one.SourceTimestamp is not None, one.ServerTimestamp is not None)
        expect(found == (bool(source), bool(server)), choice.name, "source, server:", found)


@check("server", "a large MaxAge is served", "OPC 10000-4, 5.11.2.2")
async def large_max_age(s):
    one = (await s.connection.read([s.node(plants.ANALOG)], max_age=1e9))[0]
    expect(one.Value is not None, one)


@check("server", "a response has its request's handle and a time of now", "OPC 10000-4, 7.34")
async def response_header(s):
    request = ua.ReadRequest()
    request.Parameters.NodesToRead = [ua.ReadValueId(NodeId=zero(2259), AttributeId=13)]
    data = await s.connection.protocol.send_request(request)
    header = struct_from_binary(ua.ReadResponse, data).ResponseHeader
    expect(header.RequestHandle == request.RequestHeader.RequestHandle, header.RequestHandle, request.RequestHeader.RequestHandle)
    expect(abs((now() - header.Timestamp).total_seconds()) < 5, header.Timestamp)


@check("server", "a fault, too, has its request's handle", "OPC 10000-4, 7.35")
async def fault_header(s):
    request = ua.ReadRequest()
    protocol = s.connection.protocol
    data = await protocol._send_request(request, 20)
    header = struct_from_binary(ua.ServiceFault, data).ResponseHeader
    expect(header.RequestHandle == request.RequestHeader.RequestHandle, header)


@check("server", "Query and node management are refused, and the session stays", "OPC 10000-4, 7.38.2")
async def unsupported_services(s):
    refused = ("BadServiceUnsupported", "BadUserAccessDenied", "BadNothingToDo")
    cases = {"QueryFirst": {"NodeTypes": []}, "AddReferences": {"ReferencesToAdd": [ua.AddReferencesItem()]}}
    cases["DeleteNodes"] = {"NodesToDelete": [ua.DeleteNodesItem(NodeId=s.node(plants.ANALOG))]}
    for service, parameters in cases.items():
        try:
            said = [name(one) for one in await s.connection.service(service, **parameters)]
        except ua.UaStatusCodeError as error:
            said = [ua.StatusCode(error.code).name]
        expect(all(one.startswith("Bad") for one in said), service, said)
    expect((await s.connection.read([s.node(plants.ANALOG)]))[0].Value is not None, "the node is gone")


@check("server", "Cancel of a request that is not there cancels none", "OPC 10000-4, 5.7.5")
async def cancel_nothing(s):
    found = await s.connection.service("Cancel", RequestHandle=4_000_000_000)
    expect(found.CancelCount == 0, found)


@check("server", "Cancel ends a waiting Publish with BadRequestCancelledByClient and counts it", "OPC 10000-4, 5.7.5")
async def cancel_publish(s):
    async with await s.fresh() as one:
        created = await one.service(
            "CreateSubscription", RequestedPublishingInterval=1000.0, RequestedLifetimeCount=1000, RequestedMaxKeepAliveCount=100, PublishingEnabled=False
        )
        # the first keep-alive comes at once; the next one takes a hundred seconds
        first = ua.PublishRequest()
        await one.send(first)
        waiting = ua.PublishRequest()
        task = asyncio.ensure_future(status_of(one.send(waiting)))
        await asyncio.sleep(0.3)
        found = await one.service("Cancel", RequestHandle=waiting.RequestHeader.RequestHandle)
        said = await asyncio.wait_for(task, 20)
        expect(created and found.CancelCount == 1 and said == "BadRequestCancelledByClient", found.CancelCount, said)
