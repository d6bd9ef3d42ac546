// The information model of the OPC UA server, seen by node-opcua, which makes its own types of what it reads: types and
// instances from Root, data types, values, methods with and without rights. One JSON line a check.
// By hand: .testenv/venv/bin/python tests/peers/common/plant.py target/debug/canvoy trust_any_client_certificate=true --model -- \
//   node tests/peers/model.mjs .testenv/node [--only text]
// which starts the plant and adds --url, --user and more.

import { browse, connect, expect, given, load, login, opcua, pause, plantNamespace, references, run, until } from './common/node.mjs';

const { AttributeIds, BrowseDirection, DataType, NodeClass, StatusCodes } = opcua;
const { Argument, EnumDefinition, EUInformation, Range, StructureDefinition } = load('node-opcua-types');
const INVERSE = BrowseDirection.Inverse;
const [HAS_TYPE, HAS_SUBTYPE, HAS_RULE, HAS_PROPERTY, HAS_ENCODING] = ['i=40', 'i=45', 'i=37', 'i=46', 'i=38'];
// HasEventSource and HasNotifier, where events are told: to what is in the tree anyhow.
const EVENTS = ['ns=0;i=36', 'ns=0;i=48'];
const [HAS_COMPONENT, HAS_ADD_IN] = ['ns=0;i=47', 'ns=0;i=17604'];
const CLASSES = { [NodeClass.ObjectType]: 'i=58', [NodeClass.VariableType]: 'i=62', [NodeClass.DataType]: 'i=24', [NodeClass.ReferenceType]: 'i=31' };
const CLASS_OF_TYPE = { [NodeClass.Object]: NodeClass.ObjectType, [NodeClass.Variable]: NodeClass.VariableType };
const STRUCTURE = 'i=22', ENUMERATION = 'i=29', NUMBERS = { 'i=26': [2, 3, 4, 5, 6, 7, 8, 9, 10, 11], 'i=27': [2, 4, 6, 8], 'i=28': [3, 5, 7, 9] };

const text = (id) => id.toString();
// GoodEdited is what a simulated value has.
const isGood = (status) => status.value >>> 30 === 0;
const named = (one) => `${one.browseName.namespaceIndex}:${one.browseName.name}`;
const local = (one) => opcua.resolveNodeId(`ns=${one.namespace};${text(one).split(';').pop()}`);

async function attributes(session, nodes, attributeId) {
  const found = [];
  for (let at = 0; at < nodes.length; at += 1000) found.push(...(await session.read(nodes.slice(at, at + 1000).map((nodeId) => ({ nodeId, attributeId })), 0)));
  return found;
}
async function attribute(session, nodes, attributeId) {
  return (await attributes(session, nodes, attributeId)).map((one, at) => {
    expect(isGood(one.statusCode), nodes[at], AttributeIds[attributeId], one.statusCode.name);
    return one.value.value;
  });
}

// All nodes from Root by hierarchical references: {NodeId: {id, class, name, type, up: [[reference type, NodeId]]}}.
async function walk(session) {
  const nodes = new Map([['ns=0;i=84', { id: 'ns=0;i=84', class: NodeClass.Object, name: '0:Root', type: 'ns=0;i=61', up: [], down: [] }]]);
  let level = ['ns=0;i=84'];
  while (level.length) {
    const below = [];
    const found = await browse(session, level);
    level.forEach((from, at) => {
      for (const one of found[at]) {
        const id = text(local(one.nodeId));
        expect(one.browseName.name && one.displayName.text, id, 'has no name');
        if (!nodes.has(id)) {
          nodes.set(id, { id, class: one.nodeClass, name: named(one), type: text(local(one.typeDefinition)), up: [], down: [] });
          below.push(id);
        }
        const node = nodes.get(id);
        expect(node.name === named(one) && node.class === one.nodeClass, id, 'is', node.name, 'and', named(one));
        node.up.push([text(one.referenceTypeId), from]);
        nodes.get(from).down.push([text(one.referenceTypeId), id]);
      }
    });
    level = below;
  }
  return nodes;
}
// Made once: what several checks look at.
const made = new Map();
const once = (what, make) => { if (!made.has(what)) made.set(what, make()); return made.get(what); };
const nodesOf = (s) => once('walk', () => walk(s.session));
const ids = (nodes, wanted) => [...nodes.values()].filter(wanted).map((one) => one.id);

// The one supertype of each type.
const supertypesOf = (s) => once('supertypes', async () => {
  const types = ids(await nodesOf(s), (one) => one.class in CLASSES);
  const found = await browse(s.session, types, HAS_SUBTYPE, INVERSE);
  return new Map(types.map((id, at) => [id, found[at].map((one) => text(local(one.nodeId)))]));
});
async function derives(s, type, from) {
  const up = await supertypesOf(s);
  const wanted = from.startsWith('ns=') ? from : `ns=0;${from}`;
  for (let at = type; at; [at] = up.get(at) ?? []) if (at === wanted) return true;
  return false;
}

// What a type declares, its supertypes included: {name: {id, class, type, mandatory}}.
const declared = new Map();
async function declarations(s, type) {
  if (declared.has(type)) return declared.get(type);
  const nodes = await nodesOf(s);
  const all = {};
  const below = (nodes.get(type)?.down ?? []).filter(([, id]) => [NodeClass.Object, NodeClass.Variable, NodeClass.Method].includes(nodes.get(id).class)).map(([reference, id]) => [reference, nodes.get(id)]);
  const rules = await browse(s.session, below.map(([, one]) => one.id), HAS_RULE);
  below.forEach(([reference, one], at) => {
    const of = rules[at].map((rule) => text(rule.nodeId));
    if (of.includes('ns=0;i=78') || of.includes('ns=0;i=80')) all[one.name] = { ...one, reference, mandatory: of.includes('ns=0;i=78') };
  });
  const [parent] = (await supertypesOf(s)).get(type) ?? [];
  const found = parent ? { ...(await declarations(s, parent)), ...all } : all;
  declared.set(type, found);
  return found;
}
// Each mandatory declaration is on the instance, and what is there is as declared; how many were looked at.
async function conforms(s, instance, type) {
  const nodes = await nodesOf(s);
  const children = Object.fromEntries(nodes.get(instance).down.filter(([reference]) => !EVENTS.includes(reference)).map(([reference, id]) => [nodes.get(id).name, { ...nodes.get(id), reference }]));
  let count = 0;
  for (const [name, one] of Object.entries(await declarations(s, type))) {
    const found = children[name];
    expect(found || !one.mandatory, instance, 'has no', name);
    if (!found) continue;
    count += 1;
    expect(found.class === one.class, instance, name, NodeClass[found.class]);
    expect(await derives(s, found.reference, one.reference), instance, name, found.reference);
    if (one.class === NodeClass.Method) continue;
    const same = found.type === one.type || await derives(s, found.type, one.type);
    expect(same, instance, name, 'is a', found.type, 'and not a', one.type);
    if (found.id !== one.id) count += await conforms(s, found.id, one.id);
  }
  return count;
}

// The arguments as node-opcua has them: [data type, value] each.
const given_ = (...all) => all.map(([dataType, value]) => ({ dataType: DataType[dataType], value }));

async function call(s, object, method, args = [], session = s.session) {
  const found = await session.call({ objectId: s.node(object), methodId: s.node(`Canvoy.Methods.${method}`), inputArguments: given_(...args) });
  return [found.statusCode, ...(found.inputArgumentResults ?? [])].map((one) => one.name).join();
}
const machine = (s, method, args, session) => call(s, 'Canvoy.Machine', `Machine.${method}`, args, session);
const value = async (s, name) => (await attribute(s.session, [s.node(name)], AttributeIds.Value))[0];
const setpoint = async (s, wanted) => until(`a setpoint of ${wanted}`, async () => (await value(s, 'm.Command.Setpoint')) === wanted);

// What m.Command.Send takes, by name: Enable, Mode, Quick, Ramp, Setpoint, Trim.
const command = (rpm) => [['Boolean', true], ['Byte', 2], ['Boolean', false], ['Byte', 20], ['Double', rpm], ['Int32', -7]];

const CHECKS = [
  ['walk', 'from Root each node has a name and a type, siblings have different names, and the way back is there', 'OPC 10000-3, 5.2 and 5.3.3', async (s) => {
    const nodes = await nodesOf(s);
    const all = [...nodes.values()];
    for (const one of all) {
      const names = one.down.filter(([reference]) => reference !== `ns=0;${HAS_SUBTYPE}` && !EVENTS.includes(reference)).map(([, id]) => id);
      const distinct = [...new Set(names)];
      expect(new Set(distinct.map((id) => nodes.get(id).name)).size === distinct.length, one.id, 'has two children of one name', distinct.map((id) => nodes.get(id).name).sort().filter((name, at, sorted) => name === sorted[at - 1]));
    }
    const back = await browse(s.session, all.map((one) => one.id), 'HierarchicalReferences', INVERSE);
    all.forEach((one, at) => {
      const told = back[at].map((up) => `${text(up.referenceTypeId)} ${text(local(up.nodeId))}`).sort();
      const seen = one.up.map((up) => up.join(' ')).sort();
      expect(told.join() === seen.join(), one.id, 'says', told.filter((up) => !seen.includes(up)), 'and is below', seen.filter((up) => !told.includes(up)));
    });
    const classes = await attribute(s.session, all.map((one) => one.id), AttributeIds.NodeClass);
    const names = await attribute(s.session, all.map((one) => one.id), AttributeIds.BrowseName);
    all.forEach((one, at) => expect(classes[at] === one.class && named({ browseName: names[at] }) === one.name, one.id, classes[at], names[at]));
    return `${all.length} nodes`;
  }],
  ['types', 'each object and variable has one type, which is in the tree of types and not abstract', 'OPC 10000-3, 5.5 and 5.6', async (s) => {
    const nodes = await nodesOf(s);
    const instances = [...nodes.values()].filter((one) => one.class in CLASS_OF_TYPE);
    const found = await browse(s.session, instances.map((one) => one.id), HAS_TYPE);
    const used = new Set();
    instances.forEach((one, at) => {
      const types = found[at].map((each) => text(local(each.nodeId)));
      expect(types.length === 1 && types[0] === one.type, one.id, 'is of', types, 'and', one.type);
      expect(nodes.get(one.type)?.class === CLASS_OF_TYPE[one.class], one.id, 'is of', one.type, 'which is no type of its class in the tree');
      used.add(one.type);
    });
    const declarations = new Set();
    const below = (id) => nodes.get(id).down.forEach(([, child]) => { if (nodes.get(child).class in CLASS_OF_TYPE && !declarations.has(child)) { declarations.add(child); below(child); } });
    ids(nodes, (one) => one.class in CLASSES).forEach(below);
    const abstract = await attribute(s.session, [...used], AttributeIds.IsAbstract);
    const wrong = new Set([...used].filter((_, at) => abstract[at]));
    const bad = instances.filter((one) => wrong.has(one.type) && !declarations.has(one.id)).map((one) => `${one.id} of ${one.type}`);
    expect(!bad.length, 'instances of abstract types:', bad.slice(0, 5));
    return `${used.size} types of ${instances.length} instances`;
  }],
  ['subtypes', 'each type has one supertype, up to the base of its class', 'OPC 10000-3, 7.10', async (s) => {
    const nodes = await nodesOf(s);
    const up = await supertypesOf(s);
    for (const [id, above] of up) {
      const base = `ns=0;${CLASSES[nodes.get(id).class]}`;
      if (id !== base) expect(above.length === 1, id, nodes.get(id).name, 'has supertypes', above);
      const seen = new Set();
      let at = id;
      for (; at !== base; [at] = up.get(at) ?? []) {
        expect(at && !seen.has(at) && nodes.get(at).class === nodes.get(id).class, id, nodes.get(id).name, 'does not lead to', base);
        seen.add(at);
      }
    }
    return `${up.size} types`;
  }],
  ['reference_types', 'each reference of each node is of a reference type in the tree, and leads to a node that is there', 'OPC 10000-3, 5.3', async (s) => {
    const nodes = await nodesOf(s);
    const all = [...nodes.keys()];
    const found = await browse(s.session, all, 'References', BrowseDirection.Both);
    let count = 0;
    const elsewhere = new Set();
    all.forEach((from, at) => {
      const seen = new Set();
      for (const one of found[at]) {
        count += 1;
        const type = text(local(one.referenceTypeId));
        expect(nodes.get(type)?.class === NodeClass.ReferenceType, from, 'has a reference of type', type);
        const to = text(local(one.nodeId));
        // encodings hang from their data types only
        if (!nodes.has(to)) elsewhere.add(to);
        expect(!seen.has(`${type} ${one.isForward} ${to}`), from, type, to, 'twice');
        seen.add(`${type} ${one.isForward} ${to}`);
      }
    });
    await attribute(s.session, [...elsewhere], AttributeIds.BrowseName);
    return `${count} references, ${elsewhere.size} nodes that are not in the tree`;
  }],
  ['mandatory', 'each mandatory declaration of a type is on its instances, of its class, type and reference', 'OPC 10000-3, 6.4.4', async (s) => {
    const nodes = await nodesOf(s);
    let count = 0, instances = 0;
    for (const one of nodes.values()) {
      if (!(one.class in CLASS_OF_TYPE) || !one.id.startsWith(`ns=${s.namespace};`)) continue;
      instances += 1;
      count += await conforms(s, one.id, one.type);
    }
    expect(count > 500, count);
    return `${count} declarations on ${instances} instances`;
  }, 120000],
  ['companions', 'devices are TopologyElements with what DI wants, the machine has the identification of Machinery', 'OPC 10000-100, 5.2 and OPC 40001-1, 6.3 and 11', async (s) => {
    const nodes = await nodesOf(s);
    const spaces = await s.session.readNamespaceArray();
    const [di, machinery] = ['http://opcfoundation.org/UA/DI/', 'http://opcfoundation.org/UA/Machinery/'].map((uri) => spaces.indexOf(uri));
    expect(di > 0 && machinery > 0, spaces);
    const child = (id, name) => nodes.get(id).down.map(([, to]) => nodes.get(to)).find((one) => one.name === name);
    const set = child('ns=0;i=85', `${di}:DeviceSet`);
    const devices = set.down.map(([, id]) => nodes.get(id)).filter((one) => one.class === NodeClass.Object);
    expect(devices.length >= 3, devices.map((one) => one.name));
    const up = await supertypesOf(s);
    for (const one of devices) {
      const chain = [];
      for (let at = one.type; at; [at] = up.get(at) ?? []) chain.push(at);
      expect(chain.includes(`ns=${di};i=1002`) && chain.includes(`ns=${di};i=1001`), one.name, 'is a', chain);
      for (const name of ['Manufacturer', 'Model', 'HardwareRevision', 'SoftwareRevision', 'DeviceRevision', 'DeviceManual', 'SerialNumber', 'RevisionCounter']) {
        const property = child(one.id, `${di}:${name}`);
        expect(property, one.name, 'has no', name);
        const [found] = await attributes(s.session, [property.id], AttributeIds.Value);
        expect(isGood(found.statusCode), one.name, name, found.statusCode.name);
      }
    }
    const pump = devices.find((one) => one.id.endsWith('k.pump1'));
    expect(pump && (await attribute(s.session, [child(pump.id, `${di}:SerialNumber`).id], AttributeIds.Value))[0] === '00815', devices.map((one) => one.id));
    expect(devices.filter((one) => one.type === pump.type).length === 2, 'two pumps are of one type');
    const machines = child('ns=0;i=85', `${machinery}:Machines`);
    const [press] = machines.down.map(([, id]) => nodes.get(id)).filter((one) => one.class === NodeClass.Object && one.name.startsWith(`${s.namespace}:`));
    const identification = child(press.id, `${di}:Identification`);
    const wanted = { Manufacturer: 'Acme', SerialNumber: '4711', ProductInstanceUri: 'urn:acme.example:4711' };
    for (const [name, it] of Object.entries(wanted)) {
      const [found] = await attribute(s.session, [child(identification.id, `${di}:${name}`).id], AttributeIds.Value);
      expect((found.text ?? found) === it, name, found);
    }
    // what an asset system does: machine, components, who made each; and all of it among the building blocks
    const components = child(press.id, `${machinery}:Components`);
    expect(components.type === `ns=${machinery};i=1006` && components.up.some(([kind, from]) => kind === HAS_ADD_IN && from === press.id), components);
    const found = components.down.map(([kind, id]) => [kind, nodes.get(id)]).filter(([, one]) => one.class === NodeClass.Object);
    // J1939 devices, which may claim their addresses, among them
    const known = ([kind, one]) => kind === HAS_COMPONENT && (one.id === pump.id || /@/.test(one.id));
    expect(found.length === 2 && found.every(known), found.map(([kind, one]) => `${kind} ${one.id}`));
    const plate = child(pump.id, `${di}:Identification`);
    expect(plate.type === `ns=${machinery};i=1005` && plate.up.every(([kind]) => kind === HAS_ADD_IN), plate);
    for (const [name, it] of Object.entries({ Manufacturer: 'Pumps Inc.', Model: 'P-100', SerialNumber: '00815' })) {
      const [value] = await attribute(s.session, [child(plate.id, `${di}:${name}`).id], AttributeIds.Value);
      expect((value.text ?? value) === it, name, value);
    }
    const blocks = child(press.id, `${machinery}:MachineryBuildingBlocks`);
    expect(blocks.down.map(([kind, id]) => `${kind} ${id}`).sort().join() === [components, identification].map((one) => `${HAS_ADD_IN} ${one.id}`).sort().join(), blocks);
    return devices.map((one) => one.name).join(', ');
  }],
  ['values', 'each value is of its DataType and ValueRank', 'OPC 10000-3, 5.6.2', async (s) => {
    const nodes = await nodesOf(s);
    const variables = ids(nodes, (one) => one.class === NodeClass.Variable);
    const types = await attribute(s.session, variables, AttributeIds.DataType);
    const ranks = await attribute(s.session, variables, AttributeIds.ValueRank);
    const values = await attributes(s.session, variables, AttributeIds.Value);
    const up = await supertypesOf(s);
    let count = 0;
    for (const [at, id] of variables.entries()) {
      const type = text(types[at]);
      expect(nodes.get(type)?.class === NodeClass.DataType, id, 'is of data type', type, 'which is not served');
      const { value: found, statusCode } = values[at];
      if (!found || found.dataType === DataType.Null) continue;
      count += 1;
      const chain = [];
      for (let one = type; one; [one] = up.get(one) ?? []) chain.push(one.replace('ns=0;', ''));
      const simple = `i=${found.dataType}`;
      const fits = chain.includes(simple) || chain.includes(ENUMERATION) && found.dataType === DataType.Int32 || type === 'ns=0;i=24'
        || (NUMBERS[chain[0]] ?? []).includes(found.dataType);
      expect(fits, id, 'is a', type, chain, 'and holds', DataType[found.dataType], statusCode.name);
      if (found.dataType === DataType.ExtensionObject && type.startsWith('ns=0;') && type !== `ns=0;${STRUCTURE}`) {
        for (const each of [found.value].flat().filter((one) => one !== null)) {
          const name = each?.schema?.name ?? each?.constructor?.name;
          expect(name && !/Opaque/.test(name), id, 'is not decoded:', name);
        }
      }
      const array = found.arrayType !== opcua.VariantArrayType.Scalar;
      const rank = ranks[at];
      expect(rank === -1 ? !array : rank >= 0 ? array : true, id, 'has rank', rank, 'and', opcua.VariantArrayType[found.arrayType]);
    }
    return `${count} values of ${variables.length} variables`;
  }],
  ['definitions', 'structures and enumerations that have a DataTypeDefinition have fields of types that are served, and encodings that lead back', 'OPC 10000-3, 5.8.3 and 8.47 to 8.52', async (s) => {
    const nodes = await nodesOf(s);
    const types = ids(nodes, (one) => one.class === NodeClass.DataType);
    const found = await attributes(s.session, types, AttributeIds.DataTypeDefinition);
    const abstract = await attribute(s.session, types, AttributeIds.IsAbstract);
    const encodings = await browse(s.session, types, HAS_ENCODING);
    let [structures, enumerations] = [0, 0];
    const wrong = [];
    const want = (condition, ...said) => condition || wrong.push(said.join(' '));
    for (const [at, id] of types.entries()) {
      const { statusCode, value: { value: definition } = {} } = found[at];
      const [isStructure, isEnumeration] = [await derives(s, id, STRUCTURE), await derives(s, id, ENUMERATION)];
      const name = `${id} ${nodes.get(id).name}`;
      if (statusCode !== StatusCodes.Good) {
        want(statusCode.name === 'BadAttributeIdInvalid', name, statusCode.name);
        // what is neither of the standard nor abstract can not be decoded or put into words without
        want(id.startsWith('ns=0;') || abstract[at] || !isStructure && !isEnumeration, name, 'has no definition');
        continue;
      }
      if (!isStructure) {
        enumerations += 1;
        // sets of bits are numbers
        want(definition instanceof EnumDefinition && definition.fields?.length, name, 'has', definition?.constructor?.name);
        const fields = definition.fields ?? [];
        want(new Set(fields.map((one) => `${one.value}`)).size === fields.length, name, 'has a number twice');
        want(fields.every((one) => one.name), name, 'has a field without a name');
        continue;
      }
      structures += 1;
      want(definition instanceof StructureDefinition, name, 'has', definition?.constructor?.name);
      for (const field of definition.fields ?? []) want(field.name && nodes.get(text(field.dataType))?.class === NodeClass.DataType, name, field.name, 'is of', text(field.dataType));
      want(text(definition.baseDataType) === (await supertypesOf(s)).get(id)[0], name, 'says that it derives from', text(definition.baseDataType));
      const binary = encodings[at].find((one) => one.browseName.name === 'Default Binary');
      want(text(definition.defaultEncodingId) === (binary ? text(local(binary.nodeId)) : 'ns=0;i=0'), name, 'has the encoding', text(definition.defaultEncodingId), 'and the node', binary?.nodeId.toString());
      if (binary) {
        const back = (await references(s.session, binary.nodeId, HAS_ENCODING, INVERSE)).map((one) => text(local(one.nodeId)));
        want(back.join() === id, text(binary.nodeId), 'is of', back);
      } else want(abstract[at], name, 'has no encoding');
    }
    expect(!wrong.length, wrong.length, 'wrong:', wrong.slice(0, 40).join('; '));
    expect(enumerations > 10 && structures > 20, structures, enumerations);
    return `${structures} structures, ${enumerations} enumerations of ${types.length} data types`;
  }],
  ['extracted', 'the client has or makes a type of each structure that can be decoded, with the fields of its definition', 'OPC 10000-3, 8.48', async (s) => {
    const nodes = await nodesOf(s);
    const manager = await s.session.extractNamespaceDataType();
    const types = ids(nodes, (one) => one.class === NodeClass.DataType);
    const found = await attributes(s.session, types, AttributeIds.DataTypeDefinition);
    const abstract = await attribute(s.session, types, AttributeIds.IsAbstract);
    let [count, own, unknown] = [0, 0, 0];
    const wrong = [];
    for (const [at, id] of types.entries()) {
      const definition = found[at].value?.value;
      if (abstract[at] || !(definition instanceof StructureDefinition) || definition.defaultEncodingId.isEmpty()) continue;
      let Type;
      try {
        Type = manager.getExtensionObjectConstructorFromDataType(opcua.resolveNodeId(id));
      } catch (error) {
        // a standard newer than this client's
        expect(id.startsWith('ns=0;'), id, nodes.get(id).name, error.message);
        unknown += 1;
        continue;
      }
      const names = [];
      for (let { schema } = Type; schema; schema = schema.getBaseSchema?.()) names.unshift(...schema.fields.map((one) => one.name.toLowerCase()));
      const wanted = definition.fields.map((one) => one.name.toLowerCase());
      if (wanted.join() !== names.join()) wrong.push(`${id} ${nodes.get(id).name} has ${wanted} and not ${names}`);
      count += 1;
      own += id.startsWith('ns=0;') ? 0 : 1;
    }
    expect(!wrong.length, wrong.length, 'wrong:', wrong.slice(0, 10).join('; '));
    expect(count > 50, count);
    return `${count} structures, ${own} of them not of the standard, ${unknown} that it is too old for`;
  }],
  ['methods', 'each method has arguments of data types that are served, or none; its client finds them', 'OPC 10000-3, 5.7 and 8.6', async (s) => {
    const nodes = await nodesOf(s);
    const methods = ids(nodes, (one) => one.class === NodeClass.Method);
    const properties = await browse(s.session, methods, HAS_PROPERTY);
    let count = 0;
    for (const [at, id] of methods.entries()) {
      for (const property of properties[at]) {
        if (!/^(Input|Output)Arguments$/.test(property.browseName.name)) continue;
        expect(property.browseName.namespaceIndex === 0, id, named(property));
        const [all] = await attribute(s.session, [text(property.nodeId)], AttributeIds.Value);
        const [rank] = await attribute(s.session, [text(property.nodeId)], AttributeIds.ValueRank);
        const [type] = await attribute(s.session, [text(property.nodeId)], AttributeIds.DataType);
        expect(rank === 1 && text(type) === 'ns=0;i=296' && all.length, id, named(property), rank, text(type));
        for (const one of all) {
          count += 1;
          expect(one instanceof Argument && one.name, id, one?.toString());
          expect(nodes.get(text(one.dataType))?.class === NodeClass.DataType, id, one.name, 'is of', text(one.dataType));
          expect(one.valueRank === -1 ? !one.arrayDimensions?.length : one.valueRank === 1, id, one.name, one.valueRank);
        }
        expect(new Set(all.map((one) => one.name)).size === all.length, id, all.map((one) => one.name));
      }
    }
    const send = await s.session.getArgumentDefinition(s.node('Canvoy.Methods.m.Command.Send'));
    expect(send.inputArguments.map((one) => one.name).join() === 'Enable,Mode,Quick,Ramp,Setpoint,Trim', send.inputArguments.map((one) => one.name));
    return `${count} arguments of ${methods.length} methods`;
  }],
  ['exact_types', 'AnalogUnitType, MultiStateValueDiscrete, TwoStateDiscrete, 64-bit and float values are that', 'OPC 10000-8, 5.3', async (s) => {
    const rows = [
      ['m.Status.Speed', 17497, 'Double'], ['m.Status.State', 11238, 'Byte'], ['m.Status.Ready', 2373, 'Boolean'], ['m.Floats.Single', 17497, 'Float'],
      ['m.Floats.Double', 17497, 'Double'], ['m.Command.Trim', 17497, 'Int32'], ['m.Fast.FastCounter', 15318, 'UInt32'],
      ['k.pump1_Status.Energy', 17497, 'UInt64'], ['k.pump1_Balance.Signed', 15318, 'Int64'], ['m.Status.Bit', 63, 'Boolean'], ['k.pump2_Balance.Exact', 17497, 'Double'], ['k.pump1_Status.Running', 2373, 'Boolean'],
    ];
    for (const [name, kind, type] of rows) {
      const [found] = await references(s.session, s.node(name), HAS_TYPE);
      const [dataType] = await attribute(s.session, [s.node(name)], AttributeIds.DataType);
      const [now] = await attributes(s.session, [s.node(name)], AttributeIds.Value);
      expect(found.nodeId.value === kind, name, 'is a', found.browseName.name);
      expect(text(dataType) === `ns=0;i=${DataType[type]}`, name, text(dataType));
      expect(now.value.dataType === DataType[type] || !isGood(now.statusCode), name, DataType[now.value.dataType], now.statusCode.name);
      if (now.value.dataType !== DataType.Null && /64$/.test(type)) expect(now.value.value.length === 2, name, now.value.value);
    }
    const pieces = async (name) => {
      const found = await references(s.session, s.node(name), HAS_PROPERTY);
      const values = await attribute(s.session, found.map((one) => text(one.nodeId)), AttributeIds.Value);
      return Object.fromEntries(found.map((one, at) => [one.browseName.name, values[at]]));
    };
    const state = await pieces('k.pump1_Status.State');
    expect(state.EnumValues.map((one) => `${one.value[1]} ${one.displayName.text}`).join() === '0 Off,1 Starting,2 Running,3 Fault', state.EnumValues);
    expect(['Off', 'Starting', 'Running', 'Fault'].includes(state.ValueAsText.text), state.ValueAsText);
    const running = await pieces('k.pump1_Status.Running');
    expect(running.TrueState.text === 'Turning' && running.FalseState.text === 'Stopped', running);
    const speed = await pieces('m.Status.Speed');
    expect(speed.EURange instanceof Range && speed.EngineeringUnits instanceof EUInformation, speed);
  }],
  ['send', 'Send is called with the arguments that its client found, and the values are there', 'OPC 10000-4, 5.12', async (s) => {
    for (const rpm of [111, 222.5]) {
      const said = await call(s, 'm.Command', 'm.Command.Send', command(rpm));
      expect(/^Good(,Good)*$/.test(said), said);
      await setpoint(s, rpm);
    }
    const wrong = await call(s, 'm.Command', 'm.Command.Send', [...command(1).slice(0, 4), ['String', 'fast'], ['Int32', 0]]);
    expect(wrong === 'BadInvalidArgument,Good,Good,Good,Good,BadTypeMismatch,Good', wrong);
    const few = await call(s, 'm.Command', 'm.Command.Send', []);
    expect(few === 'BadArgumentsMissing', few);
    expect((await value(s, 'm.Command.Setpoint')) === 222.5, 'a refused call has done something');
    const pump = await call(s, 'k.pump1_Command', 'k.pump1_Command.Send', [['Boolean', true], ['UInt16', 1500]]);
    expect(/^Good/.test(pump), pump);
    await until('the speed of the pump', async () => (await value(s, 'k.pump1_Command.Speed')) === 1500);
  }],
  ['arming', 'Arm, Disarm, Fallback, ResetFallback, and what is refused in between', 'OPC 10000-4, 5.12.2.4', async (s) => {
    const is = async (what, wanted, ...how) => { const said = await what; expect(said.split(',')[0] === wanted, ...how, said, 'and not', wanted); };
    await is(machine(s, 'Disarm'), 'Good', 'Disarm');
    await until('disarmed', async () => (await value(s, 'Canvoy.Machine.Armed')) === false);
    await is(call(s, 'm.Command', 'm.Command.Send', command(5)), 'BadInvalidState', 'Send when disarmed');
    await is(machine(s, 'ResetFallback'), 'BadInvalidState', 'ResetFallback when disarmed');
    await is(machine(s, 'Arm'), 'Good', 'Arm');
    await until('armed', async () => (await value(s, 'Canvoy.Machine.Armed')) === true);
    await is(call(s, 'm.Command', 'm.Command.Fallback'), 'Good', 'Fallback of a message');
    await is(call(s, 'm.Command', 'm.Command.Send', command(5)), 'BadInvalidState', 'Send in fallback');
    await is(call(s, 'k.pump1_Command', 'k.pump1_Command.Send', [['Boolean', true], ['UInt16', 1]]), 'Good', 'Send of another message');
    await is(call(s, 'm.Command', 'm.Command.ResetFallback'), 'Good', 'ResetFallback of a message');
    await is(machine(s, 'Fallback'), 'Good', 'Fallback of the machine');
    await is(call(s, 'k.pump1_Command', 'k.pump1_Command.Send', [['Boolean', true], ['UInt16', 1]]), 'BadInvalidState', 'Send in fallback');
    await is(machine(s, 'ResetFallback'), 'Good', 'ResetFallback');
    await is(call(s, 'm.Command', 'm.Command.Send', command(6)), 'Good', 'Send after all');
    await is(call(s, 'Canvoy.Machine', 'm.Command.Send', command(6)), 'BadMethodInvalid', 'Send of a message at the machine');
  }],
  ['forces', 'Force holds a signal, Release frees it; what is not forcible or not forced is refused', 'OPC 10000-4, 7.38.1', async (s) => {
    const speed = ['NodeId', opcua.resolveNodeId(s.node('m.Status.Speed'))];
    const said = await machine(s, 'Force', [speed, ['Double', 321], ['Double', 60000]]);
    expect(/^Good/.test(said), said);
    const forced = async () => { const [one] = await attributes(s.session, [s.node('m.Status.Speed')], AttributeIds.Value); return one.statusCode.name === 'GoodLocalOverride' && one.value.value === 321; };
    await until('the force', forced);
    expect(/^Good/.test(await machine(s, 'Release', [speed])), 'Release');
    await until('the end of it', async () => !(await forced()));
    const again = await machine(s, 'Release', [speed]);
    expect(again.startsWith('BadInvalidState'), again);
    const not = await machine(s, 'Force', [['NodeId', opcua.resolveNodeId(s.node('k.pump1_Status.Pressure'))], ['Double', 1], ['Double', 1000]]);
    expect(not.startsWith('BadNotSupported'), 'forced what is not forcible:', not);
    const none = await machine(s, 'Force', [['NodeId', opcua.resolveNodeId(s.node('m.Status'))], ['Double', 1], ['Double', 1000]]);
    expect(none === 'BadInvalidArgument,BadNodeIdInvalid,Good,Good', none);
  }],
  ['local_and_remote', 'in Local nothing is taken from the plant; Remote again where the configuration lets it', 'OPC 10000-4, 5.12.2.4', async (s) => {
    expect(/^Good/.test(await machine(s, 'SetLocal')), 'SetLocal');
    await until('Local', async () => (await value(s, 'Canvoy.Machine.Remote')) === false);
    const sent = await call(s, 'm.Command', 'm.Command.Send', command(7));
    expect(sent.startsWith('BadNotExecutable'), sent);
    const written = await s.session.write({ nodeId: s.node('m.Command.Setpoint'), attributeId: AttributeIds.Value, value: { value: { dataType: DataType.Double, value: 7 } } });
    expect(written.name === 'BadInvalidState', written.name);
    expect(/^Good/.test(await machine(s, 'SetRemote')), 'SetRemote');
    await until('Remote', async () => (await value(s, 'Canvoy.Machine.Remote')) === true);
    if ((await value(s, 'Canvoy.Machine.Armed')) !== true) expect(/^Good/.test(await machine(s, 'Arm')), 'Arm');
    expect(/^Good/.test(await call(s, 'm.Command', 'm.Command.Send', command(8))), 'Send in Remote');
  }],
  ['without_rights', 'who may only look calls nothing, sees that, and nothing happens', 'OPC 10000-3, 5.7 and OPC 10000-18, 4.2', async (s) => {
    const its = await login(s.client, given.visitor, given['visitor-password']);
    try {
      const speed = ['NodeId', opcua.resolveNodeId(s.node('m.Status.Speed'))];
      const rows = [
        ['m.Command', 'm.Command.Send', command(9)], ['m.Command', 'm.Command.Fallback', []], ['m.Command', 'm.Command.ResetFallback', []],
        ['k.pump1_Command', 'k.pump1_Command.Send', [['Boolean', true], ['UInt16', 9]]],
        ...['Arm', 'Disarm', 'Fallback', 'ResetFallback', 'ReleaseAll', 'SetLocal', 'SetRemote'].map((name) => ['Canvoy.Machine', `Machine.${name}`, []]),
        ['Canvoy.Machine', 'Machine.Force', [speed, ['Double', 1], ['Double', 1000]]], ['Canvoy.Machine', 'Machine.Release', [speed]],
        ['Canvoy.Machine', 'Machine.SwitchRoute', [['String', 'over'], ['Boolean', false]]],
      ];
      const before = await value(s, 'm.Command.Setpoint');
      for (const [object, method, args] of rows) {
        const said = await call(s, object, method, args, its);
        expect(said.startsWith('BadUserAccessDenied'), method, said);
        const id = s.node(`Canvoy.Methods.${method}`);
        const [mine] = await attribute(s.session, [id], AttributeIds.UserExecutable);
        const [theirs] = await attribute(its, [id], AttributeIds.UserExecutable);
        expect(theirs === false && mine === true, method, 'UserExecutable', mine, theirs);
      }
      expect((await value(s, 'Canvoy.Machine.Armed')) === true && (await value(s, 'Canvoy.Machine.Remote')) === true, 'the machine has changed');
      expect((await value(s, 'm.Command.Setpoint')) === before, 'the setpoint has changed');
      const written = await its.write({ nodeId: s.node('m.Command.Setpoint'), attributeId: AttributeIds.Value, value: { value: { dataType: DataType.Double, value: 1 } } });
      expect(written.name === 'BadUserAccessDenied', written.name);
    } finally {
      await its.close(true);
    }
  }],
];

await run(CHECKS, async () => {
  const client = await connect({ keepSessionAlive: true });
  const session = await login(client);
  const namespace = await plantNamespace(session);
  return {
    client, session, namespace, node: (name) => `ns=${namespace};s=${name}`,
    end: async () => { await session.close(true); await client.disconnect(); },
  };
});
