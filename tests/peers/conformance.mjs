// Conformance of the OPC UA server, seen by node-opcua, the strictest free client on types: one JSON line a check, as conformance.py.
// By hand: .testenv/venv/bin/python tests/peers/common/plant.py target/debug/canvoy trust_any_client_certificate=true -- \
//   node tests/peers/conformance.mjs .testenv/node [--only text]
// which starts the plant and adds --url, --user and --password.

import { connect as connected, Unexpected, cuttable, expect, given, login, opcua, pause, plantNamespace, references as referencesOf, run } from './common/node.mjs';

const { AttributeIds, DataType, MessageSecurityMode, NodeClass, SecurityPolicy, StatusCodes, TimestampsToReturn } = opcua;
const [ANALOG, STATE, BIT, FAST, BEAT, LATE, SETPOINT] = [
  'm.Status.Speed', 'm.Status.State', 'm.Status.Bit', 'm.Fast.FastCounter', 'm.Heartbeat.BeatCounter', 'm.Late.Held', 'm.Command.Setpoint',
];
let session, client, namespace, way;
const node = (name) => `ns=${namespace};s=${name}`;
const connect = (policy, mode, options = {}, url = given.url) => connected({ securityMode: MessageSecurityMode[mode], securityPolicy: SecurityPolicy[policy], ...options }, url);
const withSession = async (policy, mode, options, use, url) => {
  const one = await connect(policy, mode, options, url);
  try {
    const its = await login(one);
    const said = await use(its, one);
    await its.close(true);
    return said;
  } finally {
    await one.disconnect();
  }
};
const read = async (name, attributeId = AttributeIds.Value) => session.read({ nodeId: name, attributeId });
const references = (name, reference = 'HierarchicalReferences') => referencesOf(session, name, reference);
// Changes of one item until `enough(changes)` holds.
async function changes(name, parameters, enough, options = {}) {
  const subscription = await session.createSubscription2({
    requestedPublishingInterval: 50, requestedLifetimeCount: 1000, requestedMaxKeepAliveCount: 10, maxNotificationsPerPublish: 0, publishingEnabled: true, ...options,
  });
  try {
    const item = await subscription.monitor({ nodeId: name, attributeId: AttributeIds.Value }, { samplingInterval: 50, queueSize: 100, discardOldest: true, ...parameters }, TimestampsToReturn.Both);
    const seen = [];
    item.on('changed', (value) => seen.push(value));
    const end = Date.now() + 20000;
    while (!enough(seen)) {
      if (Date.now() > end) throw new Unexpected(`${seen.length} changes in 20 s: ${seen.slice(-5).map((one) => `${one.value.value} ${one.statusCode.name}`)}`);
      await pause(20);
    }
    return seen;
  } finally {
    await subscription.terminate();
  }
}

const CHECKS = [
  ['endpoints', 'endpoints of the three current policies, each with Sign and SignAndEncrypt', 'OPC 10000-4, 5.5.4', async () => {
    const found = (await client.getEndpoints()).map((one) => `${one.securityPolicyUri.split('#')[1]} ${MessageSecurityMode[one.securityMode]}`).sort();
    const wanted = ['Aes128_Sha256_RsaOaep', 'Aes256_Sha256_RsaPss', 'Basic256Sha256'].flatMap((policy) => [`${policy} Sign`, `${policy} SignAndEncrypt`]);
    expect(JSON.stringify(found) === JSON.stringify(wanted), found);
  }],
  ['find_servers', 'FindServers lists the server with discovery URLs', 'OPC 10000-4, 5.5.2', async () => {
    const found = await client.findServers();
    expect(found.length === 1 && found[0].discoveryUrls.length > 0 && found[0].applicationUri, found);
  }],
  ...['Basic256Sha256', 'Aes128_Sha256_RsaOaep', 'Aes256_Sha256_RsaPss'].flatMap((policy) => ['Sign', 'SignAndEncrypt'].map((mode) => [
    `session_${policy}_${mode}`, `a session with ${policy} and ${mode} reads`, 'OPC 10000-6, 6.7', () => withSession(policy, mode, {}, async (its) => {
      const found = await its.read({ nodeId: 'i=2259', attributeId: AttributeIds.Value });
      expect(found.statusCode === StatusCodes.Good && found.value.value === 0, found.toString());
    }),
  ])),
  ['wrong_password', 'a wrong password is refused', 'OPC 10000-4, 5.7.3.3', async () => {
    const one = await connect('Basic256Sha256', 'SignAndEncrypt');
    try {
      const its = await login(one, given.user, 'wrong').then(() => 'Good', (error) => error.message);
      expect(its !== 'Good', its);
    } finally {
      await one.disconnect();
    }
  }],
  ['short_tokens', 'with the shortest tokens sessions go on over renewals, no read fails', 'OPC 10000-4, 5.6.2.1', () => withSession('Basic256Sha256', 'SignAndEncrypt', { defaultSecureTokenLifetime: 4000 }, async (its, one) => {
    let renewed = 0, reads = 0;
    one.on('security_token_renewed', () => { renewed += 1; });
    // the server may revise four seconds to more
    for (const start = Date.now(); Date.now() - start < 12000 || (renewed < 2 && Date.now() - start < 50000);) {
      const found = await its.read({ nodeId: 'i=2259', attributeId: AttributeIds.Value });
      expect(found.value.value === 0, found.toString());
      reads += 1;
      await pause(10);
    }
    expect(renewed >= 2, 'renewed', renewed);
    return `${reads} reads, renewed ${renewed} times`;
  })],
  ['walk', 'the whole tree below Objects can be walked, each node named and typed', 'OPC 10000-3, 5.2', async () => {
    const seen = new Set(['ns=0;i=85']);
    let level = ['ns=0;i=85'], count = 0;
    while (level.length) {
      const below = [];
      for (const name of level) {
        for (const one of await references(name)) {
          count += 1;
          expect(one.browseName.name && one.displayName.text, one.nodeId.toString(), 'has no name');
          if ([NodeClass.Object, NodeClass.Variable].includes(one.nodeClass)) expect(!one.typeDefinition.isEmpty(), one.nodeId.toString(), 'has no type');
          const id = one.nodeId.toString();
          if (!seen.has(id)) { seen.add(id); below.push(id); }
        }
      }
      level = below;
    }
    expect(seen.has(node(ANALOG)), 'without ours');
    return `${seen.size} nodes`;
  }],
  ['attributes', 'all attributes of a variable are read, absent ones as BadAttributeIdInvalid', 'OPC 10000-4, 5.11.2.4', async () => {
    for (const name of [node(ANALOG), node(STATE), 'i=2253', 'i=2256']) {
      for (let attribute = 1; attribute <= 27; attribute += 1) {
        const found = await read(name, attribute);
        expect(found.statusCode.name === 'Good' || /AttributeIdInvalid|UserAccessDenied|NotReadable/.test(found.statusCode.name) || attribute === 13, name, attribute, found.statusCode.name);
      }
    }
  }],
  ['server_status', 'ServerStatus is decoded, and live', 'OPC 10000-5, 12.10', async () => {
    const first = (await read('i=2256')).value.value;
    await pause(1200);
    const second = (await read('i=2256')).value.value;
    expect(first.state === 0 && first.buildInfo.productName, first.toString());
    expect(second.currentTime > first.currentTime, first.currentTime, second.currentTime);
  }],
  ['operation_limits', 'the client finds the operation limits', 'OPC 10000-5, 6.3.11', async () => {
    for (const limit of [11705, 11707, 11709, 11710, 11712, 11714]) {
      const found = await read(`i=${limit}`);
      expect(found.value.dataType === DataType.UInt32 && found.value.value > 0, limit, found.toString());
    }
  }],
  ['data_types', 'data types of our own can be read by the client, where there are any', 'OPC 10000-3, 5.8.3', async () => {
    const own = (await references('i=29', 'HasSubtype')).filter((one) => one.nodeId.namespace > 1);
    for (const one of own) {
      const found = await read(one.nodeId, AttributeIds.DataTypeDefinition);
      expect(found.statusCode === StatusCodes.Good && found.value.value, one.browseName.toString(), found.statusCode.name);
    }
    return `${own.length} enumerations`;
  }],
  ['range_and_unit', 'EURange and EngineeringUnits are decoded as structures', 'OPC 10000-8, 5.6', async () => {
    const found = {};
    for (const one of await references(node(ANALOG), 'HasProperty')) found[one.browseName.name] = (await read(one.nodeId)).value.value;
    expect(found.EURange?.low === -3200 && found.EURange?.high === 3200, found.EURange);
    expect(found.EngineeringUnits?.unitId === 0x52504d && found.EngineeringUnits.displayName?.text, found.EngineeringUnits);
  }],
  ['enum_values', 'EnumValues is an array of structures, 64-bit values and texts', 'OPC 10000-8, 5.3.3.4', async () => {
    const property = (await references(node(STATE), 'HasProperty')).find((one) => one.browseName.name === 'EnumValues');
    const found = (await read(property.nodeId)).value.value;
    expect(found.map((one) => one.displayName.text).join() === 'Off,Idle,Running,Fault', found.toString());
  }],
  ['timestamps', 'a value has both timestamps, close to now', 'OPC 10000-4, 7.11', async () => {
    const found = await read(node(ANALOG));
    const age = found.serverTimestamp - found.sourceTimestamp;
    expect(age >= 0 && age < 5000 && Math.abs(Date.now() - found.serverTimestamp) < 5000, found.toString());
  }],
  ['bulk_read', 'a thousand values come in one answer', 'OPC 10000-4, 5.11.2', async () => {
    const found = await session.read(Array.from({ length: 1000 }, () => ({ nodeId: node(FAST), attributeId: AttributeIds.Value })), 0);
    expect(found.length === 1000 && found.every((one) => one.value.dataType === DataType.UInt32), found.length);
  }],
  ['translate', 'a browse path leads to a variable', 'OPC 10000-4, 5.9.4', async () => {
    const path = opcua.makeBrowsePath('i=85', '/0:Server/0:ServerStatus/0:CurrentTime');
    const found = await session.translateBrowsePath(path);
    expect(found.statusCode === StatusCodes.Good && found.targets[0].targetId.toString() === 'ns=0;i=2258', found.toString());
  }],
  ['write', 'a write of the variable type is taken and read back; wrong types and ranges are not', 'OPC 10000-4, 5.11.4', async () => {
    const write = async (value, dataType) => (await session.write({ nodeId: node(SETPOINT), attributeId: AttributeIds.Value, value: { value: { dataType, value } } })).name;
    const said = [await write(512.5, DataType.Double), await write('x', DataType.String), await write(3500, DataType.Double), await write(1, DataType.Int32)];
    expect(said.join() === 'Good,BadTypeMismatch,BadOutOfRange,BadTypeMismatch', said);
    expect((await read(node(SETPOINT))).value.value === 512.5, (await read(node(SETPOINT))).toString());
  }],
  ['read_only', 'a received signal can not be written', 'OPC 10000-4, 5.11.4.4', async () => {
    const said = (await session.write({ nodeId: node(ANALOG), attributeId: AttributeIds.Value, value: { value: { dataType: DataType.Double, value: 1 } } })).name;
    expect(['BadNotWritable', 'BadUserAccessDenied'].includes(said), said);
  }],
  ['subscription', 'several Publish at once: changes of a counter come in order, none twice', 'OPC 10000-4, 5.14', async () => {
    const found = await changes(node(BEAT), { samplingInterval: 0 }, (seen) => seen.length >= 10);
    const values = found.map((one) => one.value.value);
    expect(values.every((value, at) => at === 0 || (value - values[at - 1] + 256) % 256 === 1), values);
  }],
  ['quality_changes', 'Good, late, Good at one value are three changes', 'OPC 10000-4, 7.22.2', async () => {
    const found = await changes(node(LATE), { samplingInterval: 20 }, (seen) => seen.length >= 4);
    const facts = found.map((one) => `${one.value.value} ${one.statusCode.name}`);
    expect(found.every((one) => one.value.value === 7) && new Set(found.map((one) => one.statusCode.value >>> 30)).size === 2, facts);
  }],
  ['bit', 'a bit without words is a Boolean and changes', 'OPC 10000-3, 5.6.2', async () => {
    const found = await changes(node(BIT), {}, (seen) => seen.length >= 2);
    expect(found.every((one) => one.value.dataType === DataType.Boolean), found.map(String));
  }],
  ['deadband', 'an absolute deadband is kept', 'OPC 10000-4, 7.22.2', async () => {
    const filter = new opcua.DataChangeFilter({ trigger: opcua.DataChangeTrigger.StatusValue, deadbandType: opcua.DeadbandType.Absolute, deadbandValue: 200 });
    const found = (await changes(node(ANALOG), { filter }, (seen) => seen.length >= 4)).map((one) => one.value.value);
    expect(found.every((value, at) => at === 0 || Math.abs(value - found[at - 1]) > 200), found);
  }],
  ['get_monitored_items', 'the client calls GetMonitoredItems', 'OPC 10000-5, 9.1', async () => {
    const subscription = await session.createSubscription2({ requestedPublishingInterval: 100, requestedLifetimeCount: 100, requestedMaxKeepAliveCount: 10, publishingEnabled: true });
    try {
      await subscription.monitor({ nodeId: node(ANALOG), attributeId: AttributeIds.Value }, { samplingInterval: 100 }, TimestampsToReturn.Both);
      const found = await session.getMonitoredItems(subscription.subscriptionId);
      expect(found.serverHandles.length === 1, found);
    } finally {
      await subscription.terminate();
    }
  }],
  ['history', 'the client reads the last seconds of a counter', 'OPC 10000-11, 6.5.3', async () => {
    await pause(1500);
    const found = await session.readHistoryValue(node(BEAT), new Date(Date.now() - 1500), new Date());
    const values = found.historyData?.dataValues ?? [];
    expect(found.statusCode.value >>> 30 === 0 && values.length >= 5, found.statusCode.name, values.length);
  }],
  ['reconnection', 'after its connection broke a client comes back by itself, and its subscription goes on', 'OPC 10000-4, 6.7', () => withSession('Basic256Sha256', 'SignAndEncrypt', { keepSessionAlive: true, connectionStrategy: { initialDelay: 100, maxDelay: 500, maxRetry: 100 } }, async (its) => {
    const subscription = await its.createSubscription2({ requestedPublishingInterval: 100, requestedLifetimeCount: 1000, requestedMaxKeepAliveCount: 10, publishingEnabled: true });
    const item = await subscription.monitor({ nodeId: node(FAST), attributeId: AttributeIds.Value }, { samplingInterval: 100, queueSize: 10 }, TimestampsToReturn.Both);
    let seen = 0;
    item.on('changed', () => { seen += 1; });
    const more = async (count) => { for (const end = Date.now() + 55000; seen < count;) { if (Date.now() > end) throw new Unexpected(`${seen} changes`); await pause(50); } };
    await more(5);
    way.cut();
    await more(seen + 20);
  }, way.url)],
];

await run(CHECKS, async () => {
  client = await connect('Basic256Sha256', 'SignAndEncrypt', { keepSessionAlive: true });
  session = await login(client);
  namespace = await plantNamespace(session);
  way = await cuttable();
  return { end: async () => { await session.close(true); await client.disconnect(); } };
});
