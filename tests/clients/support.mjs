// What the JavaScript suites share: where the node is, accounts, contracts, plain JSON-RPC, a blob.
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export const rpcUrl = process.env.QUINTET_RPC_URL;
export const wsUrl = rpcUrl.replace('http', 'ws');
export const chainId = 1337;
export const mnemonic = 'test test test test test test test test test test test junk';
export const gwei = 10n ** 9n;
// The account that each suite sends from, by its index: suites do not disturb each other's nonces.
export const accountOf = { web3: 1, ethers: 2, viem: 3, cast: 4, wallet: 5, jsonrpc: 6, unlocked: 7 };

const contracts = Object.assign({}, ...process.env.QUINTET_CONTRACTS.split(':').map((path) => JSON.parse(readFileSync(path))));

/** The ABI and bytecode of `Token` (Vyper) or `Vault` (Solidity). */
export const compiled = (name) => contracts[name];

/** Posts a body to the node. */
export const post = (body, headers = {}) =>
  fetch(rpcUrl, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });

let lastId = 0;

/** One call; the whole answer, with `result` or `error`. */
export async function ask(method, ...params) {
  const id = ++lastId;
  const answer = await (await post({ jsonrpc: '2.0', id, method, params })).json();
  if (answer.jsonrpc !== '2.0' || answer.id !== id) throw new Error(`not an answer to ${id}: ${JSON.stringify(answer)}`);
  return answer;
}

/** One call that must succeed; its result. */
export async function rpc(method, ...params) {
  const { result, error } = await ask(method, ...params);
  if (error) throw new Error(`${method}: ${JSON.stringify(error)}`);
  return result;
}

/** Calls `probe` until it gives something that is neither null nor undefined nor false. */
export async function eventually(probe, what = 'it', seconds = 20) {
  for (const deadline = Date.now() + seconds * 1000; Date.now() < deadline; await sleep(20)) {
    const found = await probe();
    if (found !== null && found !== undefined && found !== false) return found;
  }
  throw new Error(`${what} did not happen in ${seconds} s`);
}

/** The receipt of a transaction, once it is there. */
export const receiptOf = (hash) => eventually(() => rpc('eth_getTransactionReceipt', hash), `receipt of ${hash}`);

/** 32 bytes, as a topic or a storage word. */
export const word = (value) =>
  `0x${(typeof value === 'string' ? value.slice(2).toLowerCase() : value.toString(16)).padStart(64, '0')}`;

/** A blob: `blob`, `commitment`, `proof` (EIP-4844), `cellProofs` (EIP-7594), `versionedHash`. */
export const sidecar = JSON.parse(readFileSync(process.env.QUINTET_SIDECAR));

/** Awaits; an error says what the node answered, not the blob that it was sent. */
export const brief = (promise) =>
  promise.catch((error) => {
    const said = error.error?.message ?? error.info?.error?.message ?? error.details ?? error.shortMessage ?? error.message;
    throw new Error(`refused: ${said.slice(0, 300)}`);
  });
