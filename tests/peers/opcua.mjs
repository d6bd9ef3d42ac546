// An OPC UA client (node-opcua) that does what it is told: requests and answers as in opcua.py, one JSON a line.
// Started as: node opcua.mjs FOLDER, where FOLDER has the node_modules of package-lock.json.

import { createRequire } from 'node:module';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

const load = createRequire(resolve(process.argv[2], 'package.json'));
const opcua = load('node-opcua-client');
const { OPCUACertificateManager } = load('node-opcua-certificate-manager');
const { AttributeIds, BrowseDirection, DataType, MessageSecurityMode, NodeClass, SecurityPolicy, StatusCodes, TimestampsToReturn } = opcua;

const NAMESPACE = 'urn:canvoy:plant';
const folder = mkdtempSync(join(tmpdir(), 'canvoy-node-opcua-'));
let client, session, namespace;
let seen = [];
let losses = 0;

// A value as JSON has it: 64-bit integers as numbers where exact, NaN and infinities as text, structures as objects.
function plain(value) {
  if (value === null || value === undefined) return null;
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (typeof value !== 'object') return value;
  if (value instanceof Date) return value.toISOString();
  if (ArrayBuffer.isView(value) || Array.isArray(value)) return Array.from(value, plain);
  if (typeof value.toJSON === 'function') return plain(value.toJSON());
  if ('text' in value && Object.keys(value).every((name) => name === 'text' || name === 'locale')) return value.text;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, plain(item)]));
}

function plainDataValue(dataValue) {
  const type = dataValue.value?.dataType ?? DataType.Null;
  let value = dataValue.value?.value;
  // 64-bit integers come as [high, low]
  if (type === DataType.Int64 || type === DataType.UInt64) {
    const bits = (BigInt(value[0] >>> 0) << 32n) | BigInt(value[1] >>> 0);
    value = Number(type === DataType.Int64 ? BigInt.asIntN(64, bits) : bits);
  }
  return {
    value: plain(value),
    type: type === DataType.Null ? null : DataType[type],
    status: dataValue.statusCode.value,
    status_name: dataValue.statusCode.name,
    source_ms: dataValue.sourceTimestamp ? dataValue.sourceTimestamp.getTime() : null,
    server_ms: dataValue.serverTimestamp ? dataValue.serverTimestamp.getTime() : null,
  };
}

const nodeId = (name) => (name.includes('=') ? name : `ns=${namespace};s=${name}`);

// Keys and certificates of this client, which would be in the home folder otherwise.
async function store() {
  const manager = new OPCUACertificateManager({ rootFolder: join(folder, 'pki'), automaticallyAcceptUnknownCertificate: true });
  await manager.initialize();
  return manager;
}

const actions = {
  async connect({ url, user, password, policy = 'Basic256Sha256', mode = 'SignAndEncrypt' }) {
    client = opcua.OPCUAClient.create({
      applicationName: 'canvoy-test',
      clientCertificateManager: await store(),
      securityMode: policy ? MessageSecurityMode[mode] : MessageSecurityMode.None,
      securityPolicy: policy ? SecurityPolicy[policy] : SecurityPolicy.None,
      endpointMustExist: false,
      keepSessionAlive: true,
      // a request that the server took with it when it died is given up after this; the default is a minute
      transportTimeout: 10000,
      defaultTransactionTimeout: 10000,
      connectionStrategy: { initialDelay: 100, maxDelay: 500, maxRetry: 100 },
    });
    client.on('connection_lost', () => { losses += 1; });
    await client.connect(url);
    session = await client.createSession(user === undefined ? undefined : { type: opcua.UserTokenType.UserName, userName: user, password });
    const namespaces = (await session.read({ nodeId: 'ns=0;i=2255', attributeId: AttributeIds.Value })).value.value;
    namespace = namespaces.indexOf(NAMESPACE);
    return { namespaces };
  },

  async endpoints({ url }) {
    const asking = opcua.OPCUAClient.create({ clientCertificateManager: await store(), endpointMustExist: false, connectionStrategy: { maxRetry: 3 } });
    await asking.connect(url);
    const found = await asking.getEndpoints();
    await asking.disconnect();
    return found.map((endpoint) => ({
      url: endpoint.endpointUrl,
      policy: endpoint.securityPolicyUri.split('#')[1],
      mode: MessageSecurityMode[endpoint.securityMode],
      tokens: [...new Set(endpoint.userIdentityTokens.map((token) => opcua.UserTokenType[token.tokenType]))].sort(),
    }));
  },

  async browse({ depth = 4 }) {
    const rows = [];
    async function walk(node, path, left) {
      let result = await session.browse({
        nodeId: node, referenceTypeId: 'HierarchicalReferences', includeSubtypes: true, browseDirection: BrowseDirection.Forward, resultMask: 63,
      });
      const found = [...result.references];
      while (result.continuationPoint?.length) {
        result = await session.browseNext(result.continuationPoint, false);
        found.push(...result.references);
      }
      for (const reference of found) {
        const here = [...path, reference.browseName.name];
        if (path.length === 0 && here[0] !== 'Canvoy') continue;
        // HasEventSource and HasNotifier, where events are told: to what is in the tree anyhow
        if ([36, 48].includes(reference.referenceTypeId.value)) continue;
        const kind = reference.typeDefinition;
        const name = kind.namespace === 0 ? opcua.ObjectTypeIds?.[kind.value] ?? opcua.VariableTypeIds?.[kind.value] : undefined;
        rows.push([here.join('/'), String(reference.nodeId.value), NodeClass[reference.nodeClass], name ?? String(kind.value)]);
        if (left > 0) await walk(reference.nodeId, here, left - 1);
      }
    }
    await walk('ns=0;i=85', [], depth);
    return rows;
  },

  async read({ nodes }) {
    const values = await session.read(nodes.map((name) => ({ nodeId: nodeId(name), attributeId: AttributeIds.Value })), 0);
    return values.map(plainDataValue);
  },

  async describe({ node }) {
    const attributes = [AttributeIds.Description, AttributeIds.DataType, AttributeIds.UserAccessLevel];
    const [description, dataType, access] = await session.read(attributes.map((attributeId) => ({ nodeId: nodeId(node), attributeId })));
    const found = await session.browse({ nodeId: nodeId(node), referenceTypeId: 'HasProperty', browseDirection: BrowseDirection.Forward, resultMask: 63 });
    const properties = {};
    for (const { nodeId: property, browseName } of found.references) {
      properties[browseName.name] = plain((await session.read({ nodeId: property, attributeId: AttributeIds.Value })).value.value);
    }
    return {
      description: description.value.value?.text ?? null,
      data_type: DataType[dataType.value.value.value],
      writable: (access.value.value & 2) !== 0,
      properties,
    };
  },

  async subscribe({ nodes, interval }) {
    const subscription = await session.createSubscription2({
      requestedPublishingInterval: interval, requestedLifetimeCount: 1000, requestedMaxKeepAliveCount: 10, publishingEnabled: true,
    });
    const items = nodes.map((name) => ({ nodeId: nodeId(name), attributeId: AttributeIds.Value }));
    const group = await subscription.monitorItems(items, { samplingInterval: interval, queueSize: 100, discardOldest: true }, TimestampsToReturn.Both);
    group.on('changed', (item, dataValue) => {
      seen.push({ node: item.itemToMonitor.nodeId.value, ...plainDataValue(dataValue) });
    });
    const sampling = group.monitoredItems.map((item) => item.result?.revisedSamplingInterval ?? null);
    return { publishing: subscription.publishingInterval, sampling };
  },

  async changes() {
    const changes = seen;
    seen = [];
    return { changes, losses };
  },

  async write({ node, value, type }) {
    let dataType = type === undefined ? undefined : DataType[type];
    if (dataType === undefined) {
      const read = await session.read({ nodeId: nodeId(node), attributeId: AttributeIds.DataType });
      dataType = await session.getBuiltInDataType(nodeId(node)).catch(() => read.value.value.value);
    }
    const status = await session.write({ nodeId: nodeId(node), attributeId: AttributeIds.Value, value: { value: { dataType, value } } });
    return status === StatusCodes.Good ? 'Good' : status.name;
  },

  async disconnect() {
    await session.close(true);
    await client.disconnect();
  },
};

// What the library says on the console must not be taken for an answer.
console.log = console.warn = console.info = (...words) => process.stderr.write(`${words.join(' ')}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  const { do: action, ...request } = JSON.parse(line);
  let answer;
  try {
    answer = { ok: (await actions[action](request)) ?? null };
  } catch (error) {
    answer = { error: `${error.constructor.name}: ${error.message}` };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
rmSync(folder, { recursive: true, force: true });
process.exit(0);
