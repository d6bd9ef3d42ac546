// What the programs by node-opcua share: their options, a client with its keys in a folder of its own, and how checks are run
// and told, as common/check.py has it for those by asyncua.
// The first argument is the folder with the node_modules of package-lock.json, the rest is pairs of --name and value.

import { createRequire } from 'node:module';
import { createConnection, createServer } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

export const load = createRequire(resolve(process.argv[2], 'package.json'));
export const opcua = load('node-opcua-client');
const { OPCUACertificateManager } = load('node-opcua-certificate-manager');
const { BrowseDirection, MessageSecurityMode, SecurityPolicy, UserTokenType } = opcua;

export const given = {};
for (let at = 3; at + 1 < process.argv.length; at += 2) given[process.argv[at].slice(2)] = process.argv[at + 1];

export const NAMESPACE = 'urn:canvoy:plant';
// Milliseconds for one check; none takes as long when all is well.
const LIMIT = 60000;
export const folder = mkdtempSync(join(tmpdir(), 'canvoy-node-opcua-'));

export class Unexpected extends Error {}
export function expect(condition, ...said) {
  if (!condition) throw new Unexpected(said.map((one) => (typeof one === 'string' ? one : JSON.stringify(one) ?? String(one))).join(' ') || 'not as expected');
}
export const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });
// Asks again and again until there is an answer.
export async function until(what, found, limit = 15000) {
  for (const end = Date.now() + limit; ;) {
    const answer = await found();
    if (answer) return answer;
    if (Date.now() > end) throw new Unexpected(`waited ${limit} ms for ${what}`);
    await pause(20);
  }
}

// Keys and certificates would be in the home folder otherwise.
export async function certificates() {
  const one = new OPCUACertificateManager({ rootFolder: join(folder, 'pki'), automaticallyAcceptUnknownCertificate: true });
  await one.initialize();
  return one;
}

export async function connect(options = {}, url = given.url) {
  const one = opcua.OPCUAClient.create({
    applicationName: 'canvoy-check',
    clientCertificateManager: await certificates(),
    securityMode: MessageSecurityMode.SignAndEncrypt,
    securityPolicy: SecurityPolicy.Basic256Sha256,
    endpointMustExist: false,
    connectionStrategy: { initialDelay: 100, maxDelay: 500, maxRetry: 5 },
    transportTimeout: 20000,
    ...options,
  });
  await one.connect(url);
  return one;
}
export const login = (client, userName = given.user, password = given.password) => client.createSession({ type: UserTokenType.UserName, userName, password });
// A way to the server that can be cut: its URL, and what cuts every connection.
export async function cuttable() {
  const open = new Set();
  const { hostname, port } = new URL(given.url.replace('opc.tcp', 'http'));
  const proxy = createServer((from) => {
    const to = createConnection(port, hostname);
    for (const [one, other] of [[from, to], [to, from]]) {
      open.add(one);
      one.pipe(other);
      one.on('error', () => other.destroy());
      one.on('close', () => { open.delete(one); other.destroy(); });
    }
  });
  await new Promise((done) => { proxy.listen(0, '127.0.0.1', done); });
  return { url: `opc.tcp://127.0.0.1:${proxy.address().port}`, cut: () => open.forEach((one) => one.destroy()) };
}
// The index of the plant's namespace.
export const plantNamespace = async (session) => (await session.readNamespaceArray()).indexOf(NAMESPACE);

// References of many nodes, a list for each: all pages of them.
export async function browse(session, nodes, referenceTypeId = 'HierarchicalReferences', browseDirection = BrowseDirection.Forward, includeSubtypes = true) {
  const all = [];
  for (let at = 0; at < nodes.length; at += 500) {
    const asked = nodes.slice(at, at + 500).map((nodeId) => ({ nodeId, referenceTypeId, includeSubtypes, browseDirection, resultMask: 63 }));
    for (let result of await session.browse(asked)) {
      expect(result.statusCode.name === 'Good', asked[all.length - at]?.nodeId?.toString(), result.statusCode.name);
      const found = [...(result.references ?? [])];
      while (result.continuationPoint?.length) {
        result = await session.browseNext(result.continuationPoint, false);
        found.push(...(result.references ?? []));
      }
      all.push(found);
    }
  }
  return all;
}
export const references = async (session, node, ...how) => (await browse(session, [node], ...how))[0];

// What the library says on the console must not be taken for an answer.
console.log = console.warn = console.info = console.error = (...words) => process.stderr.write(`${words.join(' ')}\n`);

// Runs checks, each [name, what is expected, the clause that says so, what is done], and ends the program: 0 when all is as expected.
// What could not begin has failed: `begin` gives what each check gets, and how that ends.
export async function run(checks, begin) {
  let failed = 0;
  const tell = (name, expected, clause, ok, said, started) => {
    failed += ok ? 0 : 1;
    const seconds = (Date.now() - started) / 1000;
    process.stdout.write(`${JSON.stringify({ name, category: 'node-opcua', expected, clause, ok, said: String(said).slice(0, 800), seconds })}\n`);
  };
  const words = (error) => (error instanceof Unexpected ? error.message : `${error?.constructor?.name}: ${error?.message} ${error?.stack?.split('\n').find((line) => line.includes('/peers/'))?.trim() ?? ''}`);
  let scene;
  try {
    scene = await begin();
  } catch (error) {
    tell('connect', 'the client connects', 'OPC 10000-4, 5.7', false, words(error), Date.now());
  }
  for (const [name, expected, clause, check, limit = LIMIT] of scene ? checks : []) {
    if (given.only && !name.includes(given.only)) continue;
    const started = Date.now();
    let timer;
    try {
      const late = new Promise((_, refuse) => { timer = setTimeout(() => refuse(new Unexpected(`no end after ${limit} ms`)), limit); });
      tell(name, expected, clause, true, (await Promise.race([check(scene), late])) ?? '', started);
    } catch (error) {
      tell(name, expected, clause, false, words(error), started);
    }
    clearTimeout(timer);
  }
  try {
    await scene?.end?.();
  } catch (error) {
    tell('disconnect', 'the client ends', 'OPC 10000-4, 5.7', false, words(error), Date.now());
  }
  rmSync(folder, { recursive: true, force: true });
  process.exit(failed ? 1 : 0);
}
