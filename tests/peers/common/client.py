"""One connection to the server: socket, secure channel, session, on asyncua's own codec, without its supervisor and publish loop.

Every service is a request structure in, a response structure out; a ServiceFault is an exception with its status.
"""

import asyncio

from asyncua import Client, ua
from asyncua.crypto import security_policies, uacrypto
from asyncua.ua.ua_binary import struct_from_binary
from cryptography import x509

from .certificates import Identity
from .subscription import tidy

POLICIES = {
    "Basic256Sha256": security_policies.SecurityPolicyBasic256Sha256,
    "Aes128_Sha256_RsaOaep": security_policies.SecurityPolicyAes128Sha256RsaOaep,
    "Aes256_Sha256_RsaPss": security_policies.SecurityPolicyAes256Sha256RsaPss,
}
MODES = ["Sign", "SignAndEncrypt"]
# Seconds for an answer.
LIMIT = 20
# No view: all of its fields null, not the time of now that asyncua would put in.
NO_VIEW = ua.ViewDescription(Timestamp=ua.get_win_epoch())
OWN = Identity.self_signed()


def name(status):
    """A StatusCode by its name."""
    value = status.value if isinstance(status, ua.StatusCode) else status
    return "Good" if value is None or value == 0 else ua.StatusCode(value).name


async def endpoints(url, limit=LIMIT):
    return await Client(url, timeout=limit).connect_and_get_server_endpoints()


async def status_of(awaitable):
    """The name of the status that a request ends with: Good, a fault's, or of the connection that was closed instead."""
    try:
        await awaitable
    except ua.UaStatusCodeError as error:
        return ua.StatusCode(error.code).name
    except (ConnectionError, OSError, EOFError) as error:
        return f"closed ({error})"
    except asyncio.TimeoutError:
        return "no answer"
    return "Good"


class Connection:
    """`channel` opens the socket and the secure channel, `session` makes it a session."""

    def __init__(self, url, policy="Basic256Sha256", mode="SignAndEncrypt", identity=OWN, lifetime=3_600_000, limit=LIMIT):
        self.url, self.policy, self.mode, self.identity = url, policy, mode, identity
        self.client = Client(url, timeout=limit)
        self.client.secure_channel_timeout = lifetime
        self.client.application_uri = identity.uri
        self.client.uaclient.set_max_concurrent_requests(100_000)

    async def channel(self, server_certificate=None):
        """Opens the channel; `server_certificate` in place of asking for it."""
        if self.policy:
            if server_certificate is None:
                found = await endpoints(self.url, self.client.uaclient._timeout)
                server_certificate = next(one.ServerCertificate for one in found if one.ServerCertificate)
            length = int.from_bytes(server_certificate[2:4], "big") + 4
            identity = self.identity
            chain = [x509.load_der_x509_certificate(der) for der in identity.chain]
            self.client.security_policy = POLICIES[self.policy](
                x509.load_der_x509_certificate(server_certificate[:length]),
                x509.load_der_x509_certificate(identity.certificate),
                identity.key,
                ua.MessageSecurityMode[self.mode],
                host_cert_chain=chain,
            )
            self.client.uaclient.set_security(self.client.security_policy)
        await self.client.connect_socket()
        try:
            await self.client.send_hello()
            await self.client.open_secure_channel()
        except BaseException:
            self.drop()
            raise
        return self

    async def renew(self):
        await self.client.open_secure_channel(renew=True)

    async def create(self, timeout=60_000):
        self.client.session_timeout = timeout
        return await self.client.create_session()

    async def activate(self, user=None, password=None, certificate=None, key=None):
        """Anonymous without a user; an X.509 user by certificate and key."""
        if certificate is not None:
            self.client.user_private_key = key
            certificate = x509.load_der_x509_certificate(certificate)
        return await self.client.activate_session(username=user, password=password, certificate=certificate)

    async def session(self, user=None, password=None, timeout=60_000):
        await self.channel()
        try:
            await self.create(timeout)
            await self.activate(user, password)
        except BaseException:
            self.drop()
            raise
        return self

    @property
    def protocol(self):
        return self.client.uaclient.protocol

    @property
    def token(self):
        return self.protocol.authentication_token

    @token.setter
    def token(self, token):
        self.protocol.authentication_token = token

    @property
    def is_open(self):
        return self.protocol is not None and self.protocol.transport is not None

    async def send(self, request, limit=None):
        """The response to a request, of the type that belongs to it."""
        if self.protocol is None:
            raise ConnectionError("closed")
        data = await self.protocol.send_request(request, limit)
        kind = getattr(ua, type(request).__name__.removesuffix("Request") + "Response")
        response = struct_from_binary(kind, data)
        response.ResponseHeader.ServiceResult.check()
        return response

    async def service(self, service, limit=None, **parameters):
        """The same by the service's name and the fields of its parameters; answers with the response's results."""
        request = getattr(ua, service + "Request")()
        target = request.Parameters if hasattr(request, "Parameters") else request
        if service == "Browse":
            parameters.setdefault("View", NO_VIEW)
        for field, value in parameters.items():
            if not hasattr(target, field):
                raise AttributeError(f"{service} has no {field}")
            setattr(target, field, value)
        response = await self.send(request, limit)
        return next((getattr(response, field) for field in ("Parameters", "Results") if hasattr(response, field)), response)

    async def close(self):
        """Session, channel and socket, in order; never fails."""
        try:
            await asyncio.wait_for(self.client.close_session(), 5)
            await asyncio.wait_for(self.client.close_secure_channel(), 5)
        except Exception:
            pass
        self.drop()

    def drop(self):
        """The socket only, as when a cable is pulled."""
        try:
            if self.protocol is not None and self.protocol.transport is not None:
                self.protocol.transport.abort()
            self.client.disconnect_socket()
        except Exception:
            pass

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.close()

    # --- what nearly every check needs ---

    async def read(self, nodes, attribute=ua.AttributeIds.Value, index_range=None, stamps=ua.TimestampsToReturn.Both, max_age=0.0, encoding=None):
        """DataValues of these nodes, in their order."""
        wanted = [
            ua.ReadValueId(NodeId=node, AttributeId=attribute, IndexRange=index_range, DataEncoding=encoding or ua.QualifiedName()) for node in nodes
        ]
        found = await self.service("Read", MaxAge=max_age, TimestampsToReturn=stamps, NodesToRead=wanted)
        return [tidy(one) for one in found]

    async def value(self, node, attribute=ua.AttributeIds.Value):
        """The value of one node; fails where it has none."""
        answer = (await self.read([node], attribute))[0]
        status = answer.StatusCode or ua.StatusCode()
        if status.is_bad():
            raise ua.UaStatusCodeError(status.value)
        return answer.Value.Value if answer.Value is not None else None

    async def write(self, node, value, kind=None, attribute=ua.AttributeIds.Value, index_range=None, **stamps):
        """The name of the status of one write; `value` may be a whole DataValue."""
        if not isinstance(value, ua.DataValue):
            value = ua.DataValue(ua.Variant(value, kind), **stamps)
        one = ua.WriteValue(NodeId=node, AttributeId=attribute, IndexRange=index_range, Value=value)
        return name((await self.service("Write", NodesToWrite=[one]))[0])

    async def call(self, target, method, *arguments):
        """The CallMethodResult of one call."""
        one = ua.CallMethodRequest(ObjectId=target, MethodId=method, InputArguments=list(arguments))
        return (await self.service("Call", MethodsToCall=[one]))[0]

    async def path(self, start, *names):
        """The BrowsePathResult of these names, by any hierarchical reference."""
        hierarchical = ua.NodeId(ua.ObjectIds.HierarchicalReferences, 0)
        elements = [ua.RelativePathElement(ReferenceTypeId=hierarchical, IsInverse=False, IncludeSubtypes=True, TargetName=one) for one in names]
        asked = ua.BrowsePath(StartingNode=start, RelativePath=ua.RelativePath(Elements=elements))
        return (await self.service("TranslateBrowsePathsToNodeIds", BrowsePaths=[asked]))[0]

    async def browse(self, node, direction=ua.BrowseDirection.Forward, reference=None, subtypes=True, mask=0, most=0, result_mask=63, view=None):
        """The BrowseResult of one node, its first part only."""
        one = ua.BrowseDescription(
            NodeId=node,
            BrowseDirection=direction,
            ReferenceTypeId=reference or ua.NodeId(),
            IncludeSubtypes=subtypes,
            NodeClassMask=mask,
            ResultMask=result_mask,
        )
        return (await self.service("Browse", View=view or NO_VIEW, RequestedMaxReferencesPerNode=most, NodesToBrowse=[one]))[0]

    async def references(self, node, *args, **kwargs):
        """All references of one node, by as many BrowseNext as it takes."""
        result = await self.browse(node, *args, **kwargs)
        result.StatusCode.check()
        found = list(result.References or [])
        while result.ContinuationPoint:
            result = (await self.service("BrowseNext", ReleaseContinuationPoints=False, ContinuationPoints=[result.ContinuationPoint])).Results[0]
            result.StatusCode.check()
            found += result.References or []
        return found
