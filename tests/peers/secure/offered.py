"""What is offered, and that all of it works: policies, modes, user tokens."""

from asyncua import ua

from common import plant as plants
from common.check import check, expect
from common.client import MODES, POLICIES, Connection, endpoints, status_of

PREFIX = "http://opcfoundation.org/UA/SecurityPolicy#"
T = ua.UserTokenType


def pairs(found):
    return sorted((one.SecurityPolicyUri.removeprefix(PREFIX), one.SecurityMode.name) for one in found)


def tokens(found):
    return {token.TokenType for one in found for token in one.UserIdentityTokens}


@check("offered", "Sign and SignAndEncrypt of the three current policies, nothing else", "OPC 10000-7, 6.6.165 to 6.6.167; issue: security")
async def policies_and_modes(s):
    found = pairs(await endpoints((await s.plant()).url))
    expect(found == sorted((policy, mode) for policy in POLICIES for mode in MODES), found)


@check("offered", "no deprecated policy, in no configuration", "OPC 10000-7, 6.6.161")
async def no_deprecated_policy(s):
    for kind in ("plain", "anonymous", "none"):
        found = pairs(await endpoints((await s.plant(kind)).url))
        expect(not {policy for policy, _ in found} & {"Basic128Rsa15", "Basic256"}, kind, found)


@check("offered", "user tokens are under no deprecated policy, and no password under None", "OPC 10000-4, 7.41")
async def token_policies(s):
    for kind in ("plain", "anonymous", "none"):
        for one in await endpoints((await s.plant(kind)).url):
            for token in one.UserIdentityTokens:
                policy = (token.SecurityPolicyUri or one.SecurityPolicyUri).removeprefix(PREFIX)
                secret = token.TokenType in (T.UserName, T.Certificate)
                expect(not secret or policy in POLICIES, kind, one.SecurityPolicyUri, token)


@check("offered", "None is offered only where the configuration says so", "README: OPC UA")
async def none_only_if_configured(s):
    for kind in ("plain", "anonymous"):
        found = pairs(await endpoints((await s.plant(kind)).url))
        expect(not [one for one in found if "None" in one[0]], kind, found)
    found = pairs(await endpoints((await s.plant("none")).url))
    expect(("None", "None_") in found and len(found) == 7, found)


@check("offered", "anonymous is offered only where the configuration says so", "README: OPC UA")
async def anonymous_only_if_configured(s):
    expect(T.Anonymous not in tokens(await endpoints((await s.plant()).url)), "plain")
    expect(T.Anonymous in tokens(await endpoints((await s.plant("anonymous")).url)), "anonymous_read: not offered")


@check("offered", "the None endpoint is for anonymous readers alone", "README: OPC UA")
async def none_has_no_passwords(s):
    found = [one for one in await endpoints((await s.plant("none")).url) if one.SecurityMode == ua.MessageSecurityMode.None_]
    expect(found and tokens(found) == {T.Anonymous}, tokens(found))


@check("offered", "passwords are offered on every endpoint with security", "OPC 10000-7, 6.6.21")
async def passwords_offered(s):
    for one in await endpoints((await s.plant()).url):
        expect(T.UserName in {token.TokenType for token in one.UserIdentityTokens}, one.SecurityPolicyUri, one.SecurityMode)


@check("offered", "X.509 users are offered", "OPC 10000-7, 6.6.22; issue: security")
async def certificates_offered(s):
    found = tokens(await endpoints((await s.plant()).url))
    expect(T.Certificate in found and T.IssuedToken not in found, found)


def pair(policy, mode):
    async def works(s):
        async with await s.session(policy=policy, mode=mode) as one:
            values = await one.read([ua.NodeId(2259, 0)] * 500)
            expect(len(values) == 500 and all(value.Value.Value == 0 for value in values), values[:1])
            await one.renew()
            one.protocol.revolve_security_token()
            expect((await one.read([ua.NodeId(2259, 0)]))[0].Value.Value == 0, "after renewal")

    works.__name__ = f"{policy}_{mode}"
    return works


for policy in POLICIES:
    for mode in MODES:
        check("offered", f"{policy} with {mode}: session, a long answer, renewal", "OPC 10000-6, 6.7")(pair(policy, mode))


@check("offered", "an anonymous session where it is allowed reads, browses and subscribes, and writes nothing", "OPC 10000-3, 8.57")
async def anonymous_reads_only(s):
    await reads_only(await s.session("anonymous", None, None), "anonymous_read")


@check("offered", "a session without security where it is allowed reads, browses and subscribes, and writes nothing", "OPC 10000-3, 8.57")
async def none_reads_only(s):
    await reads_only(await s.session("none", None, None, policy=None), "security_policy_none")


async def reads_only(one, kind):
    async with one:
        namespaces = await one.value(ua.NodeId(2255, 0))
        node = lambda name: ua.NodeId(name, namespaces.index(plants.NAMESPACE))
        expect((await one.read([node(plants.ANALOG)]))[0].Value is not None, "no value")
        expect(await one.references(ua.NodeId(85, 0)), "no references")
        created = await one.service("CreateSubscription", RequestedPublishingInterval=100.0, RequestedLifetimeCount=100, RequestedMaxKeepAliveCount=10)
        expect(created.SubscriptionId, "no subscription")
        for name, value, kind in ((plants.SETPOINT, 10.0, ua.VariantType.Double), (plants.ENABLE, True, ua.VariantType.Boolean), (plants.ARMED, False, ua.VariantType.Boolean)):
            said = await one.write(node(name), value, kind)
            expect(said in ("BadUserAccessDenied", "BadNotWritable"), name, said)
            level = await one.value(node(name), ua.AttributeIds.UserAccessLevel)
            expect(level & 2 == 0 and level & 1, name, "UserAccessLevel", level)


@check("offered", "an anonymous session does not see the diagnostics of others' sessions", "OPC 10000-5, 6.3.4")
async def anonymous_sees_no_diagnostics(s):
    async with await s.session("anonymous", None, None) as one:
        array = (await one.read([ua.NodeId(ua.ObjectIds.Server_ServerDiagnostics_SessionsDiagnosticsSummary_SessionSecurityDiagnosticsArray, 0)]))[0]
        expect(array.StatusCode.is_bad() or not (array.Value and array.Value.Value), array)


@check("offered", "without security a password is refused, even where None is offered", "OPC 10000-4, 7.41")
async def no_password_without_security(s):
    said = await status_of(s.session("none", policy=None))
    expect(said in ("BadIdentityTokenInvalid", "BadIdentityTokenRejected", "BadUserAccessDenied"), said)
