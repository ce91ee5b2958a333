// Peers that lie, flood and stall. Each loses its connection, or at least gains nothing by it; the node keeps its head,
// goes on answering, takes bounded memory, and syncs from the honest peers.
import { RLP } from '@ethereumjs/rlp';
import { hexToBytes } from '@ethereumjs/util';
import { strict as assert } from 'node:assert';
import { connect } from 'node:net';
import { test } from 'node:test';
import snappy from 'snappyjs';
import { field, forge, garbled, genesisOf, totalDifficulty } from './forge.mjs';
import { Quintet } from './nodes.mjs';
import { code, random, Scripted } from './scripted.mjs';
import { cliqueGenesis, eventually, headOf, host, scratch, sender, signedTransfer, sleep, throughout } from './support.mjs';

const chainId = 71_010;
const genesis = cliqueGenesis(chainId, 2);
const minutes = (count) => ({ timeout: count * 60_000 });
const mebibytes = (count) => count << 20;
/** More than a node may take for what one peer does; what is measured is resident memory, of any build. */
const memoryLimit = mebibytes(192);

/** What the tests work with: our node, connections to it, chains on its genesis block. */
class Stage {
  static async set(test) {
    const stage = new Stage();
    stage.test = test;
    stage.ours = await Quintet.create(test, scratch(test), genesis);
    await stage.ours.start('--nodiscover');
    stage.block = genesisOf(await stage.ours.rpc('eth_getBlockByNumber', '0x0', false));
    return stage;
  }

  chain(length, options) {
    return forge(this.block, length, options);
  }

  async peer(chain, options) {
    const peer = await Scripted.connect(this.ours, genesis, chain, options);
    this.test.after(() => peer.close());
    return peer;
  }

  /** Waits until the head of our node is the last block of `chain`. */
  reaches(chain, seconds = 60) {
    const head = chain.at(-1);
    return this.ours.process.until(async () => (await headOf(this.ours)).hash === head.id, `block ${head.number} as our head`, seconds);
  }

  /** What must hold after anything: the process lives, answers soon, and another peer can connect. */
  async stands(chain) {
    const start = Date.now();
    await this.ours.rpc('eth_blockNumber');
    assert.ok(Date.now() - start < 2000, 'an answer within 2 s');
    const peer = await this.peer(chain);
    peer.close();
  }

  /** Runs `act`; gives by how many bytes our node's memory grew at most meanwhile and within a second after. */
  async growth(act) {
    const before = this.ours.process.memory();
    let most = before;
    const timer = setInterval(() => (most = Math.max(most, this.ours.process.memory())), 100);
    try {
      await act();
      await sleep(1000);
    } finally {
      clearInterval(timer);
    }
    return most - before;
  }
}

const scenario = (name, run, options = minutes(3)) =>
  test(name, options, async (t) => {
    const stage = await Stage.set(t);
    await run(stage);
    assert.ok(stage.ours.process.alive, 'our node lives');
  });

/** A liar with a heavier chain than the honest peer's; then the honest peer. Our node drops one and syncs from the other. */
async function lieThenSync(stage, lies, { honest = stage.chain(48), lying = stage.chain(64), td } = {}) {
  const liar = await stage.peer(lying, { td: td ?? totalDifficulty(lying), answers: lies });
  const other = await stage.peer(honest);
  await liar.dropped('the liar', 60);
  await stage.reaches(honest);
  assert.equal(other.gone, undefined, 'the honest peer is connected');
  await stage.stands(honest);
}

/** Does something bad again and again: the node drops the peer before the twentieth time. */
async function insisting(peer, act, what, seconds = 30) {
  for (let count = 0; count < 20 && peer.gone === undefined; count += 1) {
    act();
    await sleep(200);
  }
  await peer.dropped(what, seconds);
}

const transaction = RLP.decode(hexToBytes(signedTransfer(chainId, sender, 0, 0).raw));

scenario('an honest peer is synced from, and kept', async (stage) => {
  const chain = stage.chain(500);
  const peer = await stage.peer(chain);
  await stage.reaches(chain);
  assert.equal(peer.gone, undefined);
  const longer = stage.chain(501);
  peer.sendBlock(longer.at(-1), totalDifficulty(longer));
  await stage.reaches(longer, 20);
});

scenario('headers that do not link', async (stage) => {
  const lying = stage.chain(64, { change: { 40: garbled(field.parent) }, vanity: 1 });
  await lieThenSync(stage, {}, { lying });
});

scenario('headers of other numbers than asked for', async (stage) => {
  const lying = stage.chain(300, { vanity: 1 });
  const others = lying.slice(200, 232).map(({ fields }) => fields);
  const answer = ([start]) => [code.headers, start.length === 32 ? [lying.at(-1).fields] : others];
  await lieThenSync(stage, { [code.getHeaders]: answer }, { lying });
});

scenario('more headers than asked for', async (stage) => {
  const lying = stage.chain(400, { vanity: 1 });
  await lieThenSync(stage, { [code.getHeaders]: () => [code.headers, lying.slice(1).map(({ fields }) => fields)] }, { lying });
});

/** A chain whose blocks say that they have transactions, which nobody has. */
const withoutBodies = (stage) => {
  const changes = Array.from({ length: 64 }, (_, place) => [place + 1, garbled(field.transactionsRoot)]);
  return stage.chain(64, { change: Object.fromEntries(changes) });
};

scenario('bodies that are not the headers\'', async (stage) => {
  const lying = withoutBodies(stage);
  await lieThenSync(stage, { [code.getBodies]: (hashes) => [code.bodies, hashes.map(() => [[transaction], []])] }, { lying });
});

scenario('no bodies at all', async (stage) => {
  const honest = stage.chain(48);
  await stage.peer(withoutBodies(stage), { answers: { [code.getBodies]: () => [code.bodies, []] } });
  await stage.peer(honest);
  await stage.reaches(honest, 90);
  await stage.stands(honest);
});

scenario('a total difficulty that nobody has, and nothing behind it', async (stage) => {
  const honest = stage.chain(48);
  const liar = await stage.peer([...stage.chain(0), { ...stage.chain(64).at(-1), id: '', hash: random(32) }], {
    td: 1n << 70n,
    answers: { [code.getHeaders]: () => [code.headers, []] },
  });
  await stage.peer(honest);
  await stage.reaches(honest);
  await liar.dropped('the liar', 60);
  await stage.stands(honest);
});

scenario('requests that are never answered', async (stage) => {
  const honest = stage.chain(48);
  const silence = { [code.getHeaders]: () => undefined, [code.getBodies]: () => undefined };
  await stage.peer(stage.chain(64, { vanity: 1 }), { td: 1n << 70n, answers: silence });
  await stage.peer(honest);
  await stage.reaches(honest, 90);
  await stage.stands(honest);
});

scenario('a state root that is wrong in the middle of a good chain', async (stage) => {
  const lying = stage.chain(64, { change: { 32: garbled(field.stateRoot) } });
  const liar = await stage.peer(lying);
  await liar.dropped('the liar', 60);
  const { number, hash } = await headOf(stage.ours);
  assert.ok(number < 32, `block ${number} is not beyond the bad one`);
  assert.equal(lying[number].id, hash);
  const honest = stage.chain(48);
  await stage.peer(honest);
  await stage.reaches(honest);
  await stage.stands(honest);
});

scenario('blocks that a stranger sealed', async (stage) => {
  const lying = stage.chain(64, { key: sender.key, keyFrom: 32 });
  await lieThenSync(stage, {}, { lying });
  assert.equal((await headOf(stage.ours)).number, 48);
});

scenario('new blocks that are bad', async (stage) => {
  const chain = stage.chain(16);
  await stage.peer(chain);
  await stage.reaches(chain);
  const next = stage.chain(17).at(-1);
  const forged = stage.chain(17, { key: sender.key, keyFrom: 17 }).at(-1);
  const td = totalDifficulty(chain) + 2n;
  const bad = {
    'a stranger\'s seal': (peer) => peer.sendBlock(forged, td),
    'another body': (peer) => peer.sendBlock(next, td, [[transaction], []]),
    'a total difficulty that cannot be': (peer) => peer.sendBlock(forged, 1n << 300n),
  };
  for (const [what, send] of Object.entries(bad)) {
    const peer = await stage.peer(chain);
    await insisting(peer, () => send(peer), `the peer that sent blocks with ${what}`);
  }
  assert.equal((await headOf(stage.ours)).number, 16);
  // The good one is still taken.
  const peer = await stage.peer(chain);
  peer.sendBlock(next, td);
  await stage.reaches([next], 20);
});

scenario('a new block with a total difficulty that is a lie', async (stage) => {
  const chain = stage.chain(16);
  const liar = await stage.peer(chain);
  await stage.reaches(chain);
  const longer = stage.chain(20);
  liar.sendBlock(longer[17], 1n << 70n);
  await stage.reaches(longer.slice(0, 18), 20);
  // It has nothing heavier; who has is still followed.
  await stage.peer(longer);
  await stage.reaches(longer);
  await stage.stands(longer);
});

scenario('answers that nobody asked for', async (stage) => {
  const chain = stage.chain(16);
  await stage.peer(chain);
  await stage.reaches(chain);
  const answers = { headers: [chain[3].fields], bodies: [[[], []]], receipts: [[]], pooled: [] };
  for (const [name, answer] of Object.entries(answers)) {
    const peer = await stage.peer(chain);
    await insisting(peer, () => peer.send(code[name], [random(8), answer]), `the peer that sent ${name} unasked`);
  }
  assert.equal((await headOf(stage.ours)).number, 16);
  await stage.stands(chain);
});

scenario('messages that are no messages', async (stage) => {
  const chain = stage.chain(4);
  const bomb = new Uint8Array([0xff, 0xff, 0xff, 0x7f, ...random(64)]);
  const bad = {
    'text in place of a request': (peer) => peer.send(code.getHeaders, random(100)),
    'a list that ends early': (peer) => peer.sendRaw(code.getHeaders, snappy.compress(new Uint8Array([0xf9, 0xff, 0xff, 1, 2]))),
    'bytes that are not compressed': (peer) => peer.sendRaw(code.headers, new Uint8Array(300).fill(0xff)),
    'two gigabytes in seventy bytes': (peer) => peer.sendRaw(code.transactions, bomb),
    'a message of 17 MiB': (peer) => peer.sendRaw(code.transactions, snappy.compress(RLP.encode([new Uint8Array(mebibytes(17))]))),
    'a message code that no protocol has': (peer) => peer.session._sendMessage(0x7e, snappy.compress(RLP.encode([]))),
    'a second status': (peer) => peer.send(0x00, [68, 1, 1, random(32), random(32), [random(4), 0]]),
    'a frame with a wrong MAC': (peer) => peer.session._socket.write(random(64)),
    'the header of a frame of 16 MiB, and a wrong body': (peer) => {
      peer.session._socket.write(peer.session._eciesSession.createBlockHeader(0xffffff));
      for (let count = 0; count < 17; count += 1) peer.session._socket.write(random(mebibytes(1)));
    },
  };
  for (const [what, send] of Object.entries(bad)) {
    const peer = await stage.peer(chain);
    const grown = await stage.growth(async () => {
      await insisting(peer, () => send(peer), `the peer that sent ${what}`, 45);
    });
    assert.ok(grown < memoryLimit, `${what} took ${grown >> 20} MiB`);
  }
  await stage.stands(chain);
}, minutes(6));

scenario('endless announcements of transactions', async (stage) => {
  const chain = stage.chain(4);
  const peers = [await stage.peer(chain), await stage.peer(chain)];
  const grown = await stage.growth(async () => {
    for (const end = Date.now() + 15_000; Date.now() < end && peers.some(({ gone }) => gone === undefined); await sleep(10)) {
      for (const peer of peers) peer.announceTransactions(Array.from({ length: 4096 }, () => random(32)));
    }
  });
  assert.ok(grown < memoryLimit, `${grown >> 20} MiB`);
  const { pending, queued } = await stage.ours.rpc('txpool_status');
  assert.deepEqual([Number(pending), Number(queued)], [0, 0]);
  await stage.stands(chain);
});

scenario('endless announcements of blocks', async (stage) => {
  const chain = stage.chain(16);
  await stage.peer(chain);
  await stage.reaches(chain);
  const peer = await stage.peer(chain);
  const grown = await stage.growth(async () => {
    for (const end = Date.now() + 15_000; Date.now() < end && peer.gone === undefined; await sleep(5)) {
      peer.announceBlocks(Array.from({ length: 256 }, (_, place) => [random(32), 17 + (place % 30)]));
    }
  });
  assert.ok(grown < memoryLimit, `${grown >> 20} MiB`);
  const longer = stage.chain(18);
  await stage.peer(longer);
  await stage.reaches(longer);
  await stage.stands(longer);
});

scenario('a transaction announced, and another one given', async (stage) => {
  const chain = stage.chain(16);
  await stage.peer(chain);
  await stage.reaches(chain);
  const { raw } = signedTransfer(chainId, sender, 5);
  const peer = await stage.peer(chain, { answers: { [code.getPooled]: () => [code.pooled, [hexToBytes(raw)]] } });
  const deadline = Date.now() + 60_000;
  while (peer.gone === undefined && Date.now() < deadline) {
    peer.announceTransactions([random(32)]);
    await sleep(1000);
  }
  await peer.dropped('the peer that gives what was not asked for', 1);
  await stage.stands(chain);
});

scenario('requests whose answers are never read', async (stage) => {
  const chain = stage.chain(400);
  await stage.peer(chain);
  await stage.reaches(chain);
  const peer = await stage.peer(chain);
  peer.session._socket.pause();
  const grown = await stage.growth(async () => {
    for (const end = Date.now() + 20_000; Date.now() < end && peer.gone === undefined; await sleep(5)) {
      for (let count = 0; count < 50; count += 1) {
        if (!peer.send(code.getHeaders, [random(8), [1, 400, 0, 0]])) break;
      }
    }
  });
  assert.ok(grown < memoryLimit, `${grown >> 20} MiB`);
  await stage.stands(chain);
});

scenario('a flood of pings, and of requests', async (stage) => {
  const chain = stage.chain(64);
  await stage.peer(chain);
  await stage.reaches(chain);
  const peer = await stage.peer(chain);
  const grown = await stage.growth(async () => {
    for (const end = Date.now() + 10_000; Date.now() < end && peer.gone === undefined; await sleep(5)) {
      for (let count = 0; count < 100; count += 1) {
        peer.session._sendMessage(0x02, snappy.compress(RLP.encode([])));
        peer.send(code.getBodies, [random(8), chain.slice(1).map(({ hash }) => hash)]);
      }
      const start = Date.now();
      await stage.ours.rpc('eth_blockNumber');
      assert.ok(Date.now() - start < 5000, 'an answer within 5 s');
    }
  });
  assert.ok(grown < memoryLimit, `${grown >> 20} MiB`);
  await stage.stands(chain);
});

const opened = (port) =>
  new Promise((resolve, reject) => {
    const socket = connect(port, host, () => resolve(socket)).on('error', reject);
  });

scenario('connections that say nothing, or too little', async (stage) => {
  const chain = stage.chain(4);
  const sockets = await Promise.all(Array.from({ length: 80 }, () => opened(stage.ours.port)));
  const closed = new Set();
  for (const socket of sockets) {
    socket.on('error', () => {}).on('close', () => closed.add(socket));
    socket.resume();
  }
  // Some of them drip bytes of an auth packet that never ends.
  const drips = sockets.filter((_, place) => place % 2 === 0);
  const drip = setInterval(() => drips.forEach((socket) => socket.writable && socket.write(random(1))), 500);
  stage.test.after(() => {
    clearInterval(drip);
    sockets.forEach((socket) => socket.destroy());
  });
  const peer = await eventually(() => stage.peer(chain), 'a peer beside them', 40);
  await eventually(() => closed.size === sockets.length, 'the end of all of them', 60);
  assert.equal(peer.gone, undefined);
});

scenario('what is no handshake', async (stage) => {
  const chain = stage.chain(4);
  const http = new TextEncoder().encode('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
  for (const bytes of [random(307), random(1000), new Uint8Array([0xff, 0xff, ...random(70_000)]), http]) {
    const socket = (await opened(stage.ours.port)).on('error', () => {}).resume();
    let ended = false;
    socket.on('close', () => (ended = true));
    socket.write(bytes);
    await eventually(() => ended, `the end of a connection of ${bytes.length} bytes`, 20);
  }
  await stage.stands(chain);
});

scenario('a network of its own', async (stage) => {
  const chain = stage.chain(4);
  const mistaken = [{ genesisHash: random(32) }, { td: random(64) }];
  for (const status of mistaken) {
    const peer = await stage.peer(chain, { status }).catch((error) => ({ gone: error.message }));
    await eventually(() => peer.gone, 'the end of a peer with a wrong status', 20);
  }
  await throughout(async () => (await stage.ours.peers()).length === 0, 'no peers', 2);
  await stage.stands(chain);
});
