// Alarms of the OPC UA server, seen by node-opcua: received, acknowledged, confirmed, commented, shelved. One JSON line a check.
// By hand: .testenv/venv/bin/python tests/peers/common/plant.py target/debug/canvoy trust_any_client_certificate=true --alarms -- \
//   node tests/peers/alarms.mjs .testenv/node
// which starts the plant and adds --url, --user and --password.

import { createRequire } from 'node:module';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const load = createRequire(resolve(process.argv[2], 'package.json'));
const opcua = load('node-opcua-client');
const { OPCUACertificateManager } = load('node-opcua-certificate-manager');
const { AttributeIds, DataType, MessageSecurityMode, SecurityPolicy, TimestampsToReturn } = opcua;

const given = {};
for (let at = 3; at + 1 < process.argv.length; at += 2) given[process.argv[at].slice(2)] = process.argv[at + 1];
const folder = mkdtempSync(join(tmpdir(), 'canvoy-node-opcua-'));
const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });
class Unexpected extends Error {}
function expect(condition, ...said) {
  if (!condition) throw new Unexpected(said.map((one) => (typeof one === 'string' ? one : JSON.stringify(one) ?? String(one))).join(' '));
}

const certificates = new OPCUACertificateManager({ rootFolder: join(folder, 'pki'), automaticallyAcceptUnknownCertificate: true });
await certificates.initialize();
const client = opcua.OPCUAClient.create({
  applicationName: 'canvoy-check', clientCertificateManager: certificates, endpointMustExist: false, transportTimeout: 20000,
  securityMode: MessageSecurityMode.SignAndEncrypt, securityPolicy: SecurityPolicy.Basic256Sha256,
  connectionStrategy: { initialDelay: 100, maxDelay: 500, maxRetry: 5 },
});
await client.connect(given.url);
const session = await client.createSession({ type: opcua.UserTokenType.UserName, userName: given.user, password: given.password });
const namespace = (await session.readNamespaceArray()).indexOf('urn:canvoy:plant');
const node = (name) => `ns=${namespace};s=${name}`;
const ALARM = 'Canvoy.Alarms.alarm:setpoint';

// Events of conditions, as node-opcua asks for them.
const fields = ['EventId', 'ConditionName', 'Retain', 'ActiveState.Id', 'AckedState.Id', 'ConfirmedState.Id', 'Comment', 'ShelvingState.CurrentState', 'Severity'];
const filter = opcua.constructEventFilter([...fields, 'ConditionId'], opcua.ofType('AlarmConditionType'));
const subscription = await session.createSubscription2({
  requestedPublishingInterval: 50, requestedLifetimeCount: 1000, requestedMaxKeepAliveCount: 10, maxNotificationsPerPublish: 0, publishingEnabled: true,
});
const item = await subscription.monitor(
  { nodeId: 'i=2253', attributeId: AttributeIds.EventNotifier }, { samplingInterval: 0, queueSize: 1000, discardOldest: true, filter }, TimestampsToReturn.Neither,
);
const seen = [];
item.on('changed', (values) => seen.push(Object.fromEntries([...fields, 'ConditionId'].map((name, at) => [name, values[at]?.value]))));
async function event(what, wanted) {
  const end = Date.now() + 15000;
  for (;;) {
    while (seen.length) {
      const one = seen.shift();
      if (one.ConditionName === 'setpoint' && wanted(one)) return one;
    }
    if (Date.now() > end) throw new Unexpected(`${what} did not come`);
    await pause(20);
  }
}
async function setpoint(value) {
  const status = await session.write({ nodeId: node('m.Command.Setpoint'), attributeId: AttributeIds.Value, value: { value: { dataType: DataType.Double, value } } });
  expect(status.name === 'Good', status.name);
}
const call = async (method, inputArguments = []) => (await session.call({ objectId: node(ALARM), methodId: node(`${ALARM}.${method}`), inputArguments })).statusCode.name;

const CHECKS = [
  ['acknowledge_and_confirm', 'a severe alarm is received, acknowledged and confirmed', 'OPC 10000-9, 5.7', async () => {
    await setpoint(2500);
    const raised = await event('the alarm', (one) => one['ActiveState.Id'] === true && one['AckedState.Id'] === false);
    expect(raised.ConditionId?.toString() === node(ALARM), raised.ConditionId?.toString());
    expect(raised.Severity === 900 && raised.Retain === true, raised.Severity);
    const status = await session.acknowledgeCondition(raised.ConditionId, raised.EventId, 'seen');
    expect(status.name === 'Good', status.name);
    const acked = await event('that it is acknowledged', (one) => one['AckedState.Id'] === true);
    expect(acked.Comment.text === 'seen' && acked['ConfirmedState.Id'] === false, acked.Comment);
    const again = await session.acknowledgeCondition(acked.ConditionId, acked.EventId, 'again');
    expect(again.name === 'BadConditionBranchAlreadyAcked', again.name);
    const confirmed = await session.confirmCondition(acked.ConditionId, acked.EventId, 'repaired');
    expect(confirmed.name === 'Good', confirmed.name);
    await event('that it is confirmed', (one) => one['ConfirmedState.Id'] === true);
    await setpoint(500);
    const over = await event('its end', (one) => one['ActiveState.Id'] === false);
    expect(over.Retain === false, 'nothing is left to do');
  }],
  ['comment', 'a comment of its own', 'OPC 10000-9, 5.5.6', async () => {
    await setpoint(1500);
    const raised = await event('the alarm', (one) => one['ActiveState.Id'] === true);
    const status = await session.addCommentCondition(raised.ConditionId, raised.EventId, 'looked at it');
    expect(status.name === 'Good', status.name);
    await event('the comment', (one) => one.Comment.text === 'looked at it');
    expect((await session.acknowledgeCondition(raised.ConditionId, raised.EventId, 'done')).name === 'Good', 'acknowledge');
    await setpoint(500);
    await event('its end', (one) => one['ActiveState.Id'] === false);
  }],
  ['shelve', 'shelved for a time it unshelves by itself', 'OPC 10000-9, 5.8.17', async () => {
    const said = await call('ShelvingState.TimedShelve', [{ dataType: DataType.Double, value: 1000 }]);
    expect(said === 'Good', said);
    await event('shelved', (one) => one['ShelvingState.CurrentState'].text === 'Timed Shelved');
    await event('unshelved', (one) => one['ShelvingState.CurrentState'].text === 'Unshelved');
    expect((await call('ShelvingState.Unshelve')) === 'BadConditionNotShelved', 'it is not shelved');
  }],
  ['arguments', 'the arguments of a method are found by its client', 'OPC 10000-3, 5.7', async () => {
    const found = await session.getArgumentDefinition(node(`${ALARM}.Acknowledge`));
    expect(found.inputArguments.map((one) => one.name).join() === 'EventId,Comment', found.inputArguments.map((one) => one.name));
  }],
];

let failed = 0;
for (const [name, expected, clause, run] of CHECKS) {
  const start = Date.now();
  const answer = { name, category: 'node-opcua', expected, clause, ok: true, said: '' };
  try {
    await run();
  } catch (error) {
    Object.assign(answer, { ok: false, said: `${error.constructor.name}: ${error.message}`.slice(0, 800) });
    failed += 1;
  }
  console.log(JSON.stringify({ ...answer, seconds: (Date.now() - start) / 1000 }));
}
await session.close(true);
await client.disconnect();
rmSync(folder, { recursive: true, force: true });
process.exit(failed ? 1 : 0);
