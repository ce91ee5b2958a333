// ethereumjs as a peer: it finds our node by discovery, each syncs and follows what the other has, and transactions
// and blocks go both ways.
import { strict as assert } from 'node:assert';
import { join } from 'node:path';
import { test } from 'node:test';
import { chainOf } from './chains.mjs';
import { EthereumJs, Quintet } from './nodes.mjs';
import { cliqueGenesis, eventually, headOf, mined, sameHead, scratch, sender, signedTransfer, sleep } from './support.mjs';

const minutes = (count) => ({ timeout: count * 60_000 });
const clique = (chainId) => cliqueGenesis(chainId, 2);

/** The peer of `node` whose client calls itself EthereumJS. */
const ethereumJsAt = async (node) => (await node.peers()).find(({ name }) => name.startsWith('EthereumJS'));

const connected = (node, seconds = 60) => node.process.until(() => ethereumJsAt(node), 'ethereumjs among the peers', seconds);

test('a clique chain that ethereumjs seals', minutes(6), async (t) => {
  const chainId = 71_001;
  const directory = scratch(t);
  const genesis = clique(chainId);
  const ours = await Quintet.create(t, directory, genesis);
  await ours.start();
  const miner = new EthereumJs(t, directory, genesis, 'miner');

  await t.test('it finds our node by discovery', async () => {
    await miner.start({ bootnodes: [ours.enode], mine: true });
    const peer = await connected(ours);
    assert.equal(peer.id?.replace(/^0x/, '').length, 64);
    assert.ok(peer.caps.some((capability) => /^eth\/6[678]$/.test(capability)), `capabilities ${peer.caps}`);
    assert.equal(Number(await ours.rpc('net_peerCount')), (await ours.peers()).length);
  });

  await t.test('our node syncs the chain and follows its head', async () => {
    const { number } = await sameHead(ours, miner, 3);
    await sameHead(ours, miner, number + 3);
  });

  await t.test('a transaction sent to our node is sealed by it', async () => {
    // ethereumjs cannot read an untyped transaction that is broadcast, so this is one with a type.
    const { raw, hash } = signedTransfer(chainId, sender, 0);
    assert.equal(await ours.rpc('eth_sendRawTransaction', raw), hash);
    const receipt = await mined(ours, hash);
    assert.equal(receipt.status, '0x1');
    assert.equal((await mined(miner, hash)).blockHash, receipt.blockHash);
  });

  await t.test('a transaction sent to it reaches our pool, and then our chain', async () => {
    for (const [nonce, type] of [[1, 2], [2, 0]]) {
      const { raw, hash } = signedTransfer(chainId, sender, nonce, type);
      await miner.rpc('eth_sendRawTransaction', raw);
      await ours.process.until(() => ours.rpc('eth_getTransactionByHash', hash), 'the transaction at our node', 20);
      assert.equal((await mined(ours, hash)).status, '0x1');
    }
  });

  await t.test('our node comes back after a kill, and catches up', async () => {
    const before = await headOf(ours);
    assert.equal(await ours.process.stop('SIGKILL'), 'SIGKILL');
    await eventually(async () => (await headOf(miner)).number > before.number + 2, 'more blocks', 30);
    await ours.start('--bootnodes', miner.enode);
    await connected(ours);
    await sameHead(ours, miner, before.number + 3);
  });

  await t.test('it comes back after a restart, and our node goes on with it', async () => {
    await miner.process.stop();
    const { number } = await headOf(ours);
    await miner.start({ bootnodes: [ours.enode], mine: true });
    await connected(ours);
    await sameHead(ours, miner, number + 2);
  });

  await t.test('another one syncs the chain from our node alone', async () => {
    await miner.process.stop();
    const follower = new EthereumJs(t, directory, genesis, 'follower');
    await follower.start({ bootnodes: [ours.enode] });
    const head = await headOf(ours);
    assert.deepEqual(await sameHead(follower, ours, head.number, 150), head);
    await follower.process.stop('SIGKILL');
  });
});

test('a chain of proofs of work', minutes(6), async (t) => {
  const chain = chainOf(t, 300);
  if (chain === undefined) return;
  const directory = scratch(t);
  const ours = await Quintet.create(t, directory, chain.genesis, { files: [chain.file] });
  await ours.start();
  assert.equal((await headOf(ours)).number, chain.length);
  const theirs = new EthereumJs(t, directory, chain.genesis, 'follower');

  await t.test('ethereumjs finds our node by discovery, and syncs the chain from it', async () => {
    await theirs.start({ bootnodes: [ours.enode] });
    await connected(ours);
    await sameHead(theirs, ours, chain.length, 180);
  });

  await t.test('a new node of ours syncs it from ethereumjs', async () => {
    const head = await headOf(ours);
    await ours.process.stop();
    const second = await Quintet.create(t, join(scratch(t)), chain.genesis);
    await second.start();
    await second.rpc('admin_addPeer', theirs.enode);
    assert.deepEqual(await sameHead(second, theirs, chain.length, 120), head);
  });
});

test('a network of another genesis block is no peer', minutes(3), async (t) => {
  const directory = scratch(t);
  const ours = await Quintet.create(t, directory, clique(71_002));
  await ours.start();
  const stranger = new EthereumJs(t, scratch(t), clique(71_003), 'stranger');
  await stranger.start({ bootnodes: [ours.enode], mine: true });
  await ours.rpc('admin_addPeer', stranger.enode);
  // Long enough for some dials each way.
  await sleep(20_000);
  assert.deepEqual(await ours.peers(), []);
  assert.equal(Number(await ours.rpc('net_peerCount')), 0);
  assert.equal((await headOf(ours)).number, 0);
});
