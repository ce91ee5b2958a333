// viem, with contracts compiled by Vyper and solc, against a running node.
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import {
  ContractFunctionRevertedError, EstimateGasExecutionError, NonceTooLowError, InsufficientFundsError, createPublicClient,
  createWalletClient, defineChain, encodeFunctionData, getAddress, getContractAddress, http, keccak256, parseTransaction,
  recoverMessageAddress, toEventSelector, webSocket,
} from 'viem';
import { generatePrivateKey, mnemonicToAccount, privateKeyToAccount } from 'viem/accounts';
import { accountOf, brief, chainId, compiled, eventually, gwei, mnemonic, post, rpcUrl, sidecar, word, wsUrl } from './support.mjs';

const chain = defineChain({
  id: chainId,
  name: 'quintet dev',
  nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
  rpcUrls: { default: { http: [rpcUrl], webSocket: [wsUrl] } },
});
const settings = { chain, pollingInterval: 50, cacheTime: 0 };
const node = createPublicClient({ ...settings, transport: http() });
const account = mnemonicToAccount(mnemonic, { addressIndex: accountOf.viem });
const wallet = createWalletClient({ ...settings, account, transport: http() });
const newAccount = () => privateKeyToAccount(generatePrivateKey());
const stranger = () => newAccount().address;
const unlockedAccounts = async () => (await node.request({ method: 'eth_accounts' })).map((address) => getAddress(address));
const mined = async (hash) => node.waitForTransactionReceipt({ hash: await hash });
const send = (transaction) => mined(brief(wallet.sendTransaction(transaction)));

/** The error of `kind` among the causes of the failure of a promise. */
const cause = async (kind, promise) => {
  const error = await promise.then(() => assert.fail('not refused'), (error) => error);
  return error.walk((cause) => cause instanceof kind) ?? assert.fail(`no ${kind.name}: ${error.message}`);
};

async function deploy(name, args, value) {
  const { abi, bytecode } = compiled(name);
  const receipt = await mined(wallet.deployContract({ abi, bytecode, args, value }));
  assert.equal(receipt.status, 'success');
  return { abi, address: receipt.contractAddress.toLowerCase() };
}

let token;
let vault;
const read = (contract, functionName, args = [], more = {}) => node.readContract({ ...contract, functionName, args, ...more });
const write = (contract, functionName, args, more) => mined(wallet.writeContract({ ...contract, functionName, args, ...more }));

before(async () => {
  token = await deploy('Token', ['Quint', 1_000_000n]);
  vault = await deploy('Vault', [account.address, 7n], 500n);
});

it('connects', async () => {
  assert.equal(await node.getChainId(), chainId);
  assert.equal(account.address, '0x90F79bf6EB2c4f870365E785982E1f101E93b906');
  assert.ok((await unlockedAccounts()).includes(account.address));
  const block = await node.getBlock();
  assert.ok((await node.getGasPrice()) >= block.baseFeePerGas);
  assert.equal((await node.getBlock({ blockTag: 'pending' })).number, block.number + 1n);
});

describe('transactions', () => {
  const accessList = [{ address: `0x${'11'.repeat(20)}`, storageKeys: [`0x${'22'.repeat(32)}`] }];
  for (const [type, typeHex, fees] of [
    ['legacy', '0x0', { gasPrice: 3n * gwei }],
    ['eip2930', '0x1', { gasPrice: 3n * gwei, accessList }],
    ['eip1559', '0x2', { maxFeePerGas: 5n * gwei, maxPriorityFeePerGas: gwei }],
  ]) {
    it(`${type} moves ether`, async () => {
      const [to, before] = [stranger(), await node.getBalance(account)];
      const nonce = await node.getTransactionCount(account);
      const receipt = await send({ type, to, value: 12_345n, ...fees });
      assert.deepEqual([receipt.status, receipt.type], ['success', type]);
      assert.equal(receipt.gasUsed, type === 'eip2930' ? 25_300n : 21_000n);
      assert.equal(await node.getBalance({ address: to }), 12_345n);
      assert.equal(await node.getBalance(account), before - 12_345n - receipt.gasUsed * receipt.effectiveGasPrice);
      assert.equal(await node.getTransactionCount(account), nonce + 1);
      const found = await node.getTransaction({ hash: receipt.transactionHash });
      assert.deepEqual([found.typeHex, found.nonce, found.value, found.chainId], [typeHex, nonce, 12_345n, chainId]);
      assert.deepEqual([found.blockHash, found.transactionIndex], [receipt.blockHash, 0]);
      assert.equal(await node.getTransactionConfirmations({ transactionReceipt: receipt }), 1n);
    });
  }

  it('eip4844 carries a blob; viem sends its proof as before EIP-7594', async () => {
    const { blob, commitment, proof, versionedHash } = sidecar;
    const signed = await wallet.signTransaction(await wallet.prepareTransactionRequest({
      type: 'eip4844', to: stranger(), blobs: [blob], blobVersionedHashes: [versionedHash],
      sidecars: [{ blob, commitment, proof }], maxFeePerBlobGas: gwei, gas: 21_000n, maxFeePerGas: 5n * gwei, maxPriorityFeePerGas: gwei,
      parameters: ['nonce', 'chainId'],
    }));
    assert.equal(parseTransaction(signed).sidecars.length, 1);
    const receipt = await mined(brief(node.sendRawTransaction({ serializedTransaction: signed })));
    assert.deepEqual([receipt.status, receipt.type, receipt.blobGasUsed], ['success', 'eip4844', 131_072n]);
    const found = await node.getTransaction({ hash: receipt.transactionHash });
    assert.deepEqual([found.blobVersionedHashes, found.maxFeePerBlobGas], [[versionedHash], gwei]);
    assert.ok((await node.getBlobBaseFee()) >= 1n);
  });

  it('eip7702 gives an account code', async () => {
    const delegator = newAccount();
    const authorization = await wallet.signAuthorization({ account: delegator, contractAddress: vault.address });
    const data = encodeFunctionData({ abi: vault.abi, functionName: 'increment' });
    const receipt = await send({ to: delegator.address, data, authorizationList: [authorization] });
    assert.deepEqual([receipt.status, receipt.type], ['success', 'eip7702']);
    assert.equal(await node.getCode(delegator), `0xef0100${vault.address.slice(2)}`);
    assert.equal((await node.getDelegation(delegator)).toLowerCase(), vault.address);
    assert.equal(await read({ ...vault, address: delegator.address }, 'count'), 1n);
    const { authorizationList } = await node.getTransaction({ hash: receipt.transactionHash });
    assert.deepEqual(authorizationList.map(({ address, nonce }) => [address, nonce]), [[vault.address, 0]]);
  });

  it('sends and signs from an unlocked account', async () => {
    const [unlocked, to] = [(await unlockedAccounts())[accountOf.unlocked], stranger()];
    const receipt = await mined(wallet.sendTransaction({ account: unlocked, to, value: 3n }));
    assert.deepEqual([receipt.from, await node.getBalance({ address: to })], [unlocked.toLowerCase(), 3n]);
    const signature = await node.request({ method: 'eth_sign', params: [unlocked, '0x7175696e746574'] });
    assert.equal(await recoverMessageAddress({ message: 'quintet', signature }), unlocked);
    assert.equal(await wallet.signMessage({ account: unlocked, message: 'quintet' }), signature);
  });

  it("refuses in geth's words, which viem understands", async () => {
    const nonce = await node.getTransactionCount(account);
    const sending = (fields) => wallet.sendTransaction({ to: stranger(), value: 1n, gas: 21_000n, ...fields });
    await cause(NonceTooLowError, sending({ nonce: nonce - 1 }));
    await cause(InsufficientFundsError, sending({ account: newAccount(), nonce: 0 }));
    await cause(EstimateGasExecutionError, node.estimateGas({ account: stranger(), to: stranger(), value: 1n }));
  });
});

describe('contracts', () => {
  it('deploys where the nonce says', async () => {
    const nonce = await node.getTransactionCount(account);
    const contract = await deploy('Vault', [account.address, 42n], 1_000n);
    assert.equal(contract.address, getContractAddress({ from: account.address, nonce: BigInt(nonce) }).toLowerCase());
    assert.equal(await node.getStorageAt({ ...contract, slot: '0x1' }), word(42n));
    assert.equal(await read(contract, 'deposits', [account.address]), 1_000n);
  });

  it('simulates, writes, and reads now and in the past', async () => {
    const [to, before] = [stranger(), await read(token, 'balanceOf', [account.address])];
    const { result, request } = await node.simulateContract({ ...token, account, functionName: 'transfer', args: [to, 250n] });
    assert.equal(result, true);
    const receipt = await mined(wallet.writeContract(request));
    assert.deepEqual([await read(token, 'balanceOf', [to]), await read(token, 'balanceOf', [account.address])], [250n, before - 250n]);
    assert.equal(await read(token, 'balanceOf', [to], { blockNumber: receipt.blockNumber - 1n }), 0n);
  });

  it('decodes every kind of revert, of calls and of estimates', async () => {
    for (const run of [node.simulateContract, node.estimateContractGas]) {
      const revert = (contract, functionName, args, from = account) =>
        cause(ContractFunctionRevertedError, run({ ...contract, account: from, functionName, args }));
      assert.equal((await revert(vault, 'setFee', [1n], stranger())).reason, 'only the owner');
      assert.equal((await revert(token, 'transfer', [stranger(), 10n ** 30n])).reason, 'insufficient balance');
      assert.deepEqual((await revert(vault, 'withdraw', [501n])).data.args, [500n, 501n]);
      assert.deepEqual((await revert(vault, 'divide', [1n, 0n])).data.args, [0x12n]);
    }
  });

  it('reports a failed transaction', async () => {
    const receipt = await write(token, 'transfer', [stranger(), 10n ** 30n], { gas: 100_000n });
    assert.deepEqual([receipt.status, receipt.logs], ['reverted', []]);
  });

  it('estimates enough and little more', async () => {
    const gas = await node.estimateContractGas({ ...vault, account, functionName: 'deposit', args: ['note'], value: 5n });
    const receipt = await write(vault, 'deposit', ['note'], { value: 5n, gas });
    assert.equal(receipt.status, 'success');
    assert.ok(receipt.gasUsed <= gas && gas < (receipt.gasUsed * 13n) / 10n);
    const { gasUsed } = await write(vault, 'withdraw', [5n]);
    assert.ok(gasUsed > 21_000n);
  });

  it('overrides state', async () => {
    const [rich, override] = [stranger(), (more) => ({ stateOverride: [{ address: vault.address, ...more }] })];
    assert.equal(await read(vault, 'fee', [], override({ stateDiff: [{ slot: word(1n), value: word(99n) }] })), 99n);
    assert.equal(await read(vault, 'owner', [], override({ state: [{ slot: word(1n), value: word(99n) }] })), `0x${'0'.repeat(40)}`);
    assert.equal(await read(vault, 'fee'), 7n);
    const data = encodeFunctionData({ ...vault, functionName: 'deposit', args: [''] });
    const call = { account: rich, to: vault.address, value: 5n, data };
    await cause(InsufficientFundsError, node.call(call));
    await node.call({ ...call, stateOverride: [{ address: rich, balance: 10n }] });
    await node.estimateGas({ ...call, stateOverride: [{ address: rich, balance: gwei ** 2n }] });
    // SELFBALANCE, MSTORE, RETURN
    const answer = await node.call({ to: rich, stateOverride: [{ address: rich, code: '0x4760005260206000f3', balance: 77n }] });
    assert.equal(answer.data, word(77n));
  });

  it('makes access lists, proofs and fee histories', async () => {
    const data = encodeFunctionData({ ...token, functionName: 'transfer', args: [stranger(), 3n] });
    const { accessList, gasUsed } = await node.createAccessList({ account, to: token.address, data });
    const receipt = await send({ type: 'eip2930', to: token.address, data, accessList });
    assert.deepEqual([receipt.status, receipt.gasUsed], ['success', gasUsed]);
    const proof = await node.getProof({ address: vault.address, storageKeys: [word(1n)] });
    assert.deepEqual([proof.balance, proof.nonce, proof.storageProof[0].value], [500n, 1, 7n]);
    assert.equal(keccak256(proof.accountProof[0]), (await node.getBlock()).stateRoot);
    const { baseFeePerGas, reward } = await node.getFeeHistory({ blockCount: 3, rewardPercentiles: [10, 90] });
    assert.deepEqual([baseFeePerGas.length, reward.length, reward[0].length], [4, 3, 2]);
    const { maxFeePerGas, maxPriorityFeePerGas } = await node.estimateFeesPerGas();
    assert.ok(maxFeePerGas >= maxPriorityFeePerGas + (await node.getBlock()).baseFeePerGas);
  });
});

describe('events', () => {
  it('queries logs by event, arguments and range', async () => {
    const receivers = [stranger(), stranger()];
    const blocks = [];
    for (const to of receivers) blocks.push((await write(token, 'transfer', [to, 11n])).blockNumber);
    const query = async (args, fromBlock = blocks[0]) => {
      const found = await node.getContractEvents({ ...token, eventName: 'Transfer', args, fromBlock, toBlock: blocks[1] });
      return found.map((log) => log.args.receiver);
    };
    assert.deepEqual(await query({}), receivers);
    assert.deepEqual(await query({ receiver: receivers }), receivers);
    assert.deepEqual(await query({ receiver: receivers[1] }), [receivers[1]]);
    assert.deepEqual(await query({ sender: receivers[1] }), []);
    assert.deepEqual(await query({}, blocks[1]), [receivers[1]]);
    const { hash: blockHash } = await node.getBlock({ blockNumber: blocks[0] });
    const [log] = await node.getLogs({ blockHash, address: token.address });
    assert.deepEqual(log.topics, [toEventSelector('Transfer(address,address,uint256)'), word(account.address), word(receivers[0])]);
    assert.deepEqual([log.data, log.logIndex, log.transactionIndex, log.removed], [word(11n), 0, 0, false]);
  });

  it('polls filters', async () => {
    const to = stranger();
    const blocks = await node.createBlockFilter();
    const pending = await node.createPendingTransactionFilter();
    const transfers = await node.createContractEventFilter({ ...token, eventName: 'Transfer', args: { receiver: to } });
    const receipt = await write(token, 'transfer', [to, 5n]);
    const changes = (filter) => node.getFilterChanges({ filter });
    assert.ok((await changes(blocks)).includes(receipt.blockHash));
    assert.ok((await changes(pending)).includes(receipt.transactionHash));
    assert.deepEqual((await changes(transfers)).map((log) => log.args.value), [5n]);
    assert.deepEqual(await changes(transfers), []);
    for (const filter of [blocks, pending, transfers]) assert.equal(await node.uninstallFilter({ filter }), true);
    await assert.rejects(changes(blocks), /filter not found/);
  });

  it('subscribes over a WebSocket', async () => {
    const socket = createPublicClient({ ...settings, transport: webSocket(wsUrl, { reconnect: false }) });
    const [to, heads, hashes, transfers] = [stranger(), [], [], []];
    const onError = (error) => assert.fail(error.message);
    const stops = [
      socket.watchBlocks({ onBlock: (block) => heads.push(block.hash), onError }),
      socket.watchPendingTransactions({ onTransactions: (found) => hashes.push(...found), onError }),
      socket.watchContractEvent({
        ...token, eventName: 'Transfer', args: { receiver: to }, onLogs: (found) => transfers.push(...found), onError,
      }),
    ];
    assert.equal(await socket.getChainId(), chainId);
    const receipt = await write(token, 'transfer', [to, 8n]);
    await eventually(() => heads.includes(receipt.blockHash), 'newHeads');
    await eventually(() => hashes.includes(receipt.transactionHash), 'newPendingTransactions');
    const [log] = await eventually(() => transfers.length > 0 && transfers, 'logs');
    assert.deepEqual([log.args.value, log.transactionHash], [8n, receipt.transactionHash]);
    stops.forEach((stop) => stop());
    (await socket.transport.getRpcClient()).close();
  });
});

it('batches', async () => {
  const sizes = [];
  const request = async (body) => {
    sizes.push(body.length);
    return (await post(body)).json();
  };
  const fetchFn = async (_, { body }) => Response.json(await request(JSON.parse(body)));
  const batching = createPublicClient({ ...settings, transport: http(rpcUrl, { batch: { wait: 20 }, fetchFn }) });
  const [genesis, balance, code, fee, missing] = await Promise.all([
    batching.getBlock({ blockTag: 'earliest' }), batching.getBalance(vault), batching.getCode(vault),
    batching.readContract({ ...vault, functionName: 'fee' }),
    batching.getTransaction({ hash: keccak256('0x01') }).catch(({ name }) => name),
  ]);
  assert.deepEqual([sizes, genesis.number, balance, fee, missing], [[5], 0n, 500n, 7n, 'TransactionNotFoundError']);
  assert.ok(code.length > 1_000);
});
