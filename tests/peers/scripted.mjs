// A peer that a test plays itself, over the library of ethereumjs: it can say anything.
import { createCommonFromGethGenesis } from '@ethereumjs/common';
import { ETH, RLPx } from '@ethereumjs/devp2p';
import { RLP } from '@ethereumjs/rlp';
import { bigIntToUnpaddedBytes, bytesToBigInt, bytesToHex, bytesToInt, hexToBytes, intToUnpaddedBytes } from '@ethereumjs/util';
import { randomBytes } from 'node:crypto';
import snappy from 'snappyjs';
import { totalDifficulty } from './forge.mjs';
import { eventually, host, sleep } from './support.mjs';

/** Codes of `eth` messages. */
export const code = {
  newBlockHashes: 0x01,
  transactions: 0x02,
  getHeaders: 0x03,
  headers: 0x04,
  getBodies: 0x05,
  bodies: 0x06,
  newBlock: 0x07,
  newHashes: 0x08,
  getPooled: 0x09,
  pooled: 0x0a,
  getReceipts: 0x0f,
  receipts: 0x10,
};

/** Random bytes. */
export const random = (length) => new Uint8Array(randomBytes(length));
const number = (value) => bigIntToUnpaddedBytes(BigInt(value));

/** What an honest peer with `chain` answers to requests, by code; what a test overrides is dishonest. */
function answersOf(chain) {
  const placeOf = (start) => (start.length === 32 ? chain.findIndex(({ id }) => id === bytesToHex(start)) : Number(bytesToBigInt(start)));
  return {
    [code.getHeaders]: ([start, limit, skip, reverse]) => {
      const step = (bytesToInt(skip) + 1) * (bytesToInt(reverse) ? -1 : 1);
      const found = [];
      for (let place = placeOf(start); found.length < Math.min(bytesToInt(limit), 1024) && chain[place]?.fields; place += step) {
        found.push(chain[place].fields);
      }
      return [code.headers, found];
    },
    [code.getBodies]: (hashes) => [code.bodies, hashes.filter((hash) => placeOf(hash) >= 0).map(() => [[], []])],
    [code.getReceipts]: (hashes) => [code.receipts, hashes.filter((hash) => placeOf(hash) >= 0).map(() => [])],
    [code.getPooled]: () => [code.pooled, []],
  };
}

const late = (what) => sleep(10_000, undefined, { ref: false }).then(() => Promise.reject(new Error(`no ${what} in 10 s`)));

/** A connection to a node, past the `eth` status. */
export class Scripted {
  /** Requests that came, by code. */
  asked = {};
  /** The reason of the node's disconnect message, or `closed` when it gave none; undefined while it is connected. */
  gone = undefined;

  /**
   * Connects to `node` with a fresh key. It has `chain`, says the total difficulty `td`, and answers requests as honest
   * peers do, but for `answers`: by code, functions of the request that give code and answer, or nothing for silence.
   */
  static async connect(node, genesis, chain, { td = totalDifficulty(chain), answers = {}, key = random(32), status = {} } = {}) {
    const peer = new Scripted();
    const common = createCommonFromGethGenesis(genesis, { chain: 'network' });
    common.setForkHashes(chain[0].hash);
    peer.answers = { ...answersOf(chain), ...answers };
    peer.rlpx = new RLPx(key, { capabilities: [ETH.eth66, ETH.eth67, ETH.eth68], common, maxPeers: 1 });
    const head = chain.at(-1);
    try {
      await peer.#shakeHands(node);
      const agreed = new Promise((resolve) => peer.eth.events.once('status', resolve));
      peer.eth.events.on('message', (kind, payload) => peer.#receive(kind, payload));
      peer.eth.sendStatus({ td: number(td), bestHash: head.hash, genesisHash: chain[0].hash, latestBlock: number(head.number), ...status });
      peer.status = await Promise.race([agreed, late('status')]);
      return peer;
    } catch (error) {
      peer.close();
      throw error;
    }
  }

  async #shakeHands(node) {
    const { events } = this.rlpx;
    events.on('error', () => {});
    events.on('peer:error', () => {});
    events.on('peer:removed', (_, reason) => (this.gone ??= reason ?? 'closed'));
    const up = new Promise((resolve) => events.once('peer:added', resolve));
    const [, id] = /^enode:\/\/([0-9a-f]{128})@/.exec(node.enode);
    await Promise.race([this.rlpx.connect({ id: hexToBytes(`0x${id}`), address: host, tcpPort: node.port }), late('connection')]);
    this.session = await Promise.race([up, late('hello')]);
    this.session._socket.on('close', () => (this.gone ??= 'closed'));
    [this.eth] = this.session.getProtocols();
  }

  #receive(kind, payload) {
    (this.asked[kind] ??= []).push(payload);
    const [id, request] = payload;
    const answer = this.answers[kind]?.(request);
    if (answer) this.send(answer[0], [id, answer[1]]);
  }

  /** Sends a message; gives whether the connection takes more at once. */
  send(kind, payload) {
    return this.sendRaw(kind, snappy.compress(RLP.encode(payload)));
  }

  /** Sends a frame with a message as it is on the wire: compressed, or not. */
  sendRaw(kind, bytes) {
    if (this.gone === undefined && this.session._socket.writable) this.eth._send(kind, bytes);
    return this.session._socket.writableLength < 1 << 20;
  }

  /** Announces a block with the total difficulty `td`. */
  sendBlock(block, td, body = [[], []]) {
    return this.send(code.newBlock, [[block.fields, ...body], number(td)]);
  }

  announceBlocks(blocks) {
    return this.send(code.newBlockHashes, blocks.map(([hash, height]) => [hash, number(height)]));
  }

  announceTransactions(hashes, type = 2, size = 120) {
    return this.send(code.newHashes, [new Uint8Array(hashes.length).fill(type), hashes.map(() => intToUnpaddedBytes(size)), hashes]);
  }

  /** Waits until the node has disconnected it; gives the reason. */
  dropped(what, seconds = 30) {
    return eventually(() => this.gone, `the node drops ${what}`, seconds, 20);
  }

  close() {
    this.session?._socket.destroy();
    if (this.rlpx?._isAlive()) this.rlpx.destroy();
  }
}
