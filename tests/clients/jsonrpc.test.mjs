// What no client hides: batches, bad input, limits and HTTP itself, in geth's codes and words; filters and subscriptions
// as they are on the wire.
import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { after, before, describe, it } from 'node:test';
import {
  HDNodeWallet, Transaction, Wallet, concat, dataSlice, decodeRlp, encodeRlp, id as hashOf, keccak256, toBeArray,
} from 'ethers';
import WebSocket from 'ws';
import {
  accountOf, ask, chainId, compiled, eventually, gwei, mnemonic, post, receiptOf, rpc, rpcUrl, sidecar, word, wsUrl,
} from './support.mjs';

const account = HDNodeWallet.fromPhrase(mnemonic, undefined, `m/44'/60'/0'/0/${accountOf.jsonrpc}`);
const stranger = () => Wallet.createRandom().address.toLowerCase();
const nonceNow = async () => Number(await rpc('eth_getTransactionCount', account.address, 'latest'));
const fields = { type: 2, chainId, gasLimit: 21_000n, maxFeePerGas: 20n * gwei, maxPriorityFeePerGas: gwei };
const sign = (more, signer = account) => signer.signTransaction({ ...fields, ...more });
const send = async (more) => receiptOf(await rpc('eth_sendRawTransaction', await sign({ nonce: await nonceNow(), ...more })));
const unknownHash = hashOf('no such thing');

/** That a call is refused with a code and a message. */
async function refuses([method, ...params], code, message) {
  const { error, result } = await ask(method, ...params);
  assert.equal(result, undefined);
  if (message instanceof RegExp) assert.match(error.message, message);
  else assert.equal(error.message, message);
  assert.equal(error.code, code);
}

let vault;

before(async () => {
  const args = word(account.address).slice(2) + word(7n).slice(2);
  const receipt = await send({ data: compiled('Vault').bytecode + args, gasLimit: 2_000_000n });
  assert.equal(receipt.status, '0x1');
  vault = receipt.contractAddress;
});

/** A transaction that makes the vault log `FeeChanged(before, current)`. */
const setFee = (fee) => send({ to: vault, data: hashOf('setFee(uint256)').slice(0, 10) + word(fee).slice(2), gasLimit: 100_000n });
const feeChanged = hashOf('FeeChanged(uint256,uint256)');

describe('the protocol', () => {
  const raw = async (body) => (await post(body)).json();
  const call = (id, method, params = []) => ({ jsonrpc: '2.0', id, method, params });

  it('answers a batch in order, each with its own error', async () => {
    const notification = { jsonrpc: '2.0', method: 'eth_chainId' };
    const answers = await raw([call(1, 'eth_chainId'), call('two', 'eth_nothing'), notification, call(3, 'eth_getBalance'), 7]);
    assert.deepEqual(answers.map(({ id }) => id), [1, 'two', 3, null]);
    assert.equal(answers[0].result, '0x539');
    assert.deepEqual(answers.slice(1).map(({ error }) => [error.code, error.message]), [
      [-32601, 'the method eth_nothing does not exist/is not available'],
      [-32602, 'missing value for required argument 0'],
      [-32600, 'invalid request'],
    ]);
  });

  it('refuses what is not a request', async () => {
    const refusal = async (body) => {
      const { id, error } = await raw(body);
      return [id, error.code, error.message];
    };
    assert.deepEqual(await refusal('{"jsonrpc":'), [null, -32700, 'parse error']);
    assert.deepEqual(await refusal('[]'), [null, -32600, 'empty batch']);
    assert.deepEqual(await refusal({ id: 1, method: 'eth_chainId' }), [1, -32600, 'invalid request']);
    const [tooLarge] = await raw(Array.from({ length: 1_001 }, (_, id) => call(id, 'eth_chainId')));
    assert.deepEqual([tooLarge.id, tooLarge.error], [0, { code: -32600, message: 'batch too large' }]);
  });

  it('does not answer a notification', async () => {
    const response = await post({ jsonrpc: '2.0', method: 'eth_chainId', params: [] });
    assert.deepEqual([response.status, await response.text()], [200, '']);
  });

  it('checks parameters', async () => {
    await refuses(['eth_getBalance'], -32602, 'missing value for required argument 0');
    await refuses(['eth_getBalance', stranger(), 'latest', 1], -32602, 'too many arguments, want at most 2');
    await refuses(['eth_getBalance', '0x12', 'latest'], -32602, /^invalid argument 0: /);
    await refuses(['eth_getBalance', stranger(), 'newest'], -32602, /^invalid argument 1: /);
    await refuses(['eth_getBlockByNumber', 'latest', 'yes'], -32602, /^invalid argument 1: /);
    await refuses(['eth_sendRawTransaction', 'zz'], -32602, /^invalid argument 0: /);
    await refuses(['eth_subscribe', 'newHeads'], -32601, 'notifications not supported');
  });
});

describe('HTTP', () => {
  const status = async (method, body, headers) => {
    const response = await fetch(rpcUrl, { method, body, headers });
    return [response.status, (await response.text()).trim()];
  };

  /** Status and text of the answer to headers that fetch would not send, with or without the body that they announce. */
  const announce = (headers, body) =>
    new Promise((resolve, reject) => {
      const sent = httpRequest(rpcUrl, { method: 'POST', headers }, async (response) => {
        const text = (await response.setEncoding('utf8').toArray()).join('').trim();
        sent.destroy();
        resolve([response.statusCode, text]);
      });
      sent.on('error', reject);
      if (body) sent.end(body);
      else sent.flushHeaders();
    });

  it('checks method, content type, length', async () => {
    assert.deepEqual(await status('GET'), [200, '']);
    assert.deepEqual(await status('PUT', '{}', { 'content-type': 'application/json' }), [405, 'method not allowed']);
    const wrongType = [415, 'invalid content type, only application/json is supported'];
    assert.deepEqual(await status('POST', '{}', { 'content-type': 'text/plain' }), wrongType);
    const limit = 5 * 1024 * 1024;
    const tooLong = [413, `content length too large (${limit + 1}>${limit})`];
    assert.deepEqual(await announce({ 'content-type': 'application/json', 'content-length': limit + 1 }), tooLong);
  });

  it('compresses for those who ask', async () => {
    const body = { jsonrpc: '2.0', id: 1, method: 'eth_getCode', params: [vault, 'latest'] };
    const response = await post(body, { 'accept-encoding': 'gzip' });
    assert.equal(response.headers.get('content-encoding'), 'gzip');
    assert.ok((await response.json()).result.length > 1_000);
    assert.equal((await post(body, { 'accept-encoding': 'identity' })).headers.get('content-encoding'), null);
  });

  it('serves known hosts alone', async () => {
    const body = '{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}';
    const asking = async (host) => (await announce({ host, 'content-type': 'application/json', 'content-length': body.length }, body))[0];
    assert.deepEqual([await asking('localhost:1'), await asking('10.1.2.3'), await asking('evil.example')], [200, 200, 403]);
  });
});

describe('state and blocks', () => {
  it('takes blocks as EIP-1898 has them', async () => {
    const receipt = await setFee(8n);
    const fee = (block) => rpc('eth_getStorageAt', vault, '0x1', block);
    const previous = await rpc('eth_getBlockByNumber', `0x${(BigInt(receipt.blockNumber) - 1n).toString(16)}`, false);
    assert.equal(await fee({ blockHash: receipt.blockHash }), word(8n));
    assert.equal(await fee({ blockHash: previous.hash, requireCanonical: true }), word(7n));
    assert.equal(await fee({ blockNumber: previous.number }), word(7n));
    assert.equal(await fee(previous.number), word(7n));
    await refuses(['eth_getStorageAt', vault, '0x1', { blockHash: unknownHash }], -32000, 'header for hash not found');
    await refuses(['eth_getBalance', vault, '0xffffff'], -32000, 'header not found');
    for (const tag of ['safe', 'finalized', 'pending', 'earliest']) assert.match(await fee(tag), /^0x[0-9a-f]{64}$/);
  });

  it('knows nothing of what is not there', async () => {
    for (const call of [
      ['eth_getBlockByHash', unknownHash, false], ['eth_getBlockByNumber', '0xffffff', true], ['eth_getBlockReceipts', '0xffffff'],
      ['eth_getTransactionByHash', unknownHash], ['eth_getTransactionReceipt', unknownHash],
      ['eth_getTransactionByBlockNumberAndIndex', '0x0', '0x0'], ['eth_getTransactionByBlockHashAndIndex', unknownHash, '0x0'],
      ['eth_getUncleByBlockNumberAndIndex', '0x0', '0x0'], ['eth_getBlockTransactionCountByHash', unknownHash],
    ]) {
      assert.deepEqual([call[0], await rpc(...call)], [call[0], null]);
    }
  });

  it('overrides blocks', async () => {
    const to = stranger();
    const run = (opcode, block) => rpc('eth_call', { to }, 'latest', { [to]: { code: `0x${opcode}60005260206000f3` } }, block);
    assert.equal(await run('43', { number: '0x64' }), word(100n));
    assert.equal(await run('42', { time: '0x77777777' }), word(0x77777777n));
    assert.equal(await run('45', { gasLimit: '0x1234567' }), word(0x1234567n));
    assert.equal(await run('41', { feeRecipient: to }), word(to));
    assert.equal(await run('48', { baseFeePerGas: '0x0' }), word(0n));
    assert.equal(await run('46', {}), word(BigInt(chainId)));
  });

  it('lists its modules', async () => {
    const modules = await rpc('rpc_modules');
    for (const name of ['eth', 'net', 'web3']) assert.equal(modules[name], '1.0');
  });
});

describe('the pool', () => {
  const refused = async (more, message, signer = account) =>
    refuses(['eth_sendRawTransaction', await sign({ nonce: await nonceNow(), to: stranger(), ...more }, signer)], -32000, message);

  it("refuses in geth's words", async () => {
    const nonce = await nonceNow();
    await refused({ nonce: nonce - 1 }, `nonce too low: next nonce ${nonce}, tx nonce ${nonce - 1}`);
    await refused({ gasLimit: 20_999n }, 'intrinsic gas too low: gas 20999, minimum needed 21000');
    const data = `0x${'ff'.repeat(1_000)}`;
    await refused({ data, gasLimit: 40_000n }, 'insufficient gas for floor data gas cost: gas 40000, minimum needed 61000');
    await refused({ chainId: 2 }, 'invalid sender: invalid chain id for signer: have 2 want 1337');
    await refused({ gasLimit: 2n ** 24n + 1n }, 'transaction gas limit too high (cap: 16777216, tx: 16777217)');
    const code = `0x${'00'.repeat(49_153)}`;
    await refused({ to: null, data: code, gasLimit: 5_000_000n }, 'max initcode size exceeded: code size 49153 limit 49152');
    const cost = 1n + 21_000n * 20n * gwei;
    const overdraft = `insufficient funds for gas * price + value: balance 0, tx cost ${cost}, overshot ${cost}`;
    await refused({ nonce: 0, value: 1n }, overdraft, Wallet.createRandom());
    await refused({ gasLimit: 10_000_000n, maxFeePerGas: 200n * gwei }, 'tx fee (2.00 ether) exceeds the configured cap (1.00 ether)');
    assert.equal(await nonceNow(), nonce);
  });

  it('checks signatures', async () => {
    const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
    const transaction = Transaction.from(await sign({ nonce: await nonceNow(), to: stranger() }));
    const { r, s, yParity } = transaction.signature;
    const body = transaction.unsignedSerialized;
    const high = withSignature(body, 1 - yParity, r, order - BigInt(s));
    await refuses(['eth_sendRawTransaction', high], -32000, 'invalid sender: invalid transaction v, r, s values');
  });

  it('refuses what is not a transaction', async () => {
    await refuses(['eth_sendRawTransaction', '0x7f01'], -32000, 'transaction type not supported');
    await refuses(['eth_sendRawTransaction', '0x02'], -32000, 'typed transaction too short');
    await refuses(['eth_sendRawTransaction', '0x02c0'], -32000, 'rlp: too few elements for types.DynamicFeeTx');
    await refuses(['eth_sendRawTransaction', '0xc0'], -32000, 'rlp: too few elements for types.LegacyTx');
  });

  it('checks blobs', async () => {
    const { blob: data, commitment, cellProofs, versionedHash } = sidecar;
    const blobs = (proofs) => [{ data, commitment, proof: `0x${proofs.map((proof) => proof.slice(2)).join('')}` }];
    const blobTransaction = { type: 3, maxFeePerBlobGas: gwei, blobVersionedHashes: [versionedHash] };
    await refused({ ...blobTransaction }, 'missing sidecar in blob transaction');
    const swapped = [cellProofs[1], cellProofs[0], ...cellProofs.slice(2)];
    await refused({ ...blobTransaction, blobWrapperVersion: 1, blobs: blobs(swapped) }, /^KZG verification error/);
  });
});

/** A type 2 transaction's unsigned bytes with a signature appended: what ethers would not make. */
function withSignature(unsigned, ...signature) {
  const fields = [...decodeRlp(dataSlice(unsigned, 1)), ...signature.map((field) => toBeArray(field))];
  return concat(['0x02', encodeRlp(fields)]);
}

describe('logs and filters', () => {
  it('keeps one position for each filter', async () => {
    const filter = await rpc('eth_newFilter', { address: vault, topics: [feeChanged, null, [word(21n), word(22n)]] });
    const values = async (method) => (await rpc(method, filter)).map(({ topics }) => BigInt(topics[2]));
    assert.deepEqual(await values('eth_getFilterChanges'), []);
    for (const fee of [20n, 21n, 22n]) await setFee(fee);
    assert.deepEqual(await values('eth_getFilterChanges'), [21n, 22n]);
    await setFee(21n);
    assert.deepEqual(await values('eth_getFilterChanges'), [21n]);
    assert.deepEqual(await values('eth_getFilterChanges'), []);
    assert.equal(await rpc('eth_uninstallFilter', filter), true);
    await refuses(['eth_getFilterChanges', filter], -32000, 'filter not found');
    await refuses(['eth_getFilterLogs', filter], -32000, 'filter not found');
  });

  it('gives all logs of a filter again and again', async () => {
    const first = await setFee(31n);
    const filter = await rpc('eth_newFilter', { address: [vault], fromBlock: first.blockNumber, toBlock: 'latest' });
    await setFee(32n);
    for (let round = 0; round < 2; round++) {
      assert.deepEqual((await rpc('eth_getFilterLogs', filter)).map(({ topics }) => topics[2]), [word(31n), word(32n)]);
    }
    const blocks = await rpc('eth_newBlockFilter');
    await refuses(['eth_getFilterLogs', blocks], -32000, 'filter not found');
  });

  it('gives whole transactions to those who ask', async () => {
    const filter = await rpc('eth_newPendingTransactionFilter', true);
    const to = stranger();
    const { transactionHash } = await send({ to, value: 1n });
    const found = (await rpc('eth_getFilterChanges', filter)).find(({ hash }) => hash === transactionHash);
    assert.deepEqual([found.to, found.value, found.from], [to, '0x1', account.address.toLowerCase()]);
  });

  it('checks queries', async () => {
    const range = (fromBlock, toBlock) => ['eth_getLogs', { fromBlock, toBlock }];
    await refuses(range('0x2', '0x1'), -32602, 'invalid block range params');
    const both = { blockHash: unknownHash, fromBlock: '0x1' };
    const choose = 'invalid argument 0: cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other';
    await refuses(['eth_getLogs', both], -32602, choose);
    await refuses(['eth_getLogs', { blockHash: unknownHash }], -32000, 'unknown block');
    await refuses(['eth_getLogs', { topics: Array(5).fill(null) }], -32602, 'invalid argument 0: exceed max topics');
  });

  it('sets the bloom of receipt and block', async () => {
    const receipt = await setFee(41n);
    const { logsBloom } = await rpc('eth_getBlockByHash', receipt.blockHash, false);
    assert.equal(logsBloom, receipt.logsBloom);
    const bloom = Buffer.from(logsBloom.slice(2), 'hex');
    const has = (value) => {
      const hash = Buffer.from(keccak256(value).slice(2), 'hex');
      return [0, 2, 4].every((at) => {
        const bit = hash.readUInt16BE(at) % 2048;
        return bloom[255 - (bit >> 3)] & (1 << bit % 8);
      });
    };
    assert.deepEqual([has(vault), has(feeChanged), has(word(41n)), has(word(987_654_321n))], [true, true, true, false]);
  });
});

describe('WebSocket', () => {
  let socket;
  const messages = [];
  const answerTo = (id) => eventually(() => messages.find((message) => message.id === id), `answer ${id}`);
  const notes = (subscription) => messages.filter(({ params }) => params?.subscription === subscription).map(({ params }) => params.result);
  let lastId = 100;

  async function call(method, ...params) {
    const id = ++lastId;
    socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }));
    return answerTo(id);
  }

  before(async () => {
    socket = new WebSocket(wsUrl);
    socket.on('message', (data) => messages.push(JSON.parse(data)));
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  });
  after(() => socket.close());

  it('answers calls and batches', async () => {
    assert.equal((await call('eth_chainId')).result, '0x539');
    socket.send('[{"jsonrpc":"2.0","id":1,"method":"eth_chainId"},{"jsonrpc":"2.0","id":2,"method":"net_version"}]');
    const batch = await eventually(() => messages.find(Array.isArray), 'the batch');
    assert.deepEqual(batch.map(({ result }) => result), ['0x539', '1337']);
    assert.equal((await call('eth_nothing')).error.code, -32601);
  });

  it('notifies of heads, logs and transactions until told to stop', async () => {
    const subscribe = async (...params) => (await call('eth_subscribe', ...params)).result;
    const heads = await subscribe('newHeads');
    const logs = await subscribe('logs', { address: vault, topics: [feeChanged] });
    const hashes = await subscribe('newPendingTransactions');
    const full = await subscribe('newPendingTransactions', true);
    const receipt = await setFee(51n);
    const [head] = await eventually(() => notes(heads).length > 0 && notes(heads), 'newHeads');
    const block = await rpc('eth_getBlockByHash', receipt.blockHash, false);
    for (const field of ['hash', 'number', 'parentHash', 'stateRoot', 'logsBloom', 'gasUsed', 'baseFeePerGas', 'timestamp']) {
      assert.equal(head[field], block[field], field);
    }
    assert.equal('transactions' in head, false);
    const [log] = await eventually(() => notes(logs).length > 0 && notes(logs), 'logs');
    assert.deepEqual(log, receipt.logs[0]);
    assert.deepEqual(await eventually(() => notes(hashes).length > 0 && notes(hashes), 'hashes'), [receipt.transactionHash]);
    const [transaction] = await eventually(() => notes(full).length > 0 && notes(full), 'transactions');
    assert.deepEqual([transaction.hash, transaction.to, transaction.blockHash], [receipt.transactionHash, vault, null]);

    assert.equal((await call('eth_unsubscribe', heads)).result, true);
    await setFee(52n);
    await eventually(() => notes(logs).length === 2, 'the second log');
    assert.equal(notes(heads).length, 1);
    for (const subscription of [logs, hashes, full]) assert.equal((await call('eth_unsubscribe', subscription)).result, true);
    assert.deepEqual((await call('eth_unsubscribe', logs)).error, { code: -32000, message: 'subscription not found' });
  });

  it('knows what it can notify of', async () => {
    assert.match((await call('eth_subscribe', 'syncing')).result, /^0x[0-9a-f]+$/);
    const { error } = await call('eth_subscribe', 'weather');
    assert.deepEqual(error, { code: -32601, message: 'no "weather" subscription in eth namespace' });
  });
});
