// The NodeSet file of `canvoy tags --nodeset` in another server, that of node-opcua: a client that browses both finds the same
// nodes, types and references. One JSON line a check.
// By hand: .testenv/venv/bin/python tests/peers/common/plant.py target/debug/canvoy trust_any_client_certificate=true --model --alarms -- \
//   node tests/peers/nodeset.mjs .testenv/node [--only text]
// which starts the plant and adds --url, --user and more.

import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

import { NAMESPACE, browse, certificates, connect, expect, folder, given, load, login, opcua, run } from './common/node.mjs';

const { AttributeIds, BrowseDirection, MessageSecurityMode, NodeClass, SecurityPolicy } = opcua;
const { OPCUAServer } = load('node-opcua-server');
// The standard as this server has it; the companion specifications as published.
const own = dirname(createRequire(load.resolve('node-opcua-server')).resolve('node-opcua-nodesets/package.json'));
const published = dirname(load.resolve('node-opcua-nodesets/package.json'));
const NODE_SETS = [[own, 'Opc.Ua.NodeSet2.xml'], ...['Di', 'IA', 'Machinery'].map((name) => [published, `Opc.Ua.${name}.NodeSet2.xml`])];
// HasTypeDefinition, HasModellingRule: neither types nor rules list who is of them.
const ONE_WAY = ['i=40', 'i=37'];
// Sources of J1939 are seen by their frames only.
const isPlanned = (id) => !/@(?!J1939)/.test(id);

function freePort() {
  return new Promise((done) => {
    const one = createServer().listen(0, '127.0.0.1', () => { const { port } = one.address(); one.close(() => done(port)); });
  });
}
async function serve(file) {
  const port = await freePort();
  const manager = await certificates();
  const server = new OPCUAServer({
    port, nodeset_filename: [...NODE_SETS.map(([where, name]) => join(where, 'nodesets', name)), file],
    serverCertificateManager: manager, userCertificateManager: manager,
    securityPolicies: [SecurityPolicy.None], securityModes: [MessageSecurityMode.None], disableDiscovery: true, allowAnonymous: true,
    serverCapabilities: { operationLimits: { maxNodesPerBrowse: 1000, maxNodesPerRead: 1000 } },
  });
  await server.initialize();
  await server.start();
  return [server, `opc.tcp://localhost:${port}`];
}

// A NodeId whose namespace is said by its URI, as the two servers number them in their own ways.
const said = (uris, id) => `${id.namespace ? `${uris[id.namespace]};` : ''}${id.toString().split(';').pop()}`;

// All nodes of the plant's namespace that a walk from Root meets: {NodeId: {id, class, name, references}}.
async function tree(session) {
  const uris = await session.readNamespaceArray();
  const ours = uris.indexOf(NAMESPACE);
  const found = new Map(), seen = new Set(['ns=0;i=84']);
  for (let level = ['ns=0;i=84']; level.length;) {
    const below = [];
    for (const one of (await browse(session, level)).flat()) {
      const id = `ns=${one.nodeId.namespace};${one.nodeId.toString().split(';').pop()}`;
      if (seen.has(id)) continue;
      seen.add(id);
      below.push(id);
      if (one.nodeId.namespace === ours && isPlanned(id)) {
        found.set(said(uris, one.nodeId), { id, class: NodeClass[one.nodeClass], name: `${uris[one.browseName.namespaceIndex]} ${one.browseName.name}` });
      }
    }
    level = below;
  }
  const all = [...found.values()];
  const references = await browse(session, all.map((one) => one.id), 'References', BrowseDirection.Both);
  all.forEach((one, at) => {
    const kept = references[at].filter((each) => (each.isForward || !ONE_WAY.includes(each.referenceTypeId.toString().replace('ns=0;', ''))) && isPlanned(each.nodeId.toString()));
    one.references = [...new Set(kept.map((each) => `${each.isForward ? '' : 'inverse '}${said(uris, each.referenceTypeId)} ${said(uris, each.nodeId)}`))].sort();
  });
  return { uris, found };
}
async function read(session, nodes, attributeId) {
  const all = [];
  for (let at = 0; at < nodes.length; at += 1000) all.push(...(await session.read(nodes.slice(at, at + 1000).map((nodeId) => ({ nodeId, attributeId })), 0)));
  return all;
}

const plain = (uris, value) => {
  if (value === null || value === undefined) return null;
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return Array.from(value, (one) => plain(uris, one));
  if (value instanceof opcua.NodeId) return said(uris, value);
  return value;
};
// An attribute of all nodes that are wanted is the same; `part`: what of it. How many they are.
async function compare(s, attributeId, wanted, part = (value) => value) {
  const names = [...s.canvoy.found.keys()].filter((name) => s.other.found.has(name) && wanted(s.canvoy.found.get(name)));
  const [ours, theirs] = await Promise.all([[s.session, s.canvoy], [s.elsewhere, s.other]].map(async ([session, { uris, found }]) => (
    (await read(session, names.map((name) => found.get(name).id), attributeId)).map((one) => [one.statusCode.value >>> 30 === 0, plain(uris, part(one.value?.value))])
  )));
  const words = (one) => JSON.stringify(one);
  const wrong = names.flatMap((name, at) => (words(ours[at]) === words(theirs[at]) ? [] : [`${name}: ${words(ours[at])}, ${words(theirs[at])}`]));
  expect(!wrong.length, AttributeIds[attributeId], 'of', `${wrong.length} of ${names.length}:`, wrong.slice(0, 5).join('; '));
  return names.length;
}

const CHECKS = [
  ['nodes', 'the same nodes, by their NodeIds, of the same class and BrowseName', 'OPC 10000-6, F', async (s) => {
    const [ours, theirs] = [s.canvoy.found, s.other.found];
    const [missing, beyond] = [[...ours.keys()].filter((id) => !theirs.has(id)), [...theirs.keys()].filter((id) => !ours.has(id))];
    expect(!missing.length && !beyond.length && ours.size === theirs.size, ours.size, theirs.size, 'missing', missing.slice(0, 5), 'beyond', beyond.slice(0, 5));
    for (const [id, one] of ours) expect(one.class === theirs.get(id).class && one.name === theirs.get(id).name, id, one, theirs.get(id));
    expect(ours.size > 2000, ours.size);
    return `${ours.size} nodes`;
  }],
  ['references', 'the same references of each node, types and modelling rules among them', 'OPC 10000-6, F', (s) => {
    let count = 0;
    for (const [id, one] of s.canvoy.found) {
      const there = s.other.found.get(id)?.references ?? [];
      const [missing, beyond] = [one.references.filter((each) => !there.includes(each)), there.filter((each) => !one.references.includes(each))];
      expect(!missing.length && !beyond.length, id, 'lacks', missing.slice(0, 5), 'and has', beyond.slice(0, 5));
      count += one.references.length;
    }
    return `${count} references`;
  }],
  ['attributes', 'data types and value ranks of variables, names for people, arguments of methods', 'OPC 10000-6, F', async (s) => {
    const variable = (one) => ['Variable', 'VariableType'].includes(one.class);
    const counts = [await compare(s, AttributeIds.DataType, variable), await compare(s, AttributeIds.ValueRank, variable)];
    counts.push(await compare(s, AttributeIds.DisplayName, () => true));
    counts.push(await compare(s, AttributeIds.IsAbstract, (one) => /Type$/.test(one.class)));
    counts.push(await compare(s, AttributeIds.EventNotifier, (one) => one.class === 'Object'));
    const fixed = / (InputArguments|EURange|EngineeringUnits|EnumStrings|EnumValues|TrueState|FalseState)$/;
    const ofConditions = / (EventType|SourceNode|SourceName|BranchId|ConditionName|ConditionClassId|ConditionClassName|InputNode|NormalState|MaxTimeShelved|OnDelay|OffDelay|(HighHigh|High|Low|LowLow)(Limit|Deadband)|Severity(HighHigh|High|Low|LowLow))$/;
    counts.push(await compare(s, AttributeIds.Value, (one) => one.class === 'Variable' && fixed.test(one.name)));
    const constant = (one) => one.class === 'Variable' && one.id.includes('Canvoy.Alarms.') && ofConditions.test(one.name);
    counts.push(await compare(s, AttributeIds.Value, constant));
    expect(counts.at(-1) > 300, 'constants of conditions', counts.at(-1));
    // this server does not take the names for people that fields of enumerations have in the file
    counts.push(await compare(s, AttributeIds.DataTypeDefinition, (one) => one.class === 'DataType', (definition) => definition?.fields.map((one) => [one.name, one.value])));
    return `${counts.join(', ')} compared`;
  }],
];

await run(CHECKS, async () => {
  const file = join(folder, 'plant.NodeSet2.xml');
  const environment = { ...process.env, XDG_STATE_HOME: given.folder, XDG_RUNTIME_DIR: given.folder };
  writeFileSync(file, execFileSync(given.canvoy, ['tags', '--nodeset', 'plant.toml'], { cwd: given.folder, env: environment, maxBuffer: 1 << 28 }));
  const [server, url] = await serve(file);
  const client = await connect();
  const session = await login(client);
  const second = await connect({ securityMode: MessageSecurityMode.None, securityPolicy: SecurityPolicy.None }, url);
  const elsewhere = await second.createSession();
  const [canvoy, other] = [await tree(session), await tree(elsewhere)];
  return {
    session, elsewhere, canvoy, other,
    end: async () => {
      await session.close(true);
      await client.disconnect();
      await elsewhere.close(true);
      await second.disconnect();
      await server.shutdown(0);
    },
  };
});
