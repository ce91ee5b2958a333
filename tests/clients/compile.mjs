// Compiles the Solidity contracts. Usage: compile.mjs SOURCE... > {"Name": {"abi": …, "bytecode": "0x…"}}
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import solc from 'solc';

const sources = Object.fromEntries(
  process.argv.slice(2).map((path) => [basename(path), { content: readFileSync(path, 'utf8') }]),
);
const output = JSON.parse(
  solc.compile(
    JSON.stringify({
      language: 'Solidity',
      sources,
      settings: {
        optimizer: { enabled: true },
        evmVersion: 'prague',
        outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object'] } },
      },
    }),
  ),
);
if (output.errors) {
  console.error(output.errors.map((error) => error.formattedMessage).join('\n'));
  process.exit(1);
}
const contracts = Object.values(output.contracts).flatMap(Object.entries);
const compiled = contracts.map(([name, { abi, evm }]) => [name, { abi, bytecode: `0x${evm.bytecode.object}` }]);
console.log(JSON.stringify(Object.fromEntries(compiled)));
