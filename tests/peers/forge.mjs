// Blocks that the suites make themselves: empty blocks of a clique network whose sealer's key they hold, good or bad as
// asked. No state changes, so every block has the genesis block's state root.
import { RLP } from '@ethereumjs/rlp';
import { bigIntToUnpaddedBytes, bytesToHex, concatBytes, hexToBytes, intToUnpaddedBytes } from '@ethereumjs/util';
import { keccak256 } from 'ethereum-cryptography/keccak.js';
import { secp256k1 } from 'ethereum-cryptography/secp256k1.js';
import { randomBytes } from 'node:crypto';
import { sealer } from './support.mjs';

const emptyList = keccak256(RLP.encode([]));
const emptyTrie = keccak256(RLP.encode(new Uint8Array()));
const zeros = (length) => new Uint8Array(length);

/** A header's fields, in the order of its RLP, with the seal of `key` in the extra data. */
function sealed(fields, key) {
  const unsealed = fields.with(12, fields[12].subarray(0, 32));
  const signature = secp256k1.sign(keccak256(RLP.encode(unsealed)), hexToBytes(`0x${key}`));
  const extra = concatBytes(fields[12].subarray(0, 32), signature.toCompactRawBytes(), Uint8Array.of(signature.recovery));
  return fields.with(12, extra);
}

const blockOf = (fields, number, time, baseFee) => {
  const hash = keccak256(RLP.encode(fields));
  return { fields, number, time, baseFee, hash, id: bytesToHex(hash) };
};

/** The genesis block, from what a node's JSON-RPC tells of it. */
export function genesisOf(block) {
  const { hash, stateRoot, gasLimit, timestamp, baseFeePerGas } = block;
  const number = (value) => bigIntToUnpaddedBytes(BigInt(value));
  const roots = [block.transactionsRoot, block.receiptsRoot, block.logsBloom];
  const text = [block.parentHash, block.sha3Uncles, block.miner, stateRoot, ...roots];
  const numbers = [block.difficulty, block.number, gasLimit, block.gasUsed, timestamp].map(number);
  const rest = [block.extraData, block.mixHash, block.nonce].map(hexToBytes);
  const fields = [...text.map(hexToBytes), ...numbers, ...rest, number(baseFeePerGas)];
  const genesis = blockOf(fields, 0n, BigInt(timestamp), BigInt(baseFeePerGas));
  if (genesis.id !== hash) throw new Error(`the genesis block ${hash} has another header: ${genesis.id}`);
  return { ...genesis, stateRoot: hexToBytes(stateRoot), gasLimit: BigInt(gasLimit) };
}

/** Puts random bytes in a header's place `field`. */
export const garbled = (field) => (fields) => fields.with(field, new Uint8Array(randomBytes(32)));
/** Places of a header's fields. */
export const field = { parent: 0, stateRoot: 3, transactionsRoot: 4, receiptsRoot: 5 };

/**
 * A chain of `length` blocks on `genesis`, which is its first element. `change` maps block numbers to what is done to the
 * fields before they are sealed; `key` seals from block `keyFrom` on, and the network's sealer before; `vanity` makes
 * chains different from each other.
 */
export function forge(genesis, length, { change = {}, key = sealer.key, keyFrom = 1, vanity = 0 } = {}) {
  const chain = [genesis];
  for (let count = 1; count <= length; count += 1) {
    const parent = chain.at(-1);
    const [number, time, baseFee] = [parent.number + 1n, parent.time + 2n, parent.baseFee - parent.baseFee / 8n];
    const fields = [
      parent.hash,
      emptyList,
      zeros(20),
      genesis.stateRoot,
      emptyTrie,
      emptyTrie,
      zeros(256),
      intToUnpaddedBytes(2),
      bigIntToUnpaddedBytes(number),
      bigIntToUnpaddedBytes(genesis.gasLimit),
      zeros(0),
      bigIntToUnpaddedBytes(time),
      concatBytes(new Uint8Array(32).fill(vanity), zeros(65)),
      zeros(32),
      zeros(8),
      bigIntToUnpaddedBytes(baseFee),
    ];
    const changed = change[count]?.(fields) ?? fields;
    chain.push(blockOf(sealed(changed, count < keyFrom ? sealer.key : key), number, time, baseFee));
  }
  return chain;
}

/** The total difficulty of a forged chain: one for the genesis block, two for each other. */
export const totalDifficulty = (chain) => 2n * chain.at(-1).number + 1n;
