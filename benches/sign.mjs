// Signs transfers of a development network's accounts, before any clock runs.
//   sign.mjs FIRST_ACCOUNT END_ACCOUNT TRANSFERS_EACH RECIPIENTS
// Prints one raw transaction a line, account by account, nonces from 0.

import { createRequire } from "node:module";

const { HDNodeWallet, Transaction, getAddress, toBeHex } = createRequire(
  new URL("../tests/clients/package.json", import.meta.url),
)("ethers");

const PHRASE = "test test test test test test test test test test test junk";
const CHAIN_ID = 1337;
const GWEI = 1_000_000_000n;
// Far from precompiles and from the accounts that send.
const FIRST_RECIPIENT = 0x5eed_0000_0000n;

const [first, end, each, recipients] = process.argv.slice(2).map(Number);
const parent = HDNodeWallet.fromPhrase(PHRASE, "", "m/44'/60'/0'/0");
const lines = [];
for (let account = first; account < end; account++) {
  const { signingKey } = parent.deriveChild(account);
  for (let nonce = 0; nonce < each; nonce++) {
    const recipient = FIRST_RECIPIENT + BigInt((account * each + nonce) % recipients);
    const transaction = Transaction.from({
      type: 2,
      chainId: CHAIN_ID,
      nonce,
      to: getAddress(toBeHex(recipient, 20)),
      value: 1n,
      gasLimit: 21_000n,
      maxFeePerGas: 1_000n * GWEI,
      maxPriorityFeePerGas: GWEI,
    });
    transaction.signature = signingKey.sign(transaction.unsignedHash);
    lines.push(transaction.serialized);
  }
}
process.stdout.write(lines.join("\n") + "\n");
