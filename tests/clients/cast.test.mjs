// Foundry's cast, with contracts compiled by Vyper and solc, against a running node.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Wallet } from 'ethers';
import { accountOf, chainId, compiled, gwei, mnemonic, rpc, rpcUrl, word } from './support.mjs';

const binary = process.env.CAST ?? fileURLToPath(new URL('node_modules/.bin/cast', import.meta.url));
const run = promisify(execFile);
const stranger = () => Wallet.createRandom().address;

/** The output of `cast ARGUMENTS`; an error carries what it printed. */
async function cast(...args) {
  const env = { ...process.env, ETH_RPC_URL: rpcUrl, NO_COLOR: '1', FOUNDRY_DISABLE_NIGHTLY_WARNING: '1' };
  return (await run(binary, args.map(String), { env, maxBuffer: 2 ** 24 })).stdout.trim();
}

const json = async (command, ...args) => JSON.parse(await cast(command, '--json', ...args));
const failure = (...args) => cast(...args).then(() => assert.fail('not refused'), ({ stderr }) => stderr);
/** A number as cast prints it: `1000000 [1e6]`. */
const number = async (...args) => BigInt((await cast(...args)).split(' ')[0]);

let account;
let key;
let token;
let vault;
const send = (...args) => json('send', '--private-key', key, ...args);

async function deploy(name, value, signature, ...args) {
  const { bytecode } = compiled(name);
  const receipt = await send('--value', value, '--create', bytecode, signature, ...args);
  assert.equal(receipt.status, '0x1');
  return receipt.contractAddress;
}

before(async () => {
  key = await cast('wallet', 'private-key', mnemonic, accountOf.cast);
  account = await cast('wallet', 'address', key);
  token = await deploy('Token', 0, 'constructor(string,uint256)', 'Quint', 1_000_000);
  vault = await deploy('Vault', 500, 'constructor(address,uint256)', account, 7);
});

it('connects', async () => {
  assert.equal(account, '0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65');
  assert.equal(await cast('chain-id'), String(chainId));
  assert.equal(await cast('rpc', 'net_version'), `"${chainId}"`);
  assert.match(await cast('client'), /\//);
  const { number: latest, hash, baseFeePerGas } = await json('block', 'latest');
  assert.equal(await cast('block-number'), String(BigInt(latest)));
  assert.equal(await cast('block', hash, '--field', 'number'), String(BigInt(latest)));
  assert.equal(await number('base-fee'), BigInt(baseFeePerGas));
  assert.ok((await number('gas-price')) >= BigInt(baseFeePerGas));
});

describe('transactions', () => {
  const accessList = JSON.stringify([{ address: `0x${'11'.repeat(20)}`, storageKeys: [word(0x22n)] }]);
  for (const [name, type, flags] of [
    ['legacy', '0x0', ['--legacy', '--gas-price', 3n * gwei]],
    ['EIP-2930', '0x1', ['--legacy', '--gas-price', 3n * gwei, '--access-list', accessList]],
    ['EIP-1559', '0x2', ['--gas-price', 5n * gwei, '--priority-gas-price', gwei]],
  ]) {
    it(`${name} moves ether`, async () => {
      const [to, before, nonce] = [stranger(), await number('balance', account), await number('nonce', account)];
      const receipt = await send(to, '--value', 12_345, ...flags);
      assert.deepEqual([receipt.status, receipt.type, receipt.from], ['0x1', type, account.toLowerCase()]);
      assert.equal(BigInt(receipt.gasUsed), type === '0x1' ? 25_300n : 21_000n);
      assert.equal(await number('balance', to), 12_345n);
      const fee = BigInt(receipt.gasUsed) * BigInt(receipt.effectiveGasPrice);
      assert.equal(await number('balance', account), before - 12_345n - fee);
      assert.equal(await number('nonce', account), nonce + 1n);
      assert.equal((await json('tx', receipt.transactionHash)).type, type);
      assert.equal(await cast('receipt', receipt.transactionHash, 'blockHash'), receipt.blockHash);
    });
  }

  for (const [name, flags] of [['cell proofs (EIP-7594)', []], ['a blob proof, which the node turns into cell proofs', ['--eip4844']]]) {
    it(`EIP-4844 carries a blob with ${name}`, async () => {
      const folder = await mkdtemp(join(tmpdir(), 'quintet-cast-'));
      try {
        const path = join(folder, 'blob');
        await writeFile(path, 'quintet');
        const receipt = await send(stranger(), '--blob', ...flags, '--path', path, '--blob-gas-price', gwei, '--gas-limit', 21_000);
        assert.deepEqual([receipt.status, receipt.type, BigInt(receipt.blobGasUsed)], ['0x1', '0x3', 131_072n]);
        const { blobVersionedHashes } = await json('tx', receipt.transactionHash);
        assert.match(blobVersionedHashes.join(), /^0x01[0-9a-f]{62}$/);
      } finally {
        await rm(folder, { recursive: true });
      }
    });
  }

  it('EIP-7702 gives an account code', async () => {
    const delegator = Wallet.createRandom();
    const authorization = await cast('wallet', 'sign-auth', vault, '--private-key', delegator.privateKey, '--nonce', 0, '--chain', chainId);
    const receipt = await send(delegator.address, 'increment()', '--auth', authorization, '--gas-limit', 200_000);
    assert.deepEqual([receipt.status, receipt.type], ['0x1', '0x4']);
    assert.equal(await cast('code', delegator.address), `0xef0100${vault.slice(2).toLowerCase()}`);
    assert.equal(await number('call', delegator.address, 'count()(uint256)'), 1n);
    assert.equal(await cast('storage', delegator.address, 3), word(1n));
  });

  it('sends from an unlocked account', async () => {
    const [unlocked, to] = [(await rpc('eth_accounts'))[accountOf.unlocked], stranger()];
    const receipt = await json('send', '--unlocked', '--from', unlocked, to, '--value', 3);
    assert.deepEqual([receipt.status, receipt.from, await number('balance', to)], ['0x1', unlocked.toLowerCase(), 3n]);
  });

  it("is refused in geth's words", async () => {
    const nonce = await number('nonce', account);
    const sending = (...flags) => failure('send', '--private-key', key, stranger(), '--gas-limit', 21_000, ...flags);
    const tooLow = `code -32000: nonce too low: next nonce ${nonce}, tx nonce ${nonce - 1n}`;
    assert.ok((await sending('--nonce', nonce - 1n)).includes(tooLow));
    const overdraft = /code -32000: insufficient funds for gas \* price \+ value: balance \d+, tx cost \d+, overshot \d+/;
    assert.match(await sending('--value', 10n ** 30n), overdraft);
    assert.match(await sending('--chain', 1), /invalid sender: invalid chain id for signer: have 1 want 1337/);
  });

  it('publishes a transaction that was signed before', async () => {
    const to = stranger();
    const raw = await cast('mktx', '--private-key', key, to, '--value', 9);
    const { transactionHash } = await json('publish', raw);
    assert.equal(transactionHash, await cast('keccak', raw));
    assert.equal(await number('balance', to), 9n);
    assert.equal(await rpc('eth_getRawTransactionByHash', transactionHash), raw);
  });
});

describe('contracts', () => {
  it('deploys where the nonce says', async () => {
    const nonce = await number('nonce', account);
    const contract = await deploy('Vault', 1_000, 'constructor(address,uint256)', account, 42);
    assert.match(await cast('compute-address', account, '--nonce', nonce), new RegExp(contract, 'i'));
    assert.equal(await number('balance', contract), 1_000n);
    assert.equal(await number('call', contract, 'fee()(uint256)'), 42n);
    assert.equal(await cast('call', contract, 'owner()(address)'), account);
  });

  it('moves tokens, and reads the past', async () => {
    const to = stranger();
    const receipt = await send(token, 'transfer(address,uint256)', to, 250);
    const balance = (...flags) => number('call', token, 'balanceOf(address)(uint256)', to, ...flags);
    assert.deepEqual([await balance(), await balance('--block', BigInt(receipt.blockNumber) - 1n)], [250n, 0n]);
    const [{ topics, data }] = receipt.logs;
    assert.deepEqual(topics, [await cast('sig-event', 'Transfer(address,address,uint256)'), word(account), word(to)]);
    assert.equal(data, word(250n));
  });

  it('decodes reverts of calls and of estimates', async () => {
    const selector = (await cast('sig', 'InsufficientDeposit(uint256,uint256)')).slice(2);
    for (const command of ['call', 'estimate']) {
      const refused = (...call) => failure(command, ...call, '--from', stranger());
      assert.match(await refused(vault, 'setFee(uint256)', 1), /code 3: execution reverted: only the owner/);
      assert.match(await refused(token, 'transfer(address,uint256)', stranger(), 1), /code 3: execution reverted: insufficient balance/);
      assert.match(await refused(vault, 'withdraw(uint256)', 5), new RegExp(`code 3: execution reverted.*${selector}`, 's'));
      assert.match(await refused(vault, 'divide(uint256,uint256)', 1, 0), /code 3: execution reverted: division or modulo by zero/);
    }
  });

  it('estimates', async () => {
    assert.equal(await number('estimate', stranger(), '--value', 1, '--from', account), 21_000n);
    const estimate = await number('estimate', vault, 'deposit(string)', 'note', '--value', 5, '--from', account);
    const receipt = await send(vault, 'deposit(string)', 'note', '--value', 5, '--gas-limit', estimate);
    assert.equal(receipt.status, '0x1');
    assert.ok(BigInt(receipt.gasUsed) <= estimate && estimate < (BigInt(receipt.gasUsed) * 13n) / 10n);
    await send(vault, 'withdraw(uint256)', 5);
  });

  it('proves storage, makes access lists, overrides state', async () => {
    const proof = await json('proof', vault, 1);
    assert.deepEqual([BigInt(proof.balance), BigInt(proof.storageProof[0].value)], [500n, 7n]);
    assert.equal(await cast('keccak', proof.accountProof[0]), await cast('block', 'latest', '--field', 'stateRoot'));
    const [entry] = (await json('access-list', vault, 'fee()')).accessList;
    assert.deepEqual([entry.address.toLowerCase(), entry.storageKeys], [vault.toLowerCase(), [word(1n)]]);
    const override = ['--override-state-diff', `${vault}:${word(1n)}:${word(99n)}`];
    assert.equal(await number('call', vault, 'fee()(uint256)', ...override), 99n);
  });
});

it('queries logs', async () => {
  const receivers = [stranger(), stranger()];
  const receipts = [];
  for (const to of receivers) receipts.push(await send(token, 'transfer(address,uint256)', to, 11));
  const hashesOf = (items) => items.map(({ transactionHash }) => transactionHash);
  const logs = async (...query) =>
    hashesOf(await json('logs', '--address', token, '--from-block', BigInt(receipts[0].blockNumber), ...query));
  const event = 'Transfer(address indexed,address indexed,uint256)';
  const hashes = hashesOf(receipts);
  assert.deepEqual(await logs(event), hashes);
  assert.deepEqual(await logs(event, '', receivers[1]), [hashes[1]]);
  assert.deepEqual(await logs('--to-block', BigInt(receipts[0].blockNumber)), [hashes[0]]);
  assert.deepEqual(await logs('Approval(address indexed,address indexed,uint256)'), []);
});
