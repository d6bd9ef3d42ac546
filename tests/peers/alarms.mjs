// Alarms of the OPC UA server, seen by node-opcua: received, acknowledged, confirmed, commented, shelved, refreshed. One JSON line a check.
// By hand: .testenv/venv/bin/python tests/peers/common/plant.py target/debug/canvoy trust_any_client_certificate=true --alarms --model -- \
//   node tests/peers/alarms.mjs .testenv/node [--only text]
// which starts the plant and adds --url, --user and more.

import { Unexpected, connect, cuttable, expect, given, login, opcua, pause, plantNamespace, run, until } from './common/node.mjs';

const { AttributeIds, DataType, TimestampsToReturn } = opcua;
const ALARM = 'Canvoy.Alarms.alarm:setpoint';
let session, client, namespace, way;
const node = (name) => `ns=${namespace};s=${name}`;

// Events of conditions, as node-opcua asks for them.
const fields = ['EventId', 'EventType', 'ConditionName', 'Retain', 'ActiveState.Id', 'AckedState.Id', 'ConfirmedState.Id', 'Comment', 'ShelvingState.CurrentState', 'Severity'];
class Events {
  static async of(its, filter = opcua.constructEventFilter([...fields, 'ConditionId'], opcua.ofType('AlarmConditionType'))) {
    const one = new Events();
    one.seen = [];
    one.subscription = await its.createSubscription2({
      requestedPublishingInterval: 50, requestedLifetimeCount: 1000, requestedMaxKeepAliveCount: 10, maxNotificationsPerPublish: 0, publishingEnabled: true,
    });
    const item = await one.subscription.monitor(
      { nodeId: 'i=2253', attributeId: AttributeIds.EventNotifier }, { samplingInterval: 0, queueSize: 1000, discardOldest: true, filter }, TimestampsToReturn.Neither,
    );
    item.on('changed', (values) => one.seen.push(Object.fromEntries([...fields, 'ConditionId'].map((name, at) => [name, values[at]?.value]))));
    return one;
  }

  // The first one that is wanted; those before it are dropped.
  async next(what, wanted) {
    return until(what, () => {
      while (this.seen.length) {
        const one = this.seen.shift();
        if (wanted(one)) return one;
      }
      return null;
    });
  }

  end() {
    return this.subscription.terminate();
  }
}
let events;
const event = (what, wanted) => events.next(what, (one) => one.ConditionName === 'setpoint' && wanted(one));
async function setpoint(value) {
  const status = await session.write({ nodeId: node('m.Command.Setpoint'), attributeId: AttributeIds.Value, value: { value: { dataType: DataType.Double, value } } });
  expect(status.name === 'Good', status.name);
}
const call = async (method, inputArguments = [], its = session) => (await its.call({ objectId: node(ALARM), methodId: node(`${ALARM}.${method}`), inputArguments })).statusCode.name;
const value = async (path, its = session) => (await its.read({ nodeId: node(`${ALARM}.${path}`), attributeId: AttributeIds.Value })).value.value;

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
  ['unshelve', 'shelved once it is unshelved by hand; what is shelved is not shelved again', 'OPC 10000-9, 5.8.17', async () => {
    expect((await call('ShelvingState.OneShotShelve')) === 'Good', 'OneShotShelve');
    await event('shelved', (one) => one['ShelvingState.CurrentState'].text === 'One Shot Shelved');
    const again = [await call('ShelvingState.OneShotShelve'), await call('ShelvingState.TimedShelve', [{ dataType: DataType.Double, value: 1000 }])];
    expect(again.join() === 'BadConditionAlreadyShelved,Good' || again.every((one) => one === 'BadConditionAlreadyShelved'), again);
    expect((await call('ShelvingState.Unshelve')) === 'Good', 'Unshelve');
    await event('unshelved', (one) => one['ShelvingState.CurrentState'].text === 'Unshelved');
    for (const time of [-1, 0, 1e12, NaN]) {
      const said = await call('ShelvingState.TimedShelve', [{ dataType: DataType.Double, value: time }]);
      expect(said === 'BadShelvingTimeOutOfRange', time, said);
    }
  }],
  ['unknown_events', 'an EventId that nobody was given is not acknowledged', 'OPC 10000-9, 5.7.3', async () => {
    for (const id of [Buffer.alloc(0), Buffer.alloc(16), Buffer.alloc(1000, 'x')]) {
      const said = [await session.acknowledgeCondition(node(ALARM), id, 'no'), await session.addCommentCondition(node(ALARM), id, 'no'), await session.confirmCondition(node(ALARM), id, 'no')];
      expect(said.every((one) => one.name === 'BadEventIdUnknown'), id, said.map((one) => one.name));
    }
  }],
  ['without_rights', 'who may only look receives alarms, and does nothing about them', 'OPC 10000-18, 4.2', async () => {
    const its = await login(client, given.visitor, given['visitor-password']);
    const theirs = await Events.of(its);
    try {
      await setpoint(1500);
      const raised = await theirs.next('the alarm', (one) => one.ConditionName === 'setpoint' && one['ActiveState.Id'] === true);
      const said = [
        await its.acknowledgeCondition(raised.ConditionId, raised.EventId, 'no'), await its.addCommentCondition(raised.ConditionId, raised.EventId, 'no'),
        await its.confirmCondition(raised.ConditionId, raised.EventId, 'no'),
      ].map((one) => one.name);
      said.push(await call('ShelvingState.OneShotShelve', [], its), await call('Disable', [], its), await call('ShelvingState.Unshelve', [], its));
      expect(said.every((one) => one === 'BadUserAccessDenied'), said);
      expect((await value('AckedState.Id')) === false && (await value('EnabledState.Id')) === true, 'something was done');
      expect((await session.acknowledgeCondition(raised.ConditionId, raised.EventId, 'done')).name === 'Good', 'acknowledge');
    } finally {
      await setpoint(500);
      await event('its end', (one) => one['ActiveState.Id'] === false);
      await theirs.end();
      await its.close(true);
    }
  }],
  ['alarm_list', "the client's own list of alarms is filled by a refresh and follows what happens", 'OPC 10000-9, 4.5', async () => {
    await setpoint(1500);
    await event('the alarm', (one) => one['ActiveState.Id'] === true);
    const list = await opcua.installAlarmMonitoring(session);
    const mine = () => list.alarms().find((one) => one.conditionId.toString() === node(ALARM));
    await until('the alarm in the list', () => mine()?.fields.activeState.id.value === true);
    const status = await session.acknowledgeCondition(mine().conditionId, mine().eventId, 'from the list');
    expect(status.name === 'Good', status.name);
    await until('that it is acknowledged in the list', () => mine()?.fields.ackedState.id.value === true);
    await setpoint(500);
    await until('its end in the list', () => !mine()?.getRetain());
    await opcua.uninstallAlarmMonitoring(session);
    await event('its end', (one) => one['ActiveState.Id'] === false);
  }],
  ['refresh_after_reconnect', 'after its connection broke a client has what it missed, by its queue or by a refresh', 'OPC 10000-9, 4.5 and 5.5.7', async () => {
    const one = await connect({ keepSessionAlive: true, connectionStrategy: { initialDelay: 500, maxDelay: 1000, maxRetry: 100 } }, way.url);
    const its = await login(one);
    const theirs = await Events.of(its, opcua.constructEventFilter([...fields, 'ConditionId']));
    let reconnected = 0;
    one.on('after_reconnection', () => { reconnected += 1; });
    const active = (wanted) => (seen) => seen.ConditionName === 'setpoint' && seen['ActiveState.Id'] === wanted;
    try {
      await setpoint(1500);
      await theirs.next('the alarm', active(true));
      way.cut();
      // meanwhile it ends and comes again
      await setpoint(500);
      await event('its end', (seen) => seen['ActiveState.Id'] === false);
      await setpoint(1600);
      await event('the alarm again', (seen) => seen['ActiveState.Id'] === true);
      await until('the connection', () => reconnected > 0, 30000);
      await theirs.next('its end', active(false));
      await theirs.next('the alarm again', active(true));
      theirs.seen.length = 0;
      const refreshed = await its.call({ objectId: 'i=2782', methodId: 'i=3875', inputArguments: [{ dataType: DataType.UInt32, value: theirs.subscription.subscriptionId }] });
      expect(refreshed.statusCode.name === 'Good', refreshed.statusCode.name);
      await theirs.next('the start of the refresh', (seen) => seen.EventType?.toString() === 'ns=0;i=2787');
      const again = await theirs.next('the alarm in the refresh', (seen) => active(true)(seen) && seen.Retain === true);
      expect(again['AckedState.Id'] === false, 'it is not acknowledged');
      await theirs.next('the end of the refresh', (seen) => seen.EventType?.toString() === 'ns=0;i=2788');
      expect((await its.acknowledgeCondition(again.ConditionId, again.EventId, 'after all')).name === 'Good', 'the EventId of a refresh is one');
    } finally {
      await setpoint(500);
      await event('its end', (seen) => seen['ActiveState.Id'] === false && seen['AckedState.Id'] === true);
      await its.close(true);
      await one.disconnect();
    }
  }, 90000],
  ['arguments', 'the arguments of a method are found by its client', 'OPC 10000-3, 5.7', async () => {
    const found = await session.getArgumentDefinition(node(`${ALARM}.Acknowledge`));
    expect(found.inputArguments.map((one) => one.name).join() === 'EventId,Comment', found.inputArguments.map((one) => one.name));
  }],
];

await run(CHECKS, async () => {
  client = await connect();
  session = await login(client);
  namespace = await plantNamespace(session);
  way = await cuttable();
  events = await Events.of(session);
  return { end: async () => { await session.close(true); await client.disconnect(); } };
});
