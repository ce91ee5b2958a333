// A browser wallet's day, with nothing but fetch and an Origin: CORS, an account's figures, a transaction followed by
// polling, one that is stuck and sped up, one that is cancelled.
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { HDNodeWallet, Wallet } from 'ethers';
import { accountOf, chainId, compiled, eventually, gwei, mnemonic, post, rpcUrl, word } from './support.mjs';

const origin = 'https://wallet.example';
const account = HDNodeWallet.fromPhrase(mnemonic, undefined, `m/44'/60'/0'/0/${accountOf.wallet}`);
const stranger = () => Wallet.createRandom().address;
let lastId = 0;

/** One request as a page sends it; the page may read the answer. */
async function page(method, ...params) {
  const response = await post({ id: ++lastId, jsonrpc: '2.0', method, params }, { origin });
  assert.equal(response.status, 200);
  assert.ok(['*', origin].includes(response.headers.get('access-control-allow-origin')));
  const { id, result, error } = await response.json();
  assert.equal(id, lastId);
  if (error) throw Object.assign(new Error(error.message), error);
  return result;
}

const big = async (...call) => BigInt(await page(...call));
const nonceNow = async (tag = 'latest') => Number(await big('eth_getTransactionCount', account.address, tag));
const receiptOf = (hash) => eventually(() => page('eth_getTransactionReceipt', hash), 'receipt');

/** Fills in what a wallet fills in, signs, sends. */
async function send(fields) {
  const transaction = { type: 2, chainId, value: 0n, nonce: await nonceNow('pending'), gasLimit: 21_000n, ...fees(20n * gwei), ...fields };
  return page('eth_sendRawTransaction', await account.signTransaction(transaction));
}
const fees = (maxFeePerGas) => ({ maxFeePerGas, maxPriorityFeePerGas: maxFeePerGas < gwei ? maxFeePerGas : gwei });
// Less than the lowest base fee there is (7 wei): such a transaction is pending and is never mined.
const tooLow = fees(6n);

describe('cross-origin requests', () => {
  it('passes the preflight', async () => {
    const response = await fetch(rpcUrl, {
      method: 'OPTIONS',
      headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' },
    });
    assert.ok(response.ok);
    assert.equal(await response.text(), '');
    assert.ok(['*', origin].includes(response.headers.get('access-control-allow-origin')));
    assert.match(response.headers.get('access-control-allow-methods'), /POST/);
    assert.match(response.headers.get('access-control-allow-headers'), /content-type|\*/i);
  });

  it('may read errors as well', async () => {
    await assert.rejects(page('eth_nothing'), { code: -32601, message: 'the method eth_nothing does not exist/is not available' });
  });
});

it('adds the network and shows the account', async () => {
  assert.equal(await page('eth_chainId'), '0x539');
  assert.equal(await page('net_version'), '1337');
  assert.equal(typeof (await page('web3_clientVersion')), 'string');
  assert.ok((await page('eth_accounts')).includes(account.address.toLowerCase()));
  assert.equal(await page('eth_getCode', account.address, 'latest'), '0x');
  assert.ok((await big('eth_getBalance', account.address, 'latest')) > 10n ** 21n);
  const block = await page('eth_getBlockByNumber', 'latest', false);
  assert.ok(BigInt(block.number) <= (await big('eth_blockNumber')));
  assert.ok((await big('eth_gasPrice')) >= BigInt(block.baseFeePerGas));
  assert.ok((await big('eth_maxPriorityFeePerGas')) >= 0n);
  const history = await page('eth_feeHistory', '0x5', 'latest', [10, 50, 90]);
  assert.equal(history.baseFeePerGas.length, Math.min(5, Number(block.number) + 1) + 1);
});

it('sends ether and follows the transaction by polling', async () => {
  const [to, nonce, before] = [stranger(), await nonceNow(), await big('eth_getBalance', account.address, 'latest')];
  const call = { from: account.address, to, value: '0x3039' };
  assert.equal(await big('eth_estimateGas', call), 21_000n);
  assert.equal(await page('eth_call', call, 'latest'), '0x');
  const start = await big('eth_blockNumber');
  const hash = await send({ to, value: 12_345n });
  const receipt = await receiptOf(hash);
  await eventually(async () => (await big('eth_blockNumber')) > start, 'a new block');
  assert.deepEqual([receipt.status, receipt.type, receipt.gasUsed], ['0x1', '0x2', '0x5208']);
  assert.equal(await big('eth_getBalance', to, 'latest'), 12_345n);
  const paid = 12_345n + BigInt(receipt.gasUsed) * BigInt(receipt.effectiveGasPrice);
  assert.equal(await big('eth_getBalance', account.address, 'latest'), before - paid);
  assert.equal(await nonceNow(), nonce + 1);
  const block = await page('eth_getBlockByHash', receipt.blockHash, true);
  assert.deepEqual(block.transactions.map((transaction) => transaction.hash), [hash]);
});

describe('a stuck transaction', () => {
  let stuck;
  let nonce;
  let to;

  before(async () => {
    [to, nonce] = [stranger(), await nonceNow()];
    stuck = await send({ to, value: 1n, ...tooLow });
  });

  it('is pending', async () => {
    const found = await page('eth_getTransactionByHash', stuck);
    assert.deepEqual([found.blockHash, found.blockNumber, found.transactionIndex], [null, null, null]);
    assert.deepEqual([found.from, found.nonce], [account.address.toLowerCase(), `0x${nonce.toString(16)}`]);
    assert.equal(await page('eth_getTransactionReceipt', stuck), null);
    assert.deepEqual([await nonceNow(), await nonceNow('pending')], [nonce, nonce + 1]);
  });

  it('shows in the pool', async () => {
    const { pending } = await page('txpool_contentFrom', account.address);
    assert.deepEqual(Object.entries(pending).map(([key, { hash }]) => [key, hash]), [[String(nonce), stuck]]);
    const content = await page('txpool_content');
    assert.equal(content.pending[account.address][nonce].hash, stuck);
    const inspected = await page('txpool_inspect');
    assert.equal(inspected.pending[account.address][nonce], `${to}: 1 wei + 21000 gas × 6 wei`);
    assert.ok(Number((await page('txpool_status')).pending) >= 1);
  });

  it('is not replaced for less than a tenth more', async () => {
    const cheap = { to, value: 2n, nonce, maxFeePerGas: 6n, maxPriorityFeePerGas: 5n };
    await assert.rejects(send(cheap), { code: -32000, message: 'replacement transaction underpriced' });
  });

  it('is sped up', async () => {
    const faster = await send({ to, value: 1n, nonce });
    assert.equal((await receiptOf(faster)).status, '0x1');
    assert.equal(await big('eth_getBalance', to, 'latest'), 1n);
    assert.equal(await page('eth_getTransactionByHash', stuck), null);
    assert.deepEqual([await nonceNow(), await nonceNow('pending')], [nonce + 1, nonce + 1]);
  });

  it('is cancelled by one to oneself', async () => {
    const cancelled = await send({ to, value: 5n, ...tooLow });
    const receipt = await receiptOf(await send({ to: account.address, nonce: nonce + 1 }));
    assert.equal(receipt.status, '0x1');
    assert.equal(await big('eth_getBalance', to, 'latest'), 1n);
    assert.equal(await page('eth_getTransactionReceipt', cancelled), null);
  });
});

it('holds a token, and warns of a call that fails', async () => {
  const { bytecode } = compiled('Token');
  const args = `${word(0x40n)}${word(1_000n).slice(2)}${word(5n).slice(2)}${Buffer.from('Quint').toString('hex').padEnd(64, '0')}`;
  const data = bytecode + args.slice(2);
  const gasLimit = await big('eth_estimateGas', { from: account.address, data });
  const { contractAddress: token } = await receiptOf(await send({ data, gasLimit }));
  const balance = (owner) => big('eth_call', { to: token, data: `0x70a08231${word(owner).slice(2)}` }, 'latest');
  assert.equal(await balance(account.address), 1_000n);

  const to = stranger();
  const transfer = (amount) => `0xa9059cbb${word(to).slice(2)}${word(amount).slice(2)}`;
  const call = { from: account.address, to: token, data: transfer(10n) };
  const estimate = await big('eth_estimateGas', call);
  const receipt = await receiptOf(await send({ to: token, data: call.data, gasLimit: estimate }));
  assert.deepEqual([receipt.status, await balance(to), await balance(account.address)], ['0x1', 10n, 990n]);
  const [log] = await page('eth_getLogs', { address: token, fromBlock: receipt.blockNumber, toBlock: 'latest' });
  assert.deepEqual([log.transactionHash, log.topics[2], log.data], [receipt.transactionHash, word(to), word(10n)]);

  const text = Buffer.from('insufficient balance');
  const reason = `0x08c379a0${word(0x20n).slice(2)}${word(BigInt(text.length)).slice(2)}${text.toString('hex').padEnd(64, '0')}`;
  await assert.rejects(page('eth_estimateGas', { ...call, data: transfer(991n) }), {
    code: 3, message: 'execution reverted: insufficient balance', data: reason,
  });
});
