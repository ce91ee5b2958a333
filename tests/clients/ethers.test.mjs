// ethers, with contracts compiled by Vyper and solc, against a running node.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  Contract, ContractFactory, HDNodeWallet, JsonRpcProvider, NonceManager, Transaction, Wallet, WebSocketProvider,
  concat, getCreateAddress, id, keccak256, verifyMessage, zeroPadValue,
} from 'ethers';
import { accountOf, brief, chainId, compiled, gwei, mnemonic, rpcUrl, sidecar, word, wsUrl } from './support.mjs';

const options = { staticNetwork: true, pollingInterval: 50, cacheTimeout: -1 };
const provider = new JsonRpcProvider(rpcUrl, chainId, { ...options, batchMaxCount: 1 });
const account = HDNodeWallet.fromPhrase(mnemonic, undefined, `m/44'/60'/0'/0/${accountOf.ethers}`).connect(provider);
const stranger = () => Wallet.createRandom().address;
const send = async (transaction) => (await account.sendTransaction(transaction)).wait();

/** The error object that the node answered, as ethers wraps it. */
const refusal = async (promise) => {
  const error = await promise.then(() => assert.fail('not refused'), (error) => error);
  return error.info?.error ?? error.error ?? error;
};

async function deploy(name, ...args) {
  const { abi, bytecode } = compiled(name);
  const contract = await new ContractFactory(abi, bytecode, account).deploy(...args);
  return contract.waitForDeployment();
}

let token;
let vault;

before(async () => {
  token = await deploy('Token', 'Quint', 1_000_000n);
  vault = await deploy('Vault', account.address, 7n, { value: 500n });
});

after(() => provider.destroy());

describe('connection', () => {
  it('agrees on the chain', async () => {
    assert.equal((await new JsonRpcProvider(rpcUrl)._detectNetwork()).chainId, 1337n);
    assert.equal(account.address, '0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC');
    assert.ok((await provider.listAccounts()).some(({ address }) => address === account.address));
  });

  it('suggests fees that get a transaction mined', async () => {
    const { gasPrice, maxFeePerGas, maxPriorityFeePerGas } = await provider.getFeeData();
    const { baseFeePerGas } = await provider.getBlock('latest');
    assert.ok(gasPrice >= baseFeePerGas && maxFeePerGas >= baseFeePerGas + maxPriorityFeePerGas);
  });
});

describe('transactions', () => {
  for (const [type, fees] of [
    [0, { gasPrice: 3n * gwei }],
    [1, { gasPrice: 3n * gwei, accessList: [{ address: `0x${'11'.repeat(20)}`, storageKeys: [`0x${'22'.repeat(32)}`] }] }],
    [2, { maxFeePerGas: 5n * gwei, maxPriorityFeePerGas: gwei }],
  ]) {
    it(`type ${type} moves ether`, async () => {
      const [to, nonce, before] = [stranger(), await account.getNonce(), await provider.getBalance(account.address)];
      const receipt = await send({ type, to, value: 12_345n, ...fees });
      assert.equal(receipt.status, 1);
      assert.equal(receipt.type, type);
      assert.equal(receipt.gasUsed, 21_000n + (type === 1 ? 2_400n + 1_900n : 0n));
      assert.equal(await provider.getBalance(to), 12_345n);
      assert.equal(await provider.getBalance(account.address), before - 12_345n - receipt.fee);
      assert.equal(await account.getNonce(), nonce + 1);
      const found = await provider.getTransaction(receipt.hash);
      assert.deepEqual([found.type, found.nonce, found.from, found.to], [type, nonce, account.address, to]);
      assert.equal(found.chainId, 1337n);
      assert.deepEqual([found.blockHash, found.index], [receipt.blockHash, receipt.index]);
      if (type === 1) assert.deepEqual(found.accessList, fees.accessList);
      assert.equal(Transaction.from(found).hash, receipt.hash);
    });
  }

  for (const [version, name] of [[1, 'cell proofs (EIP-7594)'], [null, 'a blob proof, which the node turns into cell proofs']]) {
    it(`type 3 carries a blob with ${name}`, async () => {
      const { blob: data, commitment } = sidecar;
      const proof = version === 1 ? concat(sidecar.cellProofs) : sidecar.proof;
      const signed = await account.signTransaction({
        type: 3, to: stranger(), chainId, nonce: await account.getNonce(), gasLimit: 21_000n,
        maxFeePerGas: 5n * gwei, maxPriorityFeePerGas: gwei, maxFeePerBlobGas: gwei,
        blobs: [{ data, commitment, proof }], blobWrapperVersion: version,
      });
      const receipt = await (await brief(provider.broadcastTransaction(signed))).wait();
      assert.deepEqual([receipt.status, receipt.type, receipt.blobGasUsed], [1, 3, 131_072n]);
      assert.ok(receipt.blobGasPrice >= 1n);
      const found = await provider.getTransaction(receipt.hash);
      assert.deepEqual(found.blobVersionedHashes, [sidecar.versionedHash]);
      assert.equal((await provider.getBlock(receipt.blockNumber)).blobGasUsed, 131_072n);
    });
  }

  it('type 4 gives an account code', async () => {
    const delegator = Wallet.createRandom();
    const authorization = await delegator.authorize({ chainId, nonce: 0, address: vault.target });
    const data = vault.interface.encodeFunctionData('increment');
    const receipt = await send({ type: 4, to: delegator.address, data, gasLimit: 200_000n, authorizationList: [authorization] });
    assert.deepEqual([receipt.status, receipt.type], [1, 4]);
    assert.equal(await provider.getCode(delegator.address), concat(['0xef0100', vault.target]));
    assert.equal(await provider.getTransactionCount(delegator.address), 1);
    assert.equal(await provider.getStorage(delegator.address, 3), word(1n));
    const [listed] = (await provider.getTransaction(receipt.hash)).authorizationList;
    assert.deepEqual([listed.address, listed.nonce], [vault.target, 0n]);
  });

  it('sends many at once with a nonce manager', async () => {
    const [manager, to, nonce] = [new NonceManager(account), stranger(), await account.getNonce()];
    const sent = await Promise.all(Array.from({ length: 10 }, () => manager.sendTransaction({ to, value: 1n })));
    const receipts = await Promise.all(sent.map((transaction) => transaction.wait()));
    assert.ok(receipts.every(({ status }) => status === 1));
    assert.deepEqual(sent.map((transaction) => transaction.nonce), sent.map((_, index) => nonce + index));
    assert.equal(await provider.getBalance(to), 10n);
  });

  it('sends and signs from an unlocked account', async () => {
    const signer = await provider.getSigner(accountOf.unlocked);
    const to = stranger();
    const receipt = await (await signer.sendTransaction({ to, value: 3n })).wait();
    assert.deepEqual([receipt.status, receipt.from, await provider.getBalance(to)], [1, signer.address, 3n]);
    assert.equal(verifyMessage('quintet', await signer._legacySignMessage('quintet')), signer.address);
  });

  it("refuses in geth's words, which ethers understands", async () => {
    const [nonce, to, gasLimit] = [await account.getNonce(), stranger(), 21_000n];
    const fees = { maxFeePerGas: 5n * gwei, maxPriorityFeePerGas: gwei };
    const sending = (fields, from = account) => from.sendTransaction({ to, value: 1n, nonce, gasLimit, ...fees, ...fields });
    await assert.rejects(sending({ nonce: nonce - 1 }), { code: 'NONCE_EXPIRED' });
    await assert.rejects(sending({ nonce: 0 }, Wallet.createRandom(provider)), { code: 'INSUFFICIENT_FUNDS' });
    await sending({ nonce: nonce + 1 });
    await assert.rejects(sending({ nonce: nonce + 1, value: 2n }), { code: 'REPLACEMENT_UNDERPRICED' });
    await (await sending({})).wait();
    const { code, message } = await refusal(sending({ nonce: nonce + 2, gasLimit: 20_999n }));
    assert.deepEqual([code, message], [-32000, 'intrinsic gas too low: gas 20999, minimum needed 21000']);
  });
});

describe('contracts', () => {
  it('deploys where the nonce says', async () => {
    const nonce = await account.getNonce();
    const contract = await deploy('Vault', account.address, 42n, { value: 1_000n });
    assert.equal(contract.target, getCreateAddress({ from: account.address, nonce }));
    assert.equal(await provider.getBalance(contract.target), 1_000n);
    assert.equal(await provider.getStorage(contract.target, 0), zeroPadValue(account.address, 32));
    assert.deepEqual([await contract.fee(), await contract.deposits(account.address)], [42n, 1_000n]);
  });

  it('calls a Vyper token, now and in the past', async () => {
    const [to, before] = [stranger(), await token.balanceOf(account.address)];
    const receipt = await (await token.transfer(to, 250n)).wait();
    assert.deepEqual([await token.balanceOf(to), await token.balanceOf(account.address)], [250n, before - 250n]);
    assert.equal(await token.balanceOf(to, { blockTag: receipt.blockNumber - 1 }), 0n);
    const [{ args, fragment }] = receipt.logs;
    assert.deepEqual([fragment.name, [...args]], ['Transfer', [account.address, to, 250n]]);
  });

  it('decodes every kind of revert, of calls and of estimates', async () => {
    const other = vault.connect(Wallet.createRandom(provider));
    for (const run of [other.setFee.staticCall, other.setFee.estimateGas]) {
      await assert.rejects(run(1n), { code: 'CALL_EXCEPTION', reason: 'only the owner' });
    }
    for (const run of [vault.withdraw.staticCall, vault.withdraw.estimateGas]) {
      const error = await run(501n).catch((error) => error);
      const { name, args } = error.revert ?? vault.interface.parseError(error.data);
      assert.deepEqual([name, [...args]], ['InsufficientDeposit', [500n, 501n]]);
    }
    const panic = await vault.divide(1n, 0n).catch((error) => error);
    assert.deepEqual([panic.revert.name, [...panic.revert.args].map(Number)], ['Panic', [0x12]]);
    await assert.rejects(token.transfer.estimateGas(stranger(), 10n ** 30n), { reason: 'insufficient balance' });
    const bare = await refusal(provider.send('eth_call', [{ to: vault.target, data: id('refuse()').slice(0, 10) }, 'latest']));
    assert.deepEqual([bare.code, bare.message, bare.data], [3, 'execution reverted', '0x']);
  });

  it('reports a failed transaction', async () => {
    const sent = await token.transfer(stranger(), 10n ** 30n, { gasLimit: 100_000n });
    const error = await sent.wait().catch((error) => error);
    assert.deepEqual([error.code, error.receipt.status, error.receipt.logs], ['CALL_EXCEPTION', 0, []]);
  });

  it('estimates enough and little more', async () => {
    const estimate = await vault.deposit.estimateGas('note', { value: 5n });
    const receipt = await (await vault.deposit('note', { value: 5n, gasLimit: estimate })).wait();
    assert.equal(receipt.status, 1);
    assert.ok(receipt.gasUsed <= estimate && estimate < (receipt.gasUsed * 13n) / 10n);
    assert.deepEqual([...receipt.logs[0].args], [account.address, 5n, 'note']);
    await (await vault.withdraw(5n)).wait();
  });
});

describe('events', () => {
  it('queries logs by topic and range', async () => {
    const receivers = [stranger(), stranger()];
    const blocks = [];
    for (const to of receivers) blocks.push((await (await token.transfer(to, 11n)).wait()).blockNumber);
    const query = async (filter, from = blocks[0], to = blocks[1]) =>
      (await token.queryFilter(filter, from, to)).map(({ args }) => args.receiver);
    assert.deepEqual(await query(token.filters.Transfer()), receivers);
    assert.deepEqual(await query(token.filters.Transfer(null, receivers[1])), [receivers[1]]);
    assert.deepEqual(await query(token.filters.Transfer(null, receivers)), receivers);
    assert.deepEqual(await query(token.filters.Approval()), []);
    assert.deepEqual(await query(token.filters.Transfer(), blocks[1]), [receivers[1]]);
    const { hash } = await provider.getBlock(blocks[0]);
    const [log] = await provider.getLogs({ blockHash: hash, address: token.target });
    assert.deepEqual(log.topics, [id('Transfer(address,address,uint256)'), word(account.address), word(receivers[0])]);
    assert.equal(log.data, word(11n));
  });

  it('polls filters', async () => {
    const to = stranger();
    const heads = await provider.send('eth_newBlockFilter', []);
    const logs = await provider.send('eth_newFilter', [{ address: token.target, topics: [null, null, word(to)] }]);
    const pending = await provider.send('eth_newPendingTransactionFilter', []);
    const receipt = await (await token.transfer(to, 5n)).wait();
    const changes = (filter) => provider.send('eth_getFilterChanges', [filter]);
    assert.ok((await changes(heads)).includes(receipt.blockHash));
    assert.ok((await changes(pending)).includes(receipt.hash));
    assert.deepEqual((await changes(logs)).map(({ data }) => data), [word(5n)]);
    assert.deepEqual(await changes(logs), []);
    for (const filter of [heads, logs, pending]) assert.equal(await provider.send('eth_uninstallFilter', [filter]), true);
  });

  it('subscribes over a WebSocket', async () => {
    const socket = new WebSocketProvider(wsUrl, chainId, options);
    const listening = new Contract(token.target, token.interface, socket);
    const to = stranger();
    const heads = new Promise((resolve) => socket.once('block', resolve));
    const pending = new Promise((resolve) => socket.once('pending', resolve));
    const transfer = new Promise((resolve) => listening.once('Transfer', (...args) => resolve(args)));
    try {
      await socket.getBlockNumber();
      await listening.listenerCount('Transfer');
      const receipt = await (await token.transfer(to, 8n)).wait();
      assert.equal(await heads, receipt.blockNumber);
      assert.equal(await pending, receipt.hash);
      assert.deepEqual((await transfer).slice(0, 3), [account.address, to, 8n]);
    } finally {
      await Promise.all([socket.removeAllListeners(), listening.removeAllListeners()]);
      await socket.getBlockNumber(); // the answers to eth_unsubscribe are in
      await socket.destroy();
    }
  });
});

it('batches', async () => {
  const batching = new JsonRpcProvider(rpcUrl, chainId, { ...options, batchMaxCount: 50, batchStallTime: 20 });
  const posted = [];
  batching.on('debug', ({ action, payload }) => action === 'sendRpcPayload' && posted.push(payload));
  const [genesis, balance, code, ...missing] = await Promise.all([
    batching.getBlock(0), batching.getBalance(vault.target), batching.getCode(vault.target),
    batching.getTransaction(keccak256('0x01')), batching.getTransactionReceipt(keccak256('0x02')), batching.getBlock(keccak256('0x03')),
  ]);
  assert.deepEqual(posted.map(({ length }) => length), [6]);
  assert.deepEqual([genesis.number, balance, missing], [0, 500n, [null, null, null]]);
  assert.ok(code.length > 1_000);
  batching.destroy();
});
