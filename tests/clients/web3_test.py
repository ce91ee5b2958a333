"""web3.py, with contracts compiled by Vyper and solc, against a running node."""

import asyncio

import pytest
import rlp
from conftest import WS_URL
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_utils import keccak, to_bytes
from hexbytes import HexBytes
from trie import HexaryTrie
from web3 import AsyncWeb3, Web3, WebSocketProvider
from web3.exceptions import ContractCustomError, ContractLogicError, ContractPanicError, Web3RPCError
from web3.logs import DISCARD

GWEI = 10**9
TRANSFER = keccak(text="Transfer(address,address,uint256)")
pytestmark = pytest.mark.timeout(60)


def stranger():
    return Account.create().address


def word(value):
    return "0x" + to_bytes(hexstr=value).rjust(32, b"\0").hex() if isinstance(value, str) else f"0x{value:064x}"


def data_of(function):
    return function._encode_transaction_data()


# Connection and chain

def test_connection(w3, account):
    assert w3.is_connected()
    assert w3.eth.chain_id == 1337
    assert w3.net.version == "1337"
    assert w3.net.listening in (True, False)
    assert w3.net.peer_count == 0
    assert w3.eth.syncing is False
    assert "/" in w3.client_version
    assert account.address == "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
    assert account.address in w3.eth.accounts
    assert len(w3.eth.accounts) == 10
    assert w3.provider.make_request("web3_sha3", ["0x68656c6c6f"])["result"] == w3.keccak(text="hello").to_0x_hex()


def test_block_tags_agree(w3):
    genesis = w3.eth.get_block("earliest")
    assert genesis["number"] == 0 and genesis["parentHash"] == HexBytes(bytes(32))
    assert w3.eth.get_block(0)["hash"] == genesis["hash"] == w3.eth.get_block(genesis["hash"])["hash"]
    latest = w3.eth.get_block("latest")
    assert latest["number"] == w3.eth.block_number
    assert w3.eth.get_block("pending")["number"] == latest["number"] + 1
    for tag in ("safe", "finalized"):
        assert w3.eth.get_block(tag)["number"] <= latest["number"]


def test_block_hash_recomputes_from_the_header_fields(w3, send):
    block = w3.eth.get_block(send({"to": stranger(), "value": 1})["blockNumber"])
    fields = ["parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom",
              "difficulty", "number", "gasLimit", "gasUsed", "timestamp", "extraData", "mixHash", "nonce",
              "baseFeePerGas", "withdrawalsRoot", "blobGasUsed", "excessBlobGas", "parentBeaconBlockRoot", "requestsHash"]
    values = [to_bytes(hexstr=block[name]) if isinstance(block[name], str) else block[name] for name in fields]
    assert keccak(rlp.encode([bytes(value) if isinstance(value, HexBytes) else value for value in values])) == block["hash"]


def test_uncles_and_counts(w3, send):
    receipt = send({"to": stranger(), "value": 1})
    block = w3.eth.get_block(receipt["blockNumber"])
    assert block["uncles"] == [] and block["transactions"] == [receipt["transactionHash"]]
    for kind, identifier in (("Number", hex(receipt["blockNumber"])), ("Hash", receipt["blockHash"].to_0x_hex())):
        def ask(method, *parameters):
            return w3.provider.make_request(method, [identifier, *parameters])["result"]

        assert ask(f"eth_getUncleCountByBlock{kind}") == "0x0"
        assert ask(f"eth_getUncleByBlock{kind}AndIndex", "0x0") is None
        assert ask(f"eth_getBlockTransactionCountBy{kind}") == "0x1"


# Transactions

@pytest.mark.parametrize(("kind", "fields"), [
    (0, {"gasPrice": 3 * GWEI}),
    (1, {"gasPrice": 3 * GWEI, "accessList": [{"address": "0x" + "11" * 20, "storageKeys": ["0x" + "22" * 32]}]}),
    (2, {"maxFeePerGas": 5 * GWEI, "maxPriorityFeePerGas": GWEI}),
])
def test_transfer_of_each_fee_type(w3, account, send, kind, fields):
    receiver, nonce = stranger(), w3.eth.get_transaction_count(account.address)
    before = w3.eth.get_balance(account.address)
    receipt = send({"to": receiver, "value": 12_345, **fields})

    assert (receipt["status"], receipt["type"]) == (1, kind)
    assert receipt["gasUsed"] == 21_000 + (2_400 + 1_900 if kind == 1 else 0)
    assert receipt["cumulativeGasUsed"] == receipt["gasUsed"]
    assert (receipt["from"], receipt["to"], receipt["contractAddress"]) == (account.address, receiver, None)
    assert w3.eth.get_balance(receiver) == 12_345
    assert w3.eth.get_balance(account.address) == before - 12_345 - receipt["gasUsed"] * receipt["effectiveGasPrice"]
    assert w3.eth.get_balance(receiver, receipt["blockNumber"] - 1) == 0
    assert w3.eth.get_transaction_count(account.address) == nonce + 1

    base_fee = w3.eth.get_block(receipt["blockNumber"])["baseFeePerGas"]
    paid = fields.get("gasPrice") or min(fields["maxFeePerGas"], base_fee + fields["maxPriorityFeePerGas"])
    assert receipt["effectiveGasPrice"] == paid

    found = w3.eth.get_transaction(receipt["transactionHash"])
    assert (found["type"], found["nonce"], found["value"], found["chainId"]) == (kind, nonce, 12_345, 1337)
    assert (found["blockHash"], found["transactionIndex"]) == (receipt["blockHash"], 0)
    assert [dict(item) for item in found.get("accessList", [])] == fields.get("accessList", [])
    raw = w3.eth.get_raw_transaction(receipt["transactionHash"])
    assert keccak(raw) == receipt["transactionHash"]
    assert w3.eth.get_transaction_by_block(receipt["blockNumber"], 0)["hash"] == found["hash"]
    assert w3.eth.get_block_receipts(receipt["blockNumber"])[0]["transactionHash"] == found["hash"]


def test_fee_is_split_between_base_fee_and_miner(w3, send):
    receipt = send({"to": stranger(), "value": 1, "maxFeePerGas": 5 * GWEI, "maxPriorityFeePerGas": GWEI})
    block = w3.eth.get_block(receipt["blockNumber"])
    earned = w3.eth.get_balance(block["miner"], block["number"]) - w3.eth.get_balance(block["miner"], block["number"] - 1)
    assert earned == 21_000 * (receipt["effectiveGasPrice"] - block["baseFeePerGas"]) > 0


def test_blob_transaction_with_cell_proofs(w3, account, send):
    blob = b"\0" + b"web3.py".ljust(31, b"\0") + bytes(4095 * 32)
    receipt = send(
        {"to": stranger(), "value": 5, "gas": 21_000, "type": 3, "maxFeePerBlobGas": GWEI,
         "maxFeePerGas": 5 * GWEI, "maxPriorityFeePerGas": GWEI},
        blobs=[blob],
    )
    assert (receipt["status"], receipt["type"], receipt["blobGasUsed"]) == (1, 3, 131_072)
    assert receipt["blobGasPrice"] >= 1
    found = w3.eth.get_transaction(receipt["transactionHash"])
    [versioned_hash] = found["blobVersionedHashes"]
    assert versioned_hash[0] == 1 and len(versioned_hash) == 32
    assert found["maxFeePerBlobGas"] == GWEI and "blobs" not in found
    assert w3.eth.get_block(receipt["blockNumber"])["blobGasUsed"] == 131_072
    assert w3.eth.blob_base_fee >= 1


def test_delegation(w3, account, vault, send):
    delegator = Account.create()
    authorization = delegator.sign_authorization({"chainId": 1337, "address": vault.address, "nonce": 0})
    receipt = send({"to": delegator.address, "gas": 200_000, "data": data_of(vault.functions.increment()),
                    "authorizationList": [authorization], "maxFeePerGas": 5 * GWEI, "maxPriorityFeePerGas": GWEI})
    assert (receipt["status"], receipt["type"]) == (1, 4)
    assert w3.eth.get_code(delegator.address) == b"\xef\x01\x00" + bytes.fromhex(vault.address[2:])
    assert w3.eth.get_transaction_count(delegator.address) == 1
    assert int(w3.eth.get_storage_at(delegator.address, 3).hex(), 16) == 1
    [listed] = w3.eth.get_transaction(receipt["transactionHash"])["authorizationList"]
    assert (listed["address"], listed["chainId"], listed["nonce"]) == (vault.address, 1337, 0)


def test_unlocked_account_sends_and_signs(w3):
    unlocked, receiver = w3.eth.accounts[7], stranger()
    sent = w3.eth.send_transaction({"from": unlocked, "to": receiver, "value": 99})
    receipt = w3.eth.wait_for_transaction_receipt(sent, timeout=20, poll_latency=0.02)
    assert (receipt["status"], receipt["from"], receipt["type"]) == (1, unlocked, 2)
    assert w3.eth.get_balance(receiver) == 99
    signature = w3.eth.sign(unlocked, text="quintet")
    assert Account.recover_message(encode_defunct(text="quintet"), signature=signature) == unlocked


# Contracts

def test_deployment(w3, account, deploy):
    nonce = w3.eth.get_transaction_count(account.address)
    deployed = deploy("Vault", account.address, 42, value=1_000)
    address = "0x" + keccak(rlp.encode([bytes.fromhex(account.address[2:]), nonce]))[12:].hex()
    assert deployed.contract.address == Web3.to_checksum_address(address)
    assert deployed.receipt["to"] is None
    assert w3.eth.get_balance(address := deployed.contract.address) == 1_000
    assert len(w3.eth.get_code(address)) > 500
    assert w3.eth.get_code(address, deployed.receipt["blockNumber"] - 1) == b""
    assert deployed.contract.functions.fee().call() == 42 == int(w3.eth.get_storage_at(address, 1).hex(), 16)
    assert deployed.contract.functions.deposits(account.address).call() == 1_000


def test_vyper_token_moves_and_logs(w3, account, token, send):
    receiver, before = stranger(), token.functions.balanceOf(account.address).call()
    assert token.functions.name().call() == "Quint"
    receipt = send({"to": token.address, "data": data_of(token.functions.transfer(receiver, 250))})
    assert token.functions.balanceOf(receiver).call() == 250
    assert token.functions.balanceOf(account.address).call() == before - 250
    assert token.functions.balanceOf(receiver).call(block_identifier=receipt["blockNumber"] - 1) == 0
    [log] = receipt["logs"]
    assert log["topics"] == [TRANSFER, HexBytes(word(account.address)), HexBytes(word(receiver))]
    assert int(log["data"].hex(), 16) == 250 and log["removed"] is False
    [event] = token.events.Transfer().process_receipt(receipt, errors=DISCARD)
    assert event["args"] == {"sender": account.address, "receiver": receiver, "value": 250}


def test_revert_reasons(w3, account, token, vault):
    poor = {"from": stranger()}
    with pytest.raises(ContractLogicError, match="execution reverted: insufficient balance"):
        token.functions.transfer(account.address, 1).call(poor)
    with pytest.raises(ContractLogicError, match="execution reverted: only the owner"):
        vault.functions.setFee(1).call(poor)
    with pytest.raises(ContractCustomError) as custom:
        vault.functions.withdraw(10).call(poor)
    selector = keccak(text="InsufficientDeposit(uint256,uint256)")[:4].hex()
    assert custom.value.data == "0x" + selector + word(0)[2:] + word(10)[2:]
    with pytest.raises(ContractPanicError, match="0x12|[Dd]ivision"):
        vault.functions.divide(1, 0).call()
    answer = w3.provider.make_request("eth_call", [{"to": vault.address, "data": data_of(vault.functions.divide(1, 0))}, "latest"])
    assert answer["error"] == {"code": 3, "message": "execution reverted: division or modulo by zero",
                               "data": "0x4e487b71" + word(0x12)[2:]}
    with pytest.raises(ContractLogicError):
        vault.functions.refuse().call()


def test_failed_transaction_has_a_receipt(account, token, send):
    receipt = send({"to": token.address, "gas": 100_000, "data": data_of(token.functions.transfer(stranger(), 10**30))})
    assert (receipt["status"], receipt["logs"]) == (0, [])
    assert 21_000 < receipt["gasUsed"] < 100_000


def test_estimates(w3, account, token, vault, send):
    assert w3.eth.estimate_gas({"from": account.address, "to": stranger(), "value": 1}) == 21_000
    move = {"to": token.address, "data": data_of(token.functions.transfer(stranger(), 1))}
    estimate = w3.eth.estimate_gas({"from": account.address, **move})
    receipt = send({**move, "gas": estimate})
    assert receipt["status"] == 1 and receipt["gasUsed"] <= estimate <= receipt["gasUsed"] * 1.3
    with pytest.raises(ContractLogicError, match="execution reverted: only the owner"):
        vault.functions.setFee(1).estimate_gas({"from": stranger()})
    with pytest.raises(ContractCustomError):
        vault.functions.withdraw(10**20).estimate_gas({"from": account.address})


def test_state_overrides(w3, token, vault):
    assert w3.eth.call({"to": vault.address, "data": data_of(vault.functions.fee())}, "latest",
                       {vault.address: {"stateDiff": {word(1): word(4_242)}}}) == bytes.fromhex(word(4_242)[2:])
    assert vault.functions.fee().call() == 7
    rich = stranger()
    answer = w3.eth.call({"from": rich, "to": vault.address, "value": 5, "data": data_of(vault.functions.deposit("x"))},
                         "latest", {rich: {"balance": hex(10)}})
    assert answer == b""
    # Code that answers its own balance: SELFBALANCE, MSTORE, RETURN.
    code = {rich: {"code": "0x4760005260206000f3", "balance": hex(77)}}
    assert int(w3.eth.call({"to": rich}, "latest", code).hex(), 16) == 77


def test_access_list(w3, account, token, send):
    call = {"from": account.address, "to": token.address, "data": data_of(token.functions.transfer(stranger(), 3))}
    answer = w3.eth.create_access_list(call)
    [entry] = answer["accessList"]
    assert entry["address"] == token.address and len(entry["storageKeys"]) == 2
    receipt = send({**call, "gas": 200_000, "gasPrice": 3 * GWEI, "accessList": [dict(entry)]})
    assert (receipt["status"], receipt["type"], receipt["gasUsed"]) == (1, 1, answer["gasUsed"])


def test_proofs_lead_to_the_state_root(w3, account, vault):
    slots = [1, 3, int.from_bytes(keccak(bytes.fromhex(word(account.address)[2:]) + bytes(31) + b"\x02"))]
    block = w3.eth.get_block("latest")
    proof = w3.eth.get_proof(vault.address, slots, block["number"])

    def prove(root, key, nodes):
        return HexaryTrie.get_from_proof(bytes(root), keccak(key), [rlp.decode(bytes(node)) for node in nodes])

    leaf = rlp.decode(prove(block["stateRoot"], bytes.fromhex(vault.address[2:]), proof["accountProof"]))
    assert leaf == [b"\x01", (500).to_bytes(2), bytes(proof["storageHash"]), bytes(proof["codeHash"])]
    assert (proof["nonce"], proof["balance"]) == (1, 500)
    assert proof["codeHash"] == keccak(w3.eth.get_code(vault.address))
    values = [prove(proof["storageHash"], slot.to_bytes(32), entry["proof"]) for slot, entry in zip(slots, proof["storageProof"])]
    assert values == [rlp.encode(7), b"", rlp.encode(500)]
    assert [int(entry["value"].hex() or "0", 16) for entry in proof["storageProof"]] == [7, 0, 500]
    absent = stranger()
    missing = w3.eth.get_proof(absent, [], block["number"])
    assert prove(block["stateRoot"], bytes.fromhex(absent[2:]), missing["accountProof"]) == b""


def test_fee_history(w3, send):
    receipts = [send({"to": stranger(), "value": 1, "maxFeePerGas": 9 * GWEI, "maxPriorityFeePerGas": tip * GWEI}) for tip in (1, 2)]
    history = w3.eth.fee_history(2, receipts[-1]["blockNumber"], [0, 50, 100])
    assert history["oldestBlock"] == receipts[0]["blockNumber"]
    assert history["reward"] == [[GWEI] * 3, [2 * GWEI] * 3]
    blocks = [w3.eth.get_block(receipt["blockNumber"]) for receipt in receipts]
    assert history["baseFeePerGas"][:2] == [block["baseFeePerGas"] for block in blocks]
    used, target, fee = blocks[1]["gasUsed"], blocks[1]["gasLimit"] // 2, blocks[1]["baseFeePerGas"]
    assert history["baseFeePerGas"][2] == fee - fee * (target - used) // target // 8
    assert history["gasUsedRatio"] == [pytest.approx(block["gasUsed"] / block["gasLimit"]) for block in blocks]
    assert len(history["baseFeePerBlobGas"]) == 3 and len(history["blobGasUsedRatio"]) == 2
    integer = w3.provider.make_request("eth_feeHistory", [2, hex(receipts[-1]["blockNumber"]), [50]])["result"]
    assert integer == w3.provider.make_request("eth_feeHistory", ["0x2", hex(receipts[-1]["blockNumber"]), [50]])["result"]


# Pool errors: geth's words

def test_pool_errors(w3, account):
    nonce, receiver = w3.eth.get_transaction_count(account.address), stranger()
    base = {"chainId": 1337, "nonce": nonce, "to": receiver, "value": 1, "gas": 21_000, "gasPrice": 3 * GWEI}

    def refused(signer=account, **fields):
        with pytest.raises(Web3RPCError) as error:
            w3.eth.send_raw_transaction(signer.sign_transaction({**base, **fields}).raw_transaction)
        response = error.value.rpc_response["error"]
        return response["code"], response["message"]

    poor = Account.create()
    cost = 21_000 * 3 * GWEI + 1
    assert refused(nonce=nonce - 1) == (-32000, f"nonce too low: next nonce {nonce}, tx nonce {nonce - 1}")
    assert refused(gas=20_999) == (-32000, "intrinsic gas too low: gas 20999, minimum needed 21000")
    assert refused(poor, nonce=0) == (
        -32000, f"insufficient funds for gas * price + value: balance 0, tx cost {cost}, overshot {cost}")
    assert refused(chainId=1) == (-32000, "invalid sender: invalid chain id for signer: have 1 want 1337")
    assert refused(gas=16_777_217, gasPrice=GWEI) == (-32000, "transaction gas limit too high (cap: 16777216, tx: 16777217)")
    assert refused(gas=1_000_000, gasPrice=2_000 * GWEI) == (
        -32000, "tx fee (2.00 ether) exceeds the configured cap (1.00 ether)")
    assert w3.eth.get_balance(receiver) == 0 and w3.eth.get_transaction_count(account.address) == nonce


def test_queue_replacement_and_gap(w3, account):
    nonce, receiver = w3.eth.get_transaction_count(account.address), stranger()

    def signed(**fields):
        base = {"chainId": 1337, "to": receiver, "value": 1, "gas": 21_000, "gasPrice": 3 * GWEI}
        return account.sign_transaction({**base, **fields})

    def refusal(transaction):
        with pytest.raises(Web3RPCError) as error:
            w3.eth.send_raw_transaction(transaction.raw_transaction)
        return error.value.rpc_response["error"]

    ahead = signed(nonce=nonce + 1)
    queued = w3.eth.send_raw_transaction(ahead.raw_transaction)
    assert w3.eth.get_transaction(queued)["blockNumber"] is None
    assert w3.eth.get_transaction_count(account.address, "pending") == nonce
    assert refusal(ahead) == {"code": -32000, "message": "already known"}
    assert refusal(signed(nonce=nonce + 1, gasPrice=3 * GWEI + 1)) == {
        "code": -32000, "message": "replacement transaction underpriced"}
    dearer = w3.eth.send_raw_transaction(signed(nonce=nonce + 1, gasPrice=4 * GWEI, value=2).raw_transaction)
    w3.eth.send_raw_transaction(signed(nonce=nonce).raw_transaction)
    receipt = w3.eth.wait_for_transaction_receipt(dearer, timeout=20, poll_latency=0.02)
    assert receipt["status"] == 1 and w3.eth.get_balance(receiver) == 1 + 2
    assert w3.eth.get_transaction_count(account.address, "pending") == nonce + 2


# Logs, filters, subscriptions, batches

def test_logs(w3, account, token, send):
    receivers = [stranger(), stranger()]
    first, last = [send({"to": token.address, "data": data_of(token.functions.transfer(to, 11))}) for to in receivers]
    window = {"fromBlock": first["blockNumber"], "toBlock": last["blockNumber"], "address": token.address}

    def logs(**query):
        return [log["transactionHash"] for log in w3.eth.get_logs({**window, **query})]

    both = [first["transactionHash"], last["transactionHash"]]
    assert logs() == both
    assert logs(topics=[TRANSFER, None, word(receivers[1])]) == both[1:]
    assert logs(topics=[None, word(account.address), [word(to) for to in receivers]]) == both
    assert logs(topics=[keccak(text="Approval(address,address,uint256)")]) == []
    assert logs(address=stranger()) == []
    assert logs(toBlock=first["blockNumber"]) == both[:1]
    by_hash = w3.eth.get_logs({"blockHash": last["blockHash"], "address": [token.address, stranger()]})
    assert [log["transactionHash"] for log in by_hash] == both[1:]
    events = token.events.Transfer().get_logs(from_block=first["blockNumber"], argument_filters={"receiver": receivers[0]})
    assert [event["args"]["value"] for event in events] == [11]


def test_polled_filters(w3, account, token, send):
    receiver = stranger()
    heads, pending = w3.eth.filter("latest"), w3.eth.filter("pending")
    transfers = token.events.Transfer().create_filter(from_block="latest", argument_filters={"receiver": receiver})
    receipt = send({"to": token.address, "data": data_of(token.functions.transfer(receiver, 5))})
    assert receipt["blockHash"] in heads.get_new_entries()
    assert receipt["transactionHash"] in pending.get_new_entries()
    assert [event["args"]["value"] for event in transfers.get_new_entries()] == [5]
    assert [filter.get_new_entries() for filter in (heads, pending, transfers)] == [[], [], []]
    everything = w3.eth.filter({"fromBlock": receipt["blockNumber"], "address": token.address})
    assert [log["transactionHash"] for log in everything.get_all_entries()] == [receipt["transactionHash"]]
    for filter in (heads, pending, transfers, everything):
        assert w3.eth.uninstall_filter(filter.filter_id) is True
        assert w3.eth.uninstall_filter(filter.filter_id) is False
    answer = w3.provider.make_request("eth_getFilterChanges", [heads.filter_id])
    assert answer["error"] == {"code": -32000, "message": "filter not found"}


def test_subscriptions(w3, account, token, send):
    receiver = stranger()

    async def listen():
        async with AsyncWeb3(WebSocketProvider(WS_URL)) as socket:
            kinds = {
                await socket.eth.subscribe("newHeads"): "head",
                await socket.eth.subscribe("logs", {"address": token.address, "topics": [TRANSFER]}): "log",
                await socket.eth.subscribe("newPendingTransactions"): "hash",
                await socket.eth.subscribe("newPendingTransactions", True): "transaction",
            }
            sending = asyncio.to_thread(send, {"to": token.address, "data": data_of(token.functions.transfer(receiver, 8))})
            task = asyncio.create_task(sending)
            seen = {}
            async for message in socket.socket.process_subscriptions():
                seen[kinds[message["subscription"]]] = message["result"]
                if len(seen) == len(kinds):
                    break
            assert [await socket.eth.unsubscribe(id) for id in kinds] == [True] * len(kinds)
            return await task, seen

    receipt, seen = asyncio.run(asyncio.wait_for(listen(), 20))
    assert (seen["head"]["hash"], seen["head"]["number"]) == (receipt["blockHash"], receipt["blockNumber"])
    assert seen["log"]["transactionHash"] == receipt["transactionHash"] == seen["hash"]
    assert int(seen["log"]["data"].hex(), 16) == 8
    assert (seen["transaction"]["hash"], seen["transaction"]["from"]) == (seen["hash"], account.address)


def test_batch(w3, account, token):
    with w3.batch_requests() as batch:
        batch.add(w3.eth.get_block("earliest"))
        batch.add(token.functions.balanceOf(account.address))
        batch.add(w3.eth.get_balance(stranger()))
        genesis, tokens, nothing = batch.execute()
    assert genesis["hash"] == w3.eth.get_block(0)["hash"]
    assert tokens == token.functions.balanceOf(account.address).call()
    assert nothing == 0
