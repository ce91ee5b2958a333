// Discovery (v4) as datagrams: what a node must answer, and what it must not before its asker has proved its endpoint.
import { RLP } from '@ethereumjs/rlp';
import { bytesToBigInt, concatBytes, equalsBytes, hexToBytes, intToBytes } from '@ethereumjs/util';
import { strict as assert } from 'node:assert';
import { createSocket } from 'node:dgram';
import { test } from 'node:test';
import { keccak256 } from 'ethereum-cryptography/keccak.js';
import { secp256k1 } from 'ethereum-cryptography/secp256k1.js';
import { Quintet } from './nodes.mjs';
import { random } from './scripted.mjs';
import { cliqueGenesis, eventually, host, scratch, sleep } from './support.mjs';

const kind = { ping: 1, pong: 2, findNode: 3, neighbours: 4, enrRequest: 5, enrResponse: 6 };
const loopback = Uint8Array.of(127, 0, 0, 1);
const soon = () => intToBytes(Math.floor(Date.now() / 1000) + 20);
const past = () => intToBytes(Math.floor(Date.now() / 1000) - 60);

/** A node that a test plays: a key and a socket. */
class Player {
  received = [];
  key = random(32);

  static async bind(test, node) {
    const player = new Player();
    player.node = node;
    player.socket = createSocket('udp4');
    player.socket.on('message', (bytes) => player.#receive(new Uint8Array(bytes)));
    await new Promise((done) => player.socket.bind(0, host, done));
    test.after(() => player.socket.close());
    return player;
  }

  get publicKey() {
    return secp256k1.getPublicKey(this.key, false).slice(1);
  }

  endpoint(port = this.socket.address().port) {
    return [loopback, intToBytes(port), intToBytes(port)];
  }

  /** The bytes of a packet, and its hash. */
  packet(type, content, { key = this.key } = {}) {
    const data = concatBytes(Uint8Array.of(type), RLP.encode(content));
    const signature = secp256k1.sign(keccak256(data), key);
    const rest = concatBytes(signature.toCompactRawBytes(), Uint8Array.of(signature.recovery), data);
    return { hash: keccak256(rest), bytes: concatBytes(keccak256(rest), rest) };
  }

  raw(bytes) {
    return new Promise((done, fail) => this.socket.send(bytes, this.node.port, host, (error) => (error ? fail(error) : done())));
  }

  async send(type, content, options) {
    const { hash, bytes } = this.packet(type, content, options);
    await this.raw(bytes);
    return hash;
  }

  ping(expiration = soon(), from = this.endpoint()) {
    return this.send(kind.ping, [intToBytes(4), from, this.endpoint(this.node.port), expiration]);
  }

  findNode(target = random(64), expiration = soon()) {
    return this.send(kind.findNode, [target, expiration]);
  }

  #receive(bytes) {
    const [hash, type] = [bytes.subarray(0, 32), bytes[97]];
    const content = RLP.decode(bytes.subarray(98), true).data;
    this.received.push({ hash, type, content, length: bytes.length, bytes });
    if (type === kind.ping && this.answering) this.send(kind.pong, [this.endpoint(this.node.port), hash, soon()]);
  }

  of(type) {
    return this.received.filter((packet) => packet.type === type);
  }

  /** Waits for a packet of a type for which `fits`. */
  expect(type, what, fits = () => true) {
    return eventually(() => this.of(type).find(fits), what, 5, 10);
  }

  /** Proves its endpoint: pings, and answers the node's ping. */
  async bond() {
    this.answering = true;
    const hash = await this.ping();
    await this.expect(kind.pong, 'a pong', ({ content }) => equalsBytes(content[1], hash));
    await this.expect(kind.ping, 'a ping of the node');
    await sleep(200);
  }
}

async function stage(t) {
  const ours = await Quintet.create(t, scratch(t), cliqueGenesis(71_020, 2));
  await ours.start();
  const [, id] = /^enode:\/\/([0-9a-f]{128})@/.exec(ours.enode);
  return { ours, id: hexToBytes(`0x${id}`), player: () => Player.bind(t, ours) };
}

test('the v4 protocol', { timeout: 180_000 }, async (t) => {
  const { ours, id, player } = await stage(t);

  await t.test('a ping is answered, with its hash, and by a ping', async () => {
    const one = await player();
    const hash = await one.ping();
    const pong = await one.expect(kind.pong, 'a pong');
    assert.deepEqual(pong.content[1], hash);
    assert.ok(bytesToBigInt(pong.content[2]) * 1000n > BigInt(Date.now()), 'it is not expired');
    const data = pong.bytes.subarray(97);
    const signature = secp256k1.Signature.fromCompact(pong.bytes.subarray(32, 96)).addRecoveryBit(pong.bytes[96]);
    assert.deepEqual(signature.recoverPublicKey(keccak256(data)).toRawBytes(false).slice(1), id);
    await one.expect(kind.ping, 'a ping of the node');
  });

  await t.test('what is expired, altered or unknown is not answered', async () => {
    const one = await player();
    await one.ping(past());
    // Far before 1970, to who reads it with a sign.
    await one.ping(hexToBytes('0xffffffff95000000'));
    const altered = one.packet(kind.ping, [intToBytes(4), one.endpoint(), one.endpoint(ours.port), soon()]).bytes;
    altered[120] ^= 1;
    await one.raw(altered);
    await one.send(0x5a, [random(8), soon()]);
    for (const length of [0, 1, 97, 98, 200, 1280, 4000]) await one.raw(random(length));
    await sleep(1500);
    assert.equal(one.of(kind.pong).length, 0);
  });

  await t.test('without a proof of its endpoint nobody learns nodes or records', async () => {
    const one = await player();
    for (let count = 0; count < 10; count += 1) {
      await one.findNode();
      await one.send(kind.enrRequest, [soon()]);
    }
    await sleep(1500);
    assert.equal(one.of(kind.neighbours).length + one.of(kind.enrResponse).length, 0);
    const answered = one.received.reduce((sum, { length }) => sum + length, 0);
    assert.ok(answered <= 20 * 170, `${answered} bytes for twenty packets`);
  });

  await t.test('a pong with a wrong hash is no proof', async () => {
    const one = await player();
    await one.ping();
    await one.expect(kind.ping, 'a ping of the node');
    await one.send(kind.pong, [one.endpoint(ours.port), random(32), soon()]);
    await one.findNode();
    await sleep(1000);
    assert.equal(one.of(kind.neighbours).length, 0);
  });

  await t.test('who has proved its endpoint learns nodes, and the record', async () => {
    const first = await player();
    await first.bond();
    const one = await player();
    await one.bond();
    await one.findNode(first.publicKey);
    const { content } = await one.expect(kind.neighbours, 'neighbours');
    assert.ok(content[0].length > 0 && content[0].length <= 16);
    const hash = await one.send(kind.enrRequest, [soon()]);
    const response = await one.expect(kind.enrResponse, 'a record');
    assert.deepEqual(response.content[0], hash);
    const [, sequence, ...pairs] = response.content[1];
    assert.ok(bytesToBigInt(sequence) > 0n);
    const names = pairs.filter((_, place) => place % 2 === 0).map((name) => new TextDecoder().decode(name));
    assert.deepEqual(names, names.toSorted());
    for (const name of ['eth', 'id', 'ip', 'secp256k1', 'tcp', 'udp']) assert.ok(names.includes(name), `an entry ${name} among ${names}`);
    await one.findNode(random(64), past());
    await sleep(500);
    assert.ok(one.of(kind.neighbours).length <= 2, 'no answer to an expired request');
  });

  await t.test('a packet with more than the specification has is read all the same', async () => {
    const one = await player();
    const more = [intToBytes(1), random(5), [random(3)]];
    const hash = await one.send(kind.ping, [intToBytes(4), one.endpoint(), one.endpoint(ours.port), soon(), ...more]);
    await one.expect(kind.pong, 'a pong', ({ content }) => equalsBytes(content[1], hash));
  });

  await t.test('a flood of packets from many keys costs no memory, and others are still answered', async () => {
    const one = await player();
    const before = ours.process.memory();
    const ping = () => one.packet(kind.ping, [intToBytes(4), one.endpoint(), one.endpoint(ours.port), soon()], { key: random(32) });
    const packets = Array.from({ length: 2000 }, ping);
    for (const [place, { bytes }] of packets.entries()) {
      await one.raw(bytes);
      await one.raw(random(600));
      if (place % 100 === 99) await sleep(20);
    }
    const other = await player();
    await eventually(async () => {
      const hash = await other.ping();
      await sleep(300);
      return other.of(kind.pong).some(({ content }) => equalsBytes(content[1], hash));
    }, 'a pong after the flood', 20);
    assert.ok(ours.process.memory() - before < 64 << 20, 'bounded memory');
  });
});
