"""The plant side's part of the load: ten OPC UA clients with subscriptions, and a scrape of the metrics each second.

clients.py FOLDER OPCUA_URL METRICS_URL [TAG]: says "ready" when all are connected, then each second how much has come.
With TAG the first client writes it each second. FOLDER is for its certificate. Ends by a signal.
"""

import asyncio
import logging
import sys
import urllib.request
from pathlib import Path

from asyncua import Client, ua
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from cryptography.x509.oid import ExtendedKeyUsageOID

CLIENTS = 10
INTERVAL_MS = 100
URI = "urn:canvoy:bench"
USER, PASSWORD = "bench", "correct horse battery staple"


class Seen:
    changes = scrapes = writes = 0

    def datachange_notification(self, *_):
        self.changes += 1


async def connect(folder, url):
    client = Client(url, timeout=60)
    client.application_uri = URI
    key, certificate = folder / "bench.pem", folder / "bench.der"
    await client.set_security(SecurityPolicyBasic256Sha256, certificate, key, mode=ua.MessageSecurityMode.SignAndEncrypt)
    client.set_user(USER)
    client.set_password(PASSWORD)
    await client.connect()
    return client


async def variables(node, depth=5):
    """Every variable below a node."""
    found = []
    for child in await node.get_references(ua.ObjectIds.HierarchicalReferences, ua.BrowseDirection.Forward):
        if child.NodeClass == ua.NodeClass.Variable:
            found.append(child.NodeId)
        elif depth:
            found += await variables(ua_node(node, child.NodeId), depth - 1)
    return found


def ua_node(node, node_id):
    return type(node)(node.session, node_id)


async def main(folder, opcua, metrics, tag=""):
    logging.disable(logging.CRITICAL)
    folder, seen = Path(folder), Seen()
    await setup_self_signed_certificate(
        folder / "bench.pem", folder / "bench.der", URI, "localhost", [ExtendedKeyUsageOID.CLIENT_AUTH], {"organizationName": "bench"}
    )
    clients = [await connect(folder, opcua) for _ in range(CLIENTS)]
    namespace = (await clients[0].get_namespace_array()).index("urn:canvoy:plant")
    nodes = [node for node in await variables(clients[0].nodes.objects) if node.NamespaceIndex == namespace]
    subscriptions = []
    for client in clients:
        subscription = await client.create_subscription(INTERVAL_MS, seen)
        await subscription.subscribe_data_change([client.get_node(node) for node in nodes])
        subscriptions.append(subscription)
    print(f"ready clients={len(clients)} nodes={len(nodes)}", flush=True)
    written = clients[0].get_node(ua.NodeId(tag, namespace)) if tag else None
    kind = await written.read_data_type_as_variant_type() if written else None
    while True:
        await asyncio.sleep(1)
        with urllib.request.urlopen(metrics, timeout=20) as page:
            seen.scrapes += bool(page.read())
        if written:
            await written.write_value(ua.DataValue(ua.Variant(float(seen.writes % 100), kind)))
            seen.writes += 1
        print(f"clients={len(clients)} nodes={len(nodes)} changes={seen.changes} scrapes={seen.scrapes} writes={seen.writes}", flush=True)


asyncio.run(main(*sys.argv[1:]))
