"""ServerDiagnostics: counters of the server, its sessions and subscriptions, to those who may see them."""

import dataclasses

from asyncua import ua

from common import plant as plants
from common.check import check, expect
from common.client import name
from common.subscription import Subscription

from .scene import HIERARCHICAL, zero

O = ua.ObjectIds
SUMMARY = O.Server_ServerDiagnostics_ServerDiagnosticsSummary
SESSIONS = O.Server_ServerDiagnostics_SessionsDiagnosticsSummary_SessionDiagnosticsArray
SECURITY = O.Server_ServerDiagnostics_SessionsDiagnosticsSummary_SessionSecurityDiagnosticsArray
SUBSCRIPTIONS = O.Server_ServerDiagnostics_SubscriptionDiagnosticsArray


# asyncua takes the field Encoding, a String, for the Byte that says which optional fields there are: the same by another name.
OTHER_NAMES = [(one.name if one.name != "Encoding" else "Encoding_", one.type if one.name != "Encoding" else "ua.String") for one in dataclasses.fields(ua.SessionSecurityDiagnosticsDataType)]
SecurityDiagnostics = dataclasses.make_dataclass(
    "SecurityDiagnostics", [(field, kind, dataclasses.field(default=None)) for field, kind in OTHER_NAMES], namespace={"data_type": ua.NodeId(868, 0)}
)
ua.register_extension_object("SecurityDiagnostics", ua.NodeId(ua.ObjectIds.SessionSecurityDiagnosticsDataType_Encoding_DefaultBinary, 0), SecurityDiagnostics)


async def sessions(s, array=SESSIONS):
    return await s.connection.value(zero(array)) or []


async def own_session(s):
    """The diagnostics of the session that asks: the one whose read count just went up."""
    before = {str(one.SessionId): one.ReadCount.TotalCount for one in await sessions(s)}
    for _ in range(5):
        await s.connection.read([zero(2259)])
    after = await sessions(s)
    grown = [one for one in after if one.ReadCount.TotalCount >= before.get(str(one.SessionId), 1 << 31) + 5]
    expect(len(grown) == 1, "sessions whose ReadCount grew by 5 reads:", len(grown), "of", len(after))
    return grown[0]


@check("diagnostics", "EnabledFlag is a Boolean", "OPC 10000-5, 6.3.3")
async def enabled_flag(s):
    found = (await s.connection.read([zero(O.Server_ServerDiagnostics_EnabledFlag)]))[0].Value
    expect(found is not None and found.VariantType == ua.VariantType.Boolean and found.Value is True, found)


@check("diagnostics", "the summary counts sessions: one more while one more is there", "OPC 10000-5, 12.9")
async def session_count(s):
    before = await s.connection.value(zero(SUMMARY))
    async with await s.fresh():
        during = await s.connection.value(zero(SUMMARY))
    expect(before.CurrentSessionCount >= 1 and during.CurrentSessionCount == before.CurrentSessionCount + 1, before, during)
    expect(during.CumulatedSessionCount == before.CumulatedSessionCount + 1, before, during)

    async def gone():
        return (await s.connection.value(zero(SUMMARY))).CurrentSessionCount == before.CurrentSessionCount

    await s.until("the count to fall again", gone, 10)


@check("diagnostics", "the summary counts subscriptions", "OPC 10000-5, 12.9")
async def subscription_count(s):
    before = await s.connection.value(zero(SUMMARY))
    it = await Subscription.create(s.connection)
    during = await s.connection.value(zero(SUMMARY))
    await it.delete()
    after = await s.connection.value(zero(SUMMARY))
    expect(during.CurrentSubscriptionCount == before.CurrentSubscriptionCount + 1 == after.CurrentSubscriptionCount + 1, before, during, after)
    expect(during.CumulatedSubscriptionCount == before.CumulatedSubscriptionCount + 1, before, during)


@check("diagnostics", "the parts of the summary say what the whole says", "OPC 10000-5, 7.10")
async def summary_parts(s):
    whole = await s.connection.value(zero(SUMMARY))
    for part in ("CurrentSessionCount", "CumulatedSessionCount", "CurrentSubscriptionCount", "RejectedSessionCount", "SessionTimeoutCount"):
        found = await s.connection.value(zero(getattr(O, f"Server_ServerDiagnostics_ServerDiagnosticsSummary_{part}")))
        expect(found == getattr(whole, part), part, found, whole)


@check("diagnostics", "a refused login counts as SecurityRejectedSession or RejectedSession", "OPC 10000-5, 12.9")
async def rejected_sessions(s):
    before = await s.connection.value(zero(SUMMARY))
    try:
        other = await s.fresh(password="wrong")
        await other.close()
        expect(False, "a wrong password was let in")
    except ua.UaStatusCodeError:
        pass
    after = await s.connection.value(zero(SUMMARY))
    count = lambda one: one.SecurityRejectedSessionCount + one.RejectedSessionCount + one.SecurityRejectedRequestsCount + one.RejectedRequestsCount
    expect(count(after) > count(before), before, after)


@check("diagnostics", "SessionDiagnosticsArray has each session, with its client's name and counters", "OPC 10000-5, 12.12")
async def session_array(s):
    own = await own_session(s)
    expect(own.ClientDescription.ApplicationUri == s.connection.identity.uri, own.ClientDescription)
    expect(own.SessionName and own.EndpointUrl and own.ActualSessionTimeout > 0, own)
    expect(own.TotalRequestCount.TotalCount >= own.ReadCount.TotalCount > 0, own.TotalRequestCount, own.ReadCount)


@check("diagnostics", "session diagnostics count subscriptions and items", "OPC 10000-5, 12.12")
async def session_counts_items(s):
    it = await Subscription.create(s.connection)
    await it.items(s.nodes([plants.ANALOG, plants.BEAT, plants.STATE]))
    own = await own_session(s)
    await it.delete()
    expect((own.CurrentSubscriptionsCount, own.CurrentMonitoredItemsCount) == (1, 3), own.CurrentSubscriptionsCount, own.CurrentMonitoredItemsCount)


@check("diagnostics", "SessionSecurityDiagnosticsArray says user, policy and mode", "OPC 10000-5, 12.13")
async def security_array(s):
    found = [one for one in await sessions(s, SECURITY) if one.ClientUserIdOfSession == plants.USER]
    expect(found, "no session of", plants.USER)
    own = found[0]
    expect(own.SecurityPolicyUri.endswith("#Basic256Sha256") and own.SecurityMode == ua.MessageSecurityMode.SignAndEncrypt, own)
    expect(own.AuthenticationMechanism, own)


@check("diagnostics", "each session is an object below SessionsDiagnosticsSummary", "OPC 10000-5, 6.3.4")
async def session_objects(s):
    parent = zero(O.Server_ServerDiagnostics_SessionsDiagnosticsSummary)
    found = [one for one in await s.connection.references(parent, reference=zero(HIERARCHICAL)) if one.NodeClass == ua.NodeClass.Object]
    expect(found, "no session object")
    children = {one.BrowseName.Name for one in await s.connection.references(ua.NodeId(found[0].NodeId.Identifier, found[0].NodeId.NamespaceIndex))}
    expect("SessionDiagnostics" in children, children)


@check("diagnostics", "SubscriptionDiagnosticsArray has each subscription as it is", "OPC 10000-5, 12.15")
async def subscription_array(s):
    it = await Subscription.create(s.connection, publishing=250.0, keep_alive=7)
    await it.items(s.nodes([plants.ANALOG, plants.BEAT]))
    await it.publish()
    found = [one for one in await s.connection.value(zero(SUBSCRIPTIONS)) or [] if one.SubscriptionId == it.id]
    await it.delete()
    expect(len(found) == 1, "entries:", len(found))
    own = found[0]
    expect(own.PublishingInterval == 250 and own.MaxKeepAliveCount == it.created.RevisedMaxKeepAliveCount and own.MonitoredItemCount == 2, own)
    expect(own.PublishRequestCount >= 1 and own.NotificationsCount >= 1 and own.PublishingEnabled, own)


@check("diagnostics", "metrics say how many sessions and subscriptions there are", "README: Prometheus")
async def metrics(s):
    page = s.need_plant().metrics()
    found = [line for line in page.splitlines() if "opcua" in line and "session" in line and not line.startswith("#")]
    expect(found, "no series with opcua and session in its name")
    return found[0]
