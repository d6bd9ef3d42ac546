"""Channels and sessions: what goes without one, tokens on other channels, lifetimes, forged and repeated messages."""

import asyncio
import math
import os
import time

from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary

from common import plant as plants
from common.certificates import Identity
from common.check import check, expect
from common.client import OWN, Connection, endpoints, name, status_of
from common.raw import Raw, chunk, get_endpoints, hello, open_none, read_request, string

PREFIX = "http://opcfoundation.org/UA/SecurityPolicy#"
STATE = ua.NodeId(2259, 0)
NO_SESSION = ("BadSessionIdInvalid", "BadSessionNotActivated", "BadSecurityChecksFailed", "BadSecurityPolicyRejected", "BadServiceUnsupported")
SERVICES = {
    "Read": {"NodesToRead": [ua.ReadValueId(NodeId=STATE, AttributeId=13)]},
    "Write": {"NodesToWrite": [ua.WriteValue(NodeId=STATE, AttributeId=13)]},
    "Browse": {"NodesToBrowse": [ua.BrowseDescription(NodeId=STATE)]},
    "Call": {"MethodsToCall": [ua.CallMethodRequest(ObjectId=STATE, MethodId=STATE)]},
    "CreateSubscription": {"RequestedPublishingInterval": 100.0},
    "Publish": {"SubscriptionAcknowledgements": []},
    "TranslateBrowsePathsToNodeIds": {"BrowsePaths": [ua.BrowsePath(StartingNode=STATE)]},
    "RegisterNodes": {"NodesToRegister": [STATE]},
    "TransferSubscriptions": {"SubscriptionIds": [1]},
    "HistoryRead": {"HistoryReadDetails": ua.ReadRawModifiedDetails(), "NodesToRead": [ua.HistoryReadValueId(NodeId=STATE)]},
}


async def refusals(one):
    """The services above by what each says."""
    said = {}
    for service, parameters in SERVICES.items():
        if not one.is_open:
            said[service] = "closed"
            continue
        said[service] = await status_of(one.service(service, 10, **parameters))
    return said


@check("channels", "no service but discovery works on a secure channel without a session", "OPC 10000-4, 5.7.1")
async def without_a_session(s):
    plant = await s.plant()
    async with await Connection(plant.url).channel() as one:
        said = await refusals(one)
    expect(set(said.values()) <= {*NO_SESSION}, said)


@check("channels", "an invented session token is BadSessionIdInvalid", "OPC 10000-4, 5.7.1")
async def invented_token(s):
    plant = await s.plant()
    async with await Connection(plant.url).channel() as one:
        for token in (ua.NodeId(1, 1), ua.NodeId("token", 1), ua.NodeId(b"\0" * 32, 0, ua.NodeIdType.ByteString)):
            one.token = token
            said = await status_of(one.read([STATE]))
            expect(said in ("BadSessionIdInvalid", "BadSecurityChecksFailed"), token, said)


@check("channels", "a session that was never activated serves nothing", "OPC 10000-4, 5.7.2.1")
async def never_activated(s):
    plant = await s.plant()
    async with await Connection(plant.url).channel() as one:
        await one.create()
        said = await refusals(one)
    expect(set(said.values()) <= {*NO_SESSION, "closed"}, said)


@check("channels", "a session's token on another channel is refused", "OPC 10000-4, 5.7.3.1")
async def token_on_another_channel(s):
    plant = await s.plant()
    async with await s.session() as one, await Connection(plant.url).channel() as other:
        other.token = one.token
        said = await refusals(other)
        expect(set(said.values()) <= {"BadSecureChannelIdInvalid", *NO_SESSION, "closed"}, said)
        expect((await one.read([STATE]))[0].Value.Value == 0, "the session itself is harmed")


@check("channels", "a closed session's token is dead", "OPC 10000-4, 5.7.4")
async def token_of_a_closed_session(s):
    plant = await s.plant()
    one = await s.session()
    token = one.token
    request = ua.CloseSessionRequest()
    request.DeleteSubscriptions = True
    await one.send(request)
    one.drop()
    async with await Connection(plant.url).channel() as other:
        other.token = token
        said = await status_of(other.read([STATE]))
        expect(said in ("BadSessionIdInvalid", "BadSessionClosed"), said)


@check("channels", "another application can't take a session over, knowing its token", "OPC 10000-4, 5.7.3.1")
async def session_taken_over(s):
    plant = await s.plant()
    thief = Identity.self_signed("Thief", uri="urn:canvoy:test:thief", role="thief")
    plant.put("trusted", "thief", thief.certificate)
    await s.admitted(plant, thief)
    async with await s.session() as one, await Connection(plant.url, identity=thief).channel() as other:
        other.token, other.client._server_nonce, other.client._policy_ids = one.token, one.client._server_nonce, one.client._policy_ids
        said = await status_of(other.activate(plants.USER, plants.PASSWORD))
        expect(said.startswith("Bad") or said.startswith("closed"), said)
        expect((await one.read([STATE]))[0].Value.Value == 0, "the session itself is harmed")
        return said


@check("channels", "a session moves to another channel of the same application by ActivateSession, and the old one has lost it", "OPC 10000-4, 5.7.3.1")
async def session_moves(s):
    plant = await s.plant()
    async with await s.session() as one, await Connection(plant.url).channel() as other:
        other.token, other.client._server_nonce, other.client._policy_ids = one.token, one.client._server_nonce, one.client._policy_ids
        await other.activate(plants.USER, plants.PASSWORD)
        expect((await other.read([STATE]))[0].Value.Value == 0, "not on the new channel")
        said = await status_of(one.read([STATE]))
        expect(said in ("BadSecureChannelIdInvalid", *NO_SESSION) or said.startswith("closed"), "on the old channel:", said)


@check("channels", "another user can't take a session over by ActivateSession on another channel", "OPC 10000-4, 5.7.3.1")
async def session_of_another_user(s):
    plant = await s.plant()
    async with await s.session() as one, await Connection(plant.url).channel() as other:
        other.token, other.client._server_nonce, other.client._policy_ids = one.token, one.client._server_nonce, one.client._policy_ids
        said = await status_of(other.activate(plants.SECOND_USER, plants.SECOND_PASSWORD))
        expect(said.startswith("Bad"), said)


@check("channels", "ActivateSession with a wrong or an old signature is BadApplicationSignatureInvalid", "OPC 10000-4, 5.7.3.2")
async def wrong_signature(s):
    plant = await s.plant()
    for kind in ("other nonce", "no signature", "garbage"):
        async with await Connection(plant.url).channel() as one:
            await one.create()
            params = ua.ActivateSessionParameters()
            policy = one.client.security_policy
            params.ClientSignature.Algorithm = policy.AsymmetricSignatureURI
            challenge = policy.peer_certificate + (one.client._server_nonce if kind != "other nonce" else bytes(32))
            params.ClientSignature.Signature = policy.asymmetric_cryptography.signature(challenge)
            if kind == "no signature":
                params.ClientSignature = ua.SignatureData()
            if kind == "garbage":
                params.ClientSignature.Signature = bytes(256)
            one.client._add_user_auth(params, plants.USER, plants.PASSWORD)
            request = ua.ActivateSessionRequest()
            request.Parameters = params
            said = await status_of(one.send(request))
            expect(said in ("BadApplicationSignatureInvalid", "BadSecurityChecksFailed"), kind, said)


@check("channels", "server nonces have at least 32 bytes and never repeat", "OPC 10000-4, 5.7.2.2")
async def nonces(s):
    plant = await s.plant()
    found = []
    for _ in range(3):
        async with await Connection(plant.url).channel() as one:
            found.append((await one.create()).ServerNonce)
            found.append((await one.activate(plants.USER, plants.PASSWORD)).ServerNonce)
    expect(all(len(one) >= 32 for one in found) and len(set(found)) == len(found), [len(one) for one in found])


@check("channels", "session ids and tokens never repeat, and the token is not the id", "OPC 10000-4, 5.7.2.2")
async def session_tokens(s):
    plant = await s.plant()
    found = []
    for _ in range(3):
        async with await Connection(plant.url).channel() as one:
            created = await one.create()
            found += [str(created.AuthenticationToken), str(created.SessionId)]
            expect(created.AuthenticationToken.NodeIdType in (ua.NodeIdType.ByteString, ua.NodeIdType.Guid) or len(str(created.AuthenticationToken)) > 30, created)
    expect(len(set(found)) == len(found), found)


@check("channels", "a client nonce below 32 bytes is BadNonceInvalid", "OPC 10000-4, 5.7.2.2")
async def short_nonce(s):
    plant = await s.plant()
    async with await Connection(plant.url).channel() as one:
        for nonce in (b"", bytes(8), bytes(31)):
            parameters = create_parameters(plant.url)
            parameters["ClientNonce"] = nonce
            said = await status_of(one.service("CreateSession", **parameters))
            expect(said in ("BadNonceInvalid", "BadSecurityChecksFailed"), len(nonce), said)


def create_parameters(url, identity=OWN, uri=None):
    description = ua.ApplicationDescription(ApplicationUri=uri or identity.uri, ApplicationName=ua.LocalizedText("check"), ApplicationType=ua.ApplicationType.Client)
    return {
        "ClientDescription": description,
        "EndpointUrl": url,
        "SessionName": "check",
        "ClientNonce": os.urandom(32),
        "ClientCertificate": identity.certificate,
        "RequestedSessionTimeout": 60_000.0,
    }


@check("channels", "CreateSession with another ApplicationUri than the certificate's is BadCertificateUriInvalid", "OPC 10000-4, 5.7.2.3")
async def foreign_uri(s):
    plant = await s.plant()
    async with await Connection(plant.url).channel() as one:
        said = await status_of(one.service("CreateSession", **create_parameters(plant.url, uri="urn:somebody:else")))
        expect(said in ("BadCertificateUriInvalid", "BadSecurityChecksFailed"), said)


@check("channels", "CreateSession with another certificate than the channel's is refused", "OPC 10000-4, 5.7.2.2")
async def other_certificate_in_create_session(s):
    plant = await s.plant()
    other = Identity.self_signed("Other", role="other")
    async with await Connection(plant.url).channel() as one:
        parameters = create_parameters(plant.url)
        parameters["ClientCertificate"] = other.certificate
        said = await status_of(one.service("CreateSession", **parameters))
        expect(said.startswith("Bad"), said)


@check("channels", "on an unsecured channel only discovery is answered, where None is not offered", "OPC 10000-4, 5.5.4.1")
async def discovery_only(s):
    plant = await s.plant()
    for service in ("CreateSession", *SERVICES):
        parameters = create_parameters(plant.url) if service == "CreateSession" else SERVICES[service]
        async with await Connection(plant.url, policy=None).channel() as one:
            said = await status_of(one.service(service, 10, **parameters))
            expect(said.startswith("Bad") or said.startswith("closed"), service, said)
    async with await Connection(plant.url, policy=None).channel() as one:
        expect((await one.service("GetEndpoints", EndpointUrl=plant.url)).Endpoints, "GetEndpoints")


@check("channels", "OpenSecureChannel with a deprecated or unknown policy is refused", "OPC 10000-4, 5.6.2.3")
async def other_policies(s):
    plant = await s.plant()
    for policy in ("Basic128Rsa15", "Basic256", "Nonsense", ""):
        with Raw(plant.url) as raw:
            raw.hello()
            body = bytes(4) + string(PREFIX + policy) + string(OWN.certificate) + string(bytes(20)) + bytes(256)
            raw.send(chunk(b"OPN", body))
            state, kinds = raw.end(5)
            expect("OPN" not in kinds and (state == "closed" or kinds == ["ERR"]), policy, state, kinds)


@check("channels", "policy and mode must belong together: None with Sign, Basic256Sha256 with None are refused", "OPC 10000-4, 5.6.2.3")
async def modes_of_policies(s):
    plant = await s.plant()
    for mode in (2, 3, 0):
        with Raw(plant.url) as raw:
            raw.hello()
            raw.send(open_none(mode=mode))
            answer = raw.receive()
            # an OPN chunk may carry a ServiceFault (i=397)
            refused = answer is None or answer[0] == b"ERRF" or b"\x01\x00\x8d\x01" in answer[1][60:90]
            expect(refused, "None with mode", mode, "is opened")
    one = Connection(plant.url)
    found = await endpoints(plant.url)
    original = ua.MessageSecurityMode.SignAndEncrypt
    one.mode = "SignAndEncrypt"
    server = next(each.ServerCertificate for each in found if each.ServerCertificate)
    # the channel is signed and encrypted as it should be, the request says None
    policy_open = one.client.open_secure_channel

    async def lie(renew=False):
        policy = one.client.security_policy
        policy.Mode = ua.MessageSecurityMode.None_
        try:
            await policy_open(renew)
        finally:
            policy.Mode = original

    one.client.open_secure_channel = lie
    said = await status_of(one.channel(server))
    one.drop()
    expect(said != "Good", "Basic256Sha256 with mode None:", said)


@check("channels", "channel lifetimes are revised to sane ones: 0, 1 ms, 2^32-1", "OPC 10000-4, 5.6.2.2")
async def channel_lifetimes(s):
    plant = await s.plant()
    said = {}
    for asked in (0, 1, 1000, 600_000, 0xFFFFFFFF):
        async with await Connection(plant.url, lifetime=asked).channel() as one:
            said[asked] = one.client.secure_channel_timeout
    expect(all(1000 <= one <= 86_400_000 for one in said.values()) and said[600_000] == 600_000, said)
    return said


@check("channels", "so are those of unsecured channels", "OPC 10000-4, 5.6.2.2")
async def lifetimes_without_security(s):
    plant = await s.plant()
    said = {}
    for asked in (0, 1, 0xFFFFFFFF):
        with Raw(plant.url) as raw:
            raw.hello()
            raw.open(lifetime=asked)
            said[asked] = raw.lifetime
    expect(all(1000 <= one <= 86_400_000 for one in said.values()), said)


@check("channels", "session timeouts are revised to sane ones: 0, negative, tiny, huge, NaN, infinite", "OPC 10000-4, 5.7.2.2")
async def session_timeouts(s):
    plant = await s.plant()
    said = {}
    for asked in (0.0, -1.0, 1.0, 1e18, math.nan, math.inf, -math.inf, 60_000.0):
        async with await Connection(plant.url).channel() as one:
            parameters = create_parameters(plant.url)
            parameters["RequestedSessionTimeout"] = asked
            said[asked] = (await one.service("CreateSession", **parameters)).RevisedSessionTimeout
    expect(all(1000 <= one <= 86_400_000 for one in said.values()) and said[60_000.0] == 60_000, said)
    return said


@check("channels", "with tokens of four seconds a session goes on for twelve, no read fails", "OPC 10000-4, 5.6.2.1", limit=60)
async def renewal(s):
    async with await s.session(lifetime=4000) as one:
        expect(one.client.secure_channel_timeout <= 10_000, "revised to", one.client.secure_channel_timeout)
        start = renewed = time.monotonic()
        reads = 0
        while time.monotonic() - start < 12:
            if time.monotonic() - renewed > 0.7 * one.client.secure_channel_timeout / 1000:
                await one.renew()
                renewed = time.monotonic()
            expect((await one.read([STATE]))[0].Value.Value == 0, "a read")
            reads += 1
            await asyncio.sleep(0.01)
        return f"{reads} reads"


@check("channels", "after its lifetime and a quarter a token is dead", "OPC 10000-4, 5.6.2.1", limit=60)
async def expired_token(s):
    one = await s.session(lifetime=2000)
    lifetime = one.client.secure_channel_timeout / 1000
    if lifetime > 15:
        one.drop()
        expect(False, "the shortest lifetime is", lifetime, "s")
    await asyncio.sleep(1.25 * lifetime + 2)
    said = await status_of(one.read([STATE]))
    one.drop()
    expect(said != "Good", said)


@check("channels", "a message with another token or channel id is never answered", "OPC 10000-6, 6.7.6")
async def wrong_ids(s):
    plant = await s.plant()
    for kind in ("token", "channel"):
        one = await s.session()
        if kind == "token":
            one.protocol._connection.security_token.TokenId += 1000
        else:
            one.protocol._connection.security_token.ChannelId += 1000
        try:
            await one.service("Read", 3, **SERVICES["Read"])
            said = "answered"
        except ua.UaStatusCodeError as error:
            said = ua.StatusCode(error.code).name
        except (asyncio.TimeoutError, ConnectionError) as error:
            said = type(error).__name__
        one.drop()
        expect(said != "answered" and said != "Good", kind, said)
        with Raw(plant.url) as raw:
            raw.hello()
            raw.open()
            wrong = {kind: (raw.token if kind == "token" else raw.channel) + 1000}
            raw.send(raw.message(get_endpoints(plant.url), **wrong))
            _, kinds = raw.end(3)
            expect("MSG" not in kinds, "without security, wrong", kind, kinds)


@check("channels", "a message that was changed on its way is never answered", "OPC 10000-6, 6.7.2")
async def forged_message(s):
    await s.plant()
    for mode in ("Sign", "SignAndEncrypt"):
        one = await s.session(mode=mode)
        request = ua.ReadRequest()
        request.Parameters.NodesToRead = SERVICES["Read"]["NodesToRead"]
        protocol = one.protocol
        protocol._setup_request_header(request.RequestHeader, 5)
        data = bytearray(protocol._connection.message_to_binary(struct_to_binary(request), request_id=protocol._request_id + 1))
        data[-40] ^= 1
        answered = asyncio.get_running_loop().create_future()
        protocol._callbackmap[protocol._request_id + 1] = answered
        protocol.transport.write(bytes(data))
        try:
            await asyncio.wait_for(answered, 3)
            said = "answered"
        except (ua.UaStatusCodeError, ConnectionError, asyncio.TimeoutError) as error:
            said = type(error).__name__
        one.drop()
        expect(said != "answered", mode, said)


@check("channels", "a message that comes twice is not served twice", "OPC 10000-6, 6.7.2.4")
async def repeated_message(s):
    await s.plant()
    one = await s.session()
    request = ua.ReadRequest()
    request.Parameters.NodesToRead = SERVICES["Read"]["NodesToRead"]
    protocol = one.protocol
    protocol._setup_request_header(request.RequestHeader, 5)
    number = protocol._request_id + 1
    protocol._request_id = number
    data = protocol._connection.message_to_binary(struct_to_binary(request), request_id=number)
    count = 0
    for _ in range(2):
        answered = asyncio.get_running_loop().create_future()
        protocol._callbackmap[number] = answered
        if protocol.transport is None:
            break
        protocol.transport.write(data)
        try:
            await asyncio.wait_for(answered, 3)
            count += 1
        except (ua.UaStatusCodeError, ConnectionError, asyncio.TimeoutError):
            pass
    one.drop()
    expect(count == 1, "answers:", count)


@check("channels", "another session's subscription can be neither changed, deleted nor read", "OPC 10000-4, 5.14")
async def foreign_subscription(s):
    from common.subscription import Subscription

    async with await s.session() as one, await s.session() as other:
        it = await Subscription.create(one)
        items = await it.items([STATE])
        cases = {
            "ModifySubscription": {"SubscriptionId": it.id, "RequestedPublishingInterval": 100.0},
            "CreateMonitoredItems": {"SubscriptionId": it.id, "ItemsToCreate": [ua.MonitoredItemCreateRequest(ItemToMonitor=ua.ReadValueId(NodeId=STATE, AttributeId=13))]},
            "DeleteMonitoredItems": {"SubscriptionId": it.id, "MonitoredItemIds": [items[0].MonitoredItemId]},
            "SetMonitoringMode": {"SubscriptionId": it.id, "MonitoredItemIds": [items[0].MonitoredItemId], "MonitoringMode": ua.MonitoringMode.Disabled},
            "Republish": {"SubscriptionId": it.id, "RetransmitSequenceNumber": 1},
        }
        for service, parameters in cases.items():
            said = await status_of(other.service(service, **parameters))
            expect(said in ("BadSubscriptionIdInvalid", "BadUserAccessDenied"), service, said)
        said = [name(status) for status in await other.service("DeleteSubscriptions", SubscriptionIds=[it.id])]
        expect(said == ["BadSubscriptionIdInvalid"], "DeleteSubscriptions", said)
        found = await other.service("SetPublishingMode", PublishingEnabled=False, SubscriptionIds=[it.id])
        expect([name(status) for status in found.Results] == ["BadSubscriptionIdInvalid"], "SetPublishingMode", found)
        expect([name(status) for status in await it.delete()] == ["Good"], "it is gone")


@check("channels", "another user's subscription can't be transferred: BadUserAccessDenied", "OPC 10000-4, 5.14.7.1")
async def transfer_to_another_user(s):
    from common.subscription import Subscription

    async with await s.session() as one, await s.session(user=plants.SECOND_USER, password=plants.SECOND_PASSWORD) as other:
        it = await Subscription.create(one)
        found = await other.service("TransferSubscriptions", SubscriptionIds=[it.id], SendInitialValues=True)
        said = name(found.Results[0].StatusCode)
        expect(said in ("BadUserAccessDenied", "BadSubscriptionIdInvalid"), said)
        expect([name(status) for status in await it.delete()] == ["Good"], "it is gone")
