// A chain with real proofs of work, made by others: the first blocks of the vectors' 3,000.
import { RLP } from '@ethereumjs/rlp';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { scratch } from './support.mjs';

const vectors = process.env.QUINTET_VECTORS ?? fileURLToPath(new URL('../../../shared/vectors', import.meta.url));
const archive = join(vectors, '14-chains-gpl.tar.zst');
const folder = '14-chains-gpl/hive-simplechain';

/** The genesis block, and a file of the first `length` blocks; nothing, and the test is skipped, where there are no vectors. */
export function chainOf(test, length) {
  if (!existsSync(archive)) {
    test.skip(`no vectors at ${archive}: set QUINTET_VECTORS`);
    return undefined;
  }
  const directory = scratch(test);
  execFileSync('tar', ['--zstd', '-xf', archive, '-C', directory, folder]);
  const read = (name) => readFileSync(join(directory, folder, name));
  let rest = new Uint8Array(read('chain.rlp'));
  const blocks = [];
  while (blocks.length < length) {
    const { data, remainder } = RLP.decode(rest, true);
    blocks.push(RLP.encode(data));
    rest = remainder;
  }
  const file = join(directory, 'blocks.rlp');
  writeFileSync(file, Buffer.concat(blocks));
  return { genesis: JSON.parse(read('genesis.json')), file, length };
}
