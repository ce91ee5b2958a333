// What the suites share: waiting, free ports, scratch directories, child processes, JSON-RPC, accounts, genesis blocks.
import { createCustomCommon, Hardfork, Mainnet } from '@ethereumjs/common';
import { createFeeMarket1559Tx, createLegacyTx } from '@ethereumjs/tx';
import { bytesToHex, createAddressFromPrivateKey, hexToBytes } from '@ethereumjs/util';
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export { sleep };
/** Peers are on one machine; nothing listens elsewhere. */
export const host = '127.0.0.1';

/** Calls `probe` until it gives something that is neither null nor undefined nor false; an error of it counts as not yet. */
export async function eventually(probe, what, seconds = 30, pause = 100) {
  let last = 'it said no';
  for (const deadline = Date.now() + seconds * 1000; Date.now() < deadline; await sleep(pause)) {
    try {
      const found = await probe();
      if (found !== null && found !== undefined && found !== false) return found;
      last = `it gave ${found}`;
    } catch (error) {
      last = error.message;
    }
  }
  throw new Error(`${what}: not in ${seconds} s (${last})`);
}

/** Calls `probe` for some seconds, and throws as soon as it is false. */
export async function throughout(probe, what, seconds) {
  for (const deadline = Date.now() + seconds * 1000; Date.now() < deadline; await sleep(100)) {
    if (!(await probe())) throw new Error(`${what}: no longer`);
  }
}

const listening = (server) => new Promise((resolve, reject) => server.once('listening', resolve).once('error', reject));
const given = new Set();

/** A port that is free for TCP and for UDP, and that this process has not given before. */
export async function freePort() {
  for (;;) {
    const tcp = createServer().listen(0, host);
    await listening(tcp);
    const { port } = tcp.address();
    const udp = createSocket('udp4');
    udp.bind(port, host);
    const free = await listening(udp).then(() => true, () => false);
    await Promise.all([new Promise((done) => tcp.close(done)), new Promise((done) => (free ? udp.close(done) : done()))]);
    if (free && !given.has(port)) {
      given.add(port);
      return port;
    }
  }
}

/** A directory that is gone when the test ends, unless it failed and QUINTET_KEEP is set. */
export function scratch(test) {
  const path = mkdtempSync(join(tmpdir(), 'quintet-peers-'));
  test.after(() => (process.env.QUINTET_KEEP ? test.diagnostic(`kept ${path}`) : rmSync(path, { recursive: true, force: true })));
  return path;
}

const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

/** A child process whose output goes to a file, beside which it runs: what it drops there is gone with the test. */
export class Process {
  constructor(command, args, log, env = {}) {
    this.log = log;
    this.name = args[0] ?? command;
    const file = openSync(log, 'a');
    const options = { cwd: dirname(log), stdio: ['ignore', file, file], env: { ...process.env, ...env } };
    this.child = spawn(command, args, options);
    closeSync(file);
    running.add(this.child);
    this.ended = new Promise((resolve) => {
      this.child.once('error', (error) => resolve(error.message));
      this.child.once('exit', (code, signal) => resolve(code ?? signal));
    }).finally(() => running.delete(this.child));
  }

  get alive() {
    return running.has(this.child);
  }

  output() {
    return readFileSync(this.log, 'utf8');
  }

  /** The end of the output, for a message. */
  tail(lines = 30) {
    const said = this.output().trimEnd().split('\n');
    return said.filter((line) => !/\bServed\b/.test(line)).slice(-lines).join('\n');
  }

  /** Resident memory, in bytes. */
  memory() {
    const status = readFileSync(`/proc/${this.child.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)[1]) * 1024;
  }

  /** Waits until `probe` gives something; if the process ends before, or the time is over, the error has its last output. */
  async until(probe, what, seconds = 30) {
    try {
      return await eventually(
        async () => {
          if (!this.alive) throw new Error(`the process ended (${await this.ended})`);
          return probe();
        },
        what,
        seconds,
      );
    } catch (error) {
      throw new Error(`${error.message}\n${this.tail()}`);
    }
  }

  /** Ends it with a signal; with SIGKILL when it takes longer than `seconds`. Gives how it ended. */
  async stop(signal = 'SIGTERM', seconds = 20) {
    if (this.alive) this.child.kill(signal);
    const timer = setTimeout(() => this.child.kill('SIGKILL'), seconds * 1000);
    const end = await this.ended;
    clearTimeout(timer);
    return end;
  }
}

let lastId = 0;

/** A caller of the JSON-RPC server at `port`; it throws what the server says is wrong. */
export const rpcAt = (port) => async (method, ...params) => {
  const body = JSON.stringify({ jsonrpc: '2.0', id: ++lastId, method, params });
  const response = await fetch(`http://${host}:${port}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
    signal: AbortSignal.timeout(10_000),
  });
  const { result, error } = await response.json();
  if (error) throw new Error(`${method}: ${error.code} ${error.message}`);
  return result;
};

const account = (key) => ({ key, address: createAddressFromPrivateKey(hexToBytes(`0x${key}`)).toString() });
/** Seals the clique chain; has money. */
export const sealer = account('b71c71a67e1177ad4e901695e1b4b9ee17ae16c6668d313eac2f96dbcda3f291');
/** Sends transactions; has money. */
export const sender = account('49a7b37aa6f6645917e7b807e9d1c00d4fa71f18343b0d4122a4d2df64dd6fee');

const forks = ['homestead', 'eip150', 'eip155', 'eip158', 'byzantium', 'constantinople', 'petersburg', 'istanbul', 'berlin', 'london'];
const zeros = (bytes) => '00'.repeat(bytes);

/** A genesis.json of a clique network that `sealer` seals, every `period` seconds, with London's rules from the start. */
export const cliqueGenesis = (chainId, period) => ({
  config: { chainId, ...Object.fromEntries(forks.map((fork) => [`${fork}Block`, 0])), clique: { period, epoch: 30_000 } },
  nonce: '0x0',
  timestamp: '0x614b3731',
  gasLimit: '0x1c9c380',
  difficulty: '0x1',
  baseFeePerGas: '0x3b9aca00',
  extraData: `0x${zeros(32)}${sealer.address.slice(2)}${zeros(65)}`,
  mixHash: `0x${zeros(32)}`,
  coinbase: `0x${zeros(20)}`,
  number: '0x0',
  gasUsed: '0x0',
  parentHash: `0x${zeros(32)}`,
  alloc: Object.fromEntries([sealer, sender].map(({ address }) => [address.slice(2), { balance: '0x10000000000000000000' }])),
});

/** A transaction of `from`, signed: its bytes as hexadecimal text, and its hash. `type` is 0 or 2. */
export function signedTransfer(chainId, from, nonce, type = 2) {
  const common = createCustomCommon({ chainId }, Mainnet, { hardfork: Hardfork.London });
  const fields = { nonce, to: `0x${'ab'.repeat(20)}`, value: 1, gasLimit: 21_000 };
  const transaction =
    type === 2
      ? createFeeMarket1559Tx({ ...fields, chainId, maxFeePerGas: 10n ** 11n, maxPriorityFeePerGas: 10n ** 9n }, { common })
      : createLegacyTx({ ...fields, gasPrice: 10n ** 11n }, { common });
  const signed = transaction.sign(hexToBytes(`0x${from.key}`));
  return { raw: bytesToHex(signed.serialize()), hash: bytesToHex(signed.hash()) };
}

/** The head of a node: number and hash. */
export async function headOf(node) {
  const { number, hash } = await node.rpc('eth_getBlockByNumber', 'latest', false);
  return { number: Number(number), hash };
}

/** Waits until the head of `follower` is `leader`'s, at block `least` or later; gives it. */
export const sameHead = (follower, leader, least = 1, seconds = 90) =>
  follower.process.until(
    async () => {
      const [ours, theirs] = await Promise.all([headOf(follower), headOf(leader)]);
      if (ours.number < least || ours.hash !== theirs.hash) throw new Error(`heads ${ours.number} and ${theirs.number}`);
      return ours;
    },
    `the head of ${leader.name} at ${follower.name}, block ${least} or later`,
    seconds,
  );

/** Waits until a transaction is in a block of `node`; gives its receipt. */
export const mined = (node, hash, seconds = 60) =>
  node.process.until(() => node.rpc('eth_getTransactionReceipt', hash), `transaction ${hash} in a block of ${node.name}`, seconds);
