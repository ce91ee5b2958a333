"""The same chain content for both nodes, and the calls that read it."""

import dataclasses
import json
import time
from collections.abc import Callable

import contracts
from nodes import BenchError, Node, request

GWEI = 10**9
TRANSFERS = 1_400
"""Transfers in the large block: 29.4 of its 30 million gas."""
LOG_BLOCKS = 10
LOGS_PER_BLOCK = 5
"""Of each of the two tokens; one of them is asked for."""
ATTEMPTS = 5
RECEIPT_LIMIT = 20.0


@dataclasses.dataclass(frozen=True)
class Content:
    """Where the content is on a node."""

    holder: str
    token: str
    keccak: str
    fan_out: str
    recipient: str
    large_block: int
    first_log_block: int = 0


NUMBERED = "f0e1d2c3b4a59687"
"""What `wrk/repeat.lua` writes a number in place of: no two calls are alike, so none is answered with another's answer."""


@dataclasses.dataclass(frozen=True)
class Call:
    """A line of the table: its title, geth 1.8.27's requests a second, and what is sent.

    `gist` is what of a result must be the same on both nodes.
    """

    title: str
    geth: str
    method: str
    params: list
    gist: Callable = lambda result: result

    def body(self) -> str:
        return json.dumps(request(self.method, self.params))


def transaction(sender: str, nonce: int, gas: int, **fields) -> dict:
    """What `eth_sendTransaction` takes, complete, so that the node has nothing to look up."""
    quantities = {"nonce": nonce, "gas": gas, "maxFeePerGas": 1_000 * GWEI, "maxPriorityFeePerGas": GWEI}
    return {"from": sender, **{name: hex(value) for name, value in quantities.items()}, **fields}


def send(node: Node, *transactions: dict) -> list[dict]:
    """The receipts of transactions that are sealed together or one by one, all successful."""
    hashes = node.batch([("eth_sendTransaction", [each]) for each in transactions])
    node.seal()
    deadline = time.perf_counter() + RECEIPT_LIMIT
    while True:
        receipts = node.batch([("eth_getTransactionReceipt", [each]) for each in hashes])
        if all(receipts):
            break
        if time.perf_counter() > deadline:
            raise BenchError(f"{node.name} mined {len(list(filter(None, receipts)))} of {len(hashes)} transactions")
        time.sleep(0.01)
    failed = [each["transactionHash"] for each in receipts if each["status"] != "0x1"]
    if failed:
        raise BenchError(f"{node.name}: {failed[0]} failed")
    return receipts


def deploy(node: Node) -> Content:
    """Deploys the contracts and fills the large block."""
    accounts = node.rpc("eth_accounts")
    holder = accounts[0]
    codes = [
        contracts.init_code(contracts.TOKEN, contracts.TOKEN_CONSTRUCTOR),
        contracts.init_code(contracts.TOKEN, contracts.TOKEN_CONSTRUCTOR),
        contracts.init_code(contracts.KECCAK_LOOP),
    ]
    receipts = send(node, *(transaction(holder, nonce, 1_000_000, data=code) for nonce, code in enumerate(codes)))
    token, other, keccak = (receipt["contractAddress"] for receipt in receipts)
    code = contracts.init_code(contracts.fan_out([token, other], LOGS_PER_BLOCK))
    (receipt,) = send(node, transaction(holder, 3, 1_000_000, data=code))
    fan_out = receipt["contractAddress"]
    give = contracts.call_data(contracts.TRANSFER, int(fan_out, 16), 10**18)
    send(node, *(transaction(holder, 4 + index, 200_000, to=to, data=give) for index, to in enumerate([token, other])))
    large_block = fill_block(node, accounts[1:])
    return Content(holder, token, keccak, fan_out, recipient(TRANSFERS // 2), large_block)


def recipient(index: int) -> str:
    """The account that gets the large block's transfer `index`."""
    return f"0x{0xF00D_0000 + index:040x}"


def fill_block(node: Node, senders: list[str]) -> int:
    """The number of a block with `TRANSFERS` transfers, many from each sender."""
    for _ in range(ATTEMPTS):
        nonces = mined_nonces(node, senders)
        transfers = []
        for index in range(TRANSFERS):
            sender = index % len(senders)
            fields = {"to": recipient(index), "value": hex(10**15 + index)}
            transfers.append(transaction(senders[sender], nonces[sender], 21_000, **fields))
            nonces[sender] += 1
        node.next_block()
        first = node.head() + 1
        for start in range(0, TRANSFERS, 200):
            node.batch([("eth_sendTransaction", [each]) for each in transfers[start : start + 200]])
        node.seal()
        for number in range(first, await_mined(node, senders, nonces) + 1):
            count = int(node.rpc("eth_getBlockTransactionCountByNumber", hex(number)), 16)
            if count == TRANSFERS:
                return number
    raise BenchError(f"{node.name} put {TRANSFERS} transfers into no one block in {ATTEMPTS} attempts")


def mined_nonces(node: Node, senders: list[str]) -> list[int]:
    """The next nonce of each sender at the head."""
    results = node.batch([("eth_getTransactionCount", [each, "latest"]) for each in senders])
    return [int(each, 16) for each in results]


def await_mined(node: Node, senders: list[str], nonces: list[int]) -> int:
    """The head, when every sender's nonce has come to the one given."""
    deadline = time.perf_counter() + RECEIPT_LIMIT
    while time.perf_counter() < deadline:
        if mined_nonces(node, senders) == nonces:
            return node.head()
        time.sleep(0.02)
    raise BenchError(f"{node.name} did not mine the transfers it took")


def emit_logs(node: Node, content: Content) -> Content:
    """Adds blocks with logs, one transaction in each."""
    first = node.head() + 1
    (nonce,) = mined_nonces(node, [content.holder])
    for index in range(LOG_BLOCKS):
        (receipt,) = send(node, transaction(content.holder, nonce + index, 1_000_000, to=content.fan_out, data="0x"))
        if (int(receipt["blockNumber"], 16), len(receipt["logs"])) != (first + index, 2 * LOGS_PER_BLOCK):
            raise BenchError(f"{node.name}: unexpected logs in block {receipt['blockNumber']}")
    return dataclasses.replace(content, first_log_block=first)


def calls(node: Node, content: Content) -> list[Call]:
    """The calls that are measured."""
    holder = int(content.holder, 16)
    slot = node.rpc("web3_sha3", f"0x{holder:064x}{0:064x}")
    balance_of = {"to": content.token, "data": contracts.call_data(contracts.BALANCE_OF, holder) + NUMBERED}
    keccak = {"to": content.keccak, "data": "0x" + NUMBERED}
    large = hex(content.large_block)
    logs = {
        "fromBlock": hex(content.first_log_block),
        "toBlock": hex(content.first_log_block + LOG_BLOCKS - 1),
        "address": content.token,
        "topics": [contracts.TRANSFER_EVENT],
    }
    full = f"`eth_getBlockByNumber`, {TRANSFERS:,} transactions"
    return [
        Call("`eth_blockNumber`", "71,000", "eth_blockNumber", [], lambda head: int(head, 16) > LOG_BLOCKS),
        Call("`eth_getBalance`", "44,000", "eth_getBalance", [content.recipient, "latest"], is_positive),
        Call("`eth_getStorageAt`", "38,000", "eth_getStorageAt", [content.token, slot, "latest"]),
        Call("`eth_call`, a token's balanceOf", "20,400", "eth_call", [balance_of, "latest"]),
        Call("`eth_call`, a loop of 1,000 keccaks", "1,090", "eth_call", [keccak, "latest"]),
        Call(f"{full}, hashes", "4,500", "eth_getBlockByNumber", [large, False], count_transactions),
        Call(f"{full}, full", "139", "eth_getBlockByNumber", [large, True], count_transactions),
        Call(f"`eth_getLogs`, {LOG_BLOCKS} blocks, one address and topic", "8,000", "eth_getLogs", [logs], log_data),
    ]


def is_positive(wei: str) -> bool:
    return int(wei, 16) > 0


def count_transactions(block: dict) -> int:
    return len(block["transactions"])


def log_data(logs: list[dict]) -> list:
    return [(log["topics"], log["data"]) for log in logs]
