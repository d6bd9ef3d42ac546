"""An OPC UA client (asyncua) that does what it is told: one JSON request a line on standard input, one JSON answer a line.

Requests: {"do": "connect", "url", "user", "password", "policy"} and those of the functions of Peer below.
Answers: {"ok": ...} or {"error": "..."}. opcua.mjs answers the same requests with node-opcua.
"""

import asyncio
import hashlib
import json
import logging
import math
import sys
import tempfile
from pathlib import Path

from asyncua import Client, ua
from asyncua.crypto import security_policies
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from cryptography.x509.oid import ExtendedKeyUsageOID

NAMESPACE = "urn:canvoy:plant"
URI = "urn:canvoy:test:asyncua"
POLICIES = {
    "Basic256Sha256": security_policies.SecurityPolicyBasic256Sha256,
    "Aes128_Sha256_RsaOaep": security_policies.SecurityPolicyAes128Sha256RsaOaep,
    "Aes256_Sha256_RsaPss": security_policies.SecurityPolicyAes256Sha256RsaPss,
}


def plain(value):
    """A value as JSON has it: structures as objects by their field names, NaN and infinities as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, bool) or value is None or isinstance(value, (int, float, str)):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, ua.LocalizedText):
        return value.Text
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        # field names as node-opcua has them: low, high, displayName
        return {name[0].lower() + name[1:]: plain(getattr(value, name)) for name in value.__dataclass_fields__ if name != "Encoding"}
    return str(value)


def plain_data_value(data_value):
    stamp = lambda time: None if time is None else round(time.timestamp() * 1000, 3)
    status = data_value.StatusCode or ua.StatusCode()
    return {
        "value": plain(data_value.Value.Value) if data_value.Value is not None else None,
        "type": data_value.Value.VariantType.name if data_value.Value is not None and data_value.Value.Value is not None else None,
        "status": status.value,
        "status_name": status.name,
        "source_ms": stamp(data_value.SourceTimestamp),
        "server_ms": stamp(data_value.ServerTimestamp),
    }


class Peer:
    def __init__(self, folder):
        self.folder = folder
        self.client = None
        self.seen = []
        self.losses = 0

    def node(self, name):
        """A tag name (bus.Message.Signal) in our namespace, or a full NodeId such as i=2256."""
        return self.client.get_node(name if "=" in name else ua.NodeId(name, self.namespace))

    def datachange_notification(self, node, value, data):
        self.seen.append({"node": node.nodeid.Identifier, **plain_data_value(data.monitored_item.Value)})

    async def lost(self, _error):
        self.losses += 1

    async def connect(self, url, user=None, password=None, policy="Basic256Sha256", mode="SignAndEncrypt"):
        """Connects; reconnects by itself from then on. Answers with the server's namespaces and the seconds to be connected."""
        client = Client(url, timeout=20, auto_reconnect=True, reconnect_max_delay=0.5)
        client.application_uri = URI
        if policy:
            key, certificate = self.folder / "key.pem", self.folder / "certificate.der"
            await setup_self_signed_certificate(
                key, certificate, URI, "localhost", [ExtendedKeyUsageOID.CLIENT_AUTH], {"organizationName": "Canvoy tests"}
            )
            await client.set_security(POLICIES[policy], certificate, key, mode=ua.MessageSecurityMode[mode])
        if user is not None:
            client.set_user(user)
            client.set_password(password)
        client.connection_lost_callback = self.lost
        await client.connect()
        self.client = client
        namespaces = await client.get_namespace_array()
        self.namespace = namespaces.index(NAMESPACE)
        return {"namespaces": namespaces}

    async def endpoints(self, url):
        """What GetEndpoints offers to a client that is not yet trusted."""
        found = await Client(url, timeout=20).connect_and_get_server_endpoints()
        return [
            {
                "url": endpoint.EndpointUrl,
                "policy": endpoint.SecurityPolicyUri.rpartition("#")[2],
                "mode": endpoint.SecurityMode.name,
                "tokens": sorted({token.TokenType.name for token in endpoint.UserIdentityTokens}),
            }
            for endpoint in found
        ]

    async def identity(self, url):
        """Who the server says it is: its application URI and the thumbprint of its certificate."""
        found = await Client(url, timeout=20).connect_and_get_server_endpoints()
        return sorted({f"{one.Server.ApplicationUri} {hashlib.sha1(one.ServerCertificate).hexdigest()}" for one in found})

    async def browse(self, depth=4):
        """The tree below Objects/Canvoy in the server's order: [path, NodeId, class, type definition] of each node."""
        rows = []

        async def walk(node, path, left):
            for found in await node.get_references(ua.ObjectIds.HierarchicalReferences, ua.BrowseDirection.Forward):
                here = [*path, found.BrowseName.Name]
                if not path and here != ["Canvoy"]:
                    continue
                # where events are told: to what is in the tree anyhow
                if found.ReferenceTypeId.Identifier in (ua.ObjectIds.HasNotifier, ua.ObjectIds.HasEventSource):
                    continue
                kind = found.TypeDefinition.Identifier
                kind = ua.ObjectIdNames.get(kind, str(kind)) if found.TypeDefinition.NamespaceIndex == 0 else str(kind)
                rows.append(["/".join(here), str(found.NodeId.Identifier), ua.NodeClass(found.NodeClass).name, kind])
                if left:
                    await walk(self.client.get_node(found.NodeId), here, left - 1)

        await walk(self.client.nodes.objects, [], depth)
        return rows

    async def read(self, nodes):
        values = await self.client.uaclient.read(self.read_parameters(nodes, ua.AttributeIds.Value))
        return [plain_data_value(value) for value in values]

    def read_parameters(self, nodes, attribute):
        parameters = ua.ReadParameters(TimestampsToReturn=ua.TimestampsToReturn.Both)
        for node in nodes:
            parameters.NodesToRead.append(ua.ReadValueId(NodeId=self.node(node).nodeid, AttributeId=attribute))
        return parameters

    async def describe(self, node):
        """Description, data type, access and properties of one variable."""
        variable = self.node(node)
        properties = {}
        for child in await variable.get_properties():
            properties[(await child.read_browse_name()).Name] = plain(await child.read_value())
        access = await variable.get_user_access_level()
        return {
            "description": (await variable.read_description()).Text,
            "data_type": ua.ObjectIdNames.get((await variable.read_data_type()).Identifier),
            "writable": ua.AccessLevel.CurrentWrite in access,
            "properties": properties,
        }

    async def subscribe(self, nodes, interval):
        """One subscription with the given publishing and sampling interval in ms; answers with the revised ones."""
        subscription = await self.client.create_subscription(interval, self)
        await subscription.subscribe_data_change([self.node(node) for node in nodes], queuesize=100, sampling_interval=interval)
        return {"publishing": subscription.parameters.RequestedPublishingInterval}

    async def changes(self):
        """What the subscriptions brought since the last call, and how often the connection was lost."""
        seen, self.seen = self.seen, []
        return {"changes": seen, "losses": self.losses}

    async def write(self, node, value, type=None):
        """Writes as a careful client does, with the variable's own type, unless `type` names another; the status name."""
        variable = self.node(node)
        if type is None:
            kind = await variable.read_data_type_as_variant_type()
        else:
            kind = ua.VariantType[type]
        if kind in (ua.VariantType.Double, ua.VariantType.Float) and not isinstance(value, str):
            value = float(value)
        try:
            await variable.write_value(ua.DataValue(ua.Variant(value, kind)))
        except ua.UaStatusCodeError as error:
            return ua.StatusCode(error.code).name
        return "Good"

    async def call(self, object, method):
        """Calls a method without arguments."""
        return plain(await self.node(object).call_method(self.node(method).nodeid))

    async def disconnect(self):
        await self.client.disconnect()
        self.client = None


async def main():
    logging.disable(logging.CRITICAL)
    reader = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(Path(folder))
        while line := await reader.readline():
            request = json.loads(line)
            action = getattr(peer, request.pop("do"))
            try:
                answer = {"ok": await action(**request)}
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), flush=True)


asyncio.run(main())
