// The nodes that the suites start: ours, and ethereumjs.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort, host, Process, rpcAt, sealer } from './support.mjs';

const binary = process.env.QUINTET_BINARY;
const client = fileURLToPath(new URL('./node_modules/@ethereumjs/client/dist/esm/bin/cli.js', import.meta.url));

/** A node of the project, on a data directory that lasts as long as the test. */
export class Quintet {
  name = 'quintet';

  /** Writes the genesis block, and imports files of blocks. */
  static async create(test, directory, genesis, { files = [], flags = [] } = {}) {
    const node = new Quintet();
    Object.assign(node, { test, directory, flags, data: join(directory, 'quintet') });
    const path = join(directory, 'quintet-genesis.json');
    writeFileSync(path, JSON.stringify(genesis));
    const run = (...args) => execFileSync(binary, args, { stdio: 'pipe', timeout: 120_000 });
    run('init', '--datadir', node.data, path);
    if (files.length > 0) run('import', '--datadir', node.data, ...files);
    [node.port, node.httpPort, node.adminPort] = [await freePort(), await freePort(), await freePort()];
    test.after(() => node.process?.stop('SIGKILL'));
    return node;
  }

  /** Starts it, or starts it again; with more flags if some are given. Waits until it answers. */
  async start(...flags) {
    this.process = new Process(
      binary,
      ['node', '--datadir', this.data, '--port', `${this.port}`, '--nat', `extip:${host}`, '--http', '--http.port', `${this.httpPort}`]
        .concat('--http.api', 'eth,net,web3,txpool', '--adminrpc.port', `${this.adminPort}`)
        .concat('--verbosity', '4', this.flags, flags),
      join(this.directory, 'quintet.log'),
    );
    this.rpc = rpcAt(this.adminPort);
    const { enode } = await this.process.until(() => this.rpc('admin_nodeInfo'), 'an answer from our node', 60);
    this.enode = enode.replace(/@[^?]*/, `@${host}:${this.port}`);
    return this;
  }

  async peers() {
    return this.rpc('admin_peers');
  }
}

/** The JavaScript client, on a data directory that lasts as long as the test. */
export class EthereumJs {
  constructor(test, directory, genesis, name) {
    Object.assign(this, { test, directory, name: `ethereumjs ${name}`, data: join(directory, name), log: join(directory, `${name}.log`) });
    // The network's name, and with it the directory of the data, is the file's.
    this.genesis = join(directory, 'network.json');
    if (!existsSync(this.genesis)) writeFileSync(this.genesis, JSON.stringify(genesis));
    test.after(() => this.process?.stop('SIGKILL'));
  }

  /** Starts it, or starts it again; it mines if `mine`, and knows no other nodes than `bootnodes`. Waits until it answers. */
  async start({ bootnodes = [], mine = false, flags = [] } = {}) {
    this.port ??= await freePort();
    this.rpcPort ??= await freePort();
    const key = join(this.directory, 'sealer.key');
    writeFileSync(key, sealer.key);
    this.process = new Process(
      process.execPath,
      [client, '--gethGenesis', this.genesis, '--dataDir', this.data, '--port', `${this.port}`, '--extIP', host]
        .concat('--rpc', '--rpcAddr', host, '--rpcPort', `${this.rpcPort}`, '--discDns', 'false', '--logFile', 'false', '--logLevel', 'debug')
        .concat(bootnodes.length > 0 ? ['--bootnodes', bootnodes.join(',')] : [], mine ? ['--mine', '--unlock', key] : [], flags),
      this.log,
      process.env.QUINTET_DEVP2P_DEBUG ? { DEBUG: 'ethjs,devp2p:*' } : {},
    );
    this.rpc = rpcAt(this.rpcPort);
    await this.process.until(() => this.rpc('eth_blockNumber'), `an answer from ${this.name}`, 60);
    this.enode = readFileSync(join(this.data, 'network', 'rlpx'), 'utf8').trim();
    return this;
  }
}
