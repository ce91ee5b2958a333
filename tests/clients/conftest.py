"""What the web3.py tests share: a connection, an account of their own, two deployed contracts."""

import json
import os
from types import SimpleNamespace

import pytest
import rlp
from eth_account import Account
from eth_utils import keccak
from web3 import Web3

MNEMONIC = "test test test test test test test test test test test junk"
# The account that this suite sends from; every suite has one.
ACCOUNT = 1
RPC_URL = os.environ["QUINTET_RPC_URL"]
WS_URL = RPC_URL.replace("http", "ws", 1)


def compiled(name):
    for path in os.environ["QUINTET_CONTRACTS"].split(":"):
        with open(path) as file:
            contracts = json.load(file)
        if name in contracts:
            return contracts[name]
    raise KeyError(name)


def transaction_hash(raw):
    """Of the body alone where a sidecar goes with it (EIP-4844); eth-account hashes both."""
    if raw[0] == 3:
        raw = raw[:1] + rlp.encode(rlp.decode(raw[1:])[0])
    return keccak(raw)


@pytest.fixture(scope="session")
def w3():
    return Web3(Web3.HTTPProvider(RPC_URL))


@pytest.fixture(scope="session")
def account():
    Account.enable_unaudited_hdwallet_features()
    return Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{ACCOUNT}")


@pytest.fixture(scope="session")
def send(w3, account):
    """Fills in, signs and sends a transaction, and gives its receipt."""

    def send(transaction, signer=account, **signing):
        filled = {"chainId": w3.eth.chain_id, "nonce": w3.eth.get_transaction_count(signer.address), **transaction}
        filled.pop("from", None)
        if "gas" not in filled:
            filled["gas"] = w3.eth.estimate_gas({"from": signer.address, **filled})
        if "gasPrice" not in filled and "maxFeePerGas" not in filled:
            tip = w3.eth.max_priority_fee
            base_fee = w3.eth.get_block("latest")["baseFeePerGas"]
            filled |= {"maxPriorityFeePerGas": tip, "maxFeePerGas": 2 * base_fee + tip}
        signed = signer.sign_transaction(filled, **signing)
        sent = w3.eth.send_raw_transaction(signed.raw_transaction)
        assert sent == transaction_hash(signed.raw_transaction)
        return w3.eth.wait_for_transaction_receipt(sent, timeout=20, poll_latency=0.02)

    return send


@pytest.fixture(scope="session")
def deploy(w3, send):
    def deploy(name, *arguments, value=0):
        contract = w3.eth.contract(**compiled(name))
        receipt = send({"data": contract.constructor(*arguments).data_in_transaction, "value": value})
        assert receipt["status"] == 1
        return SimpleNamespace(receipt=receipt, contract=w3.eth.contract(receipt["contractAddress"], abi=contract.abi))

    return deploy


@pytest.fixture(scope="session")
def token(deploy):
    return deploy("Token", "Quint", 1_000_000).contract


@pytest.fixture(scope="session")
def vault(deploy, account):
    return deploy("Vault", account.address, 7, value=500).contract
