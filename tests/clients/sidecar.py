"""Prints a blob with its commitment and both kinds of proof: EIP-4844's of the blob, and EIP-7594's of each cell."""

import json
from hashlib import sha256
from importlib.resources import files

import ckzg

SETUP = files("eth_account.typed_transactions.blob_transactions") / "kzg_trusted_setup.txt"

setup = ckzg.load_trusted_setup(str(SETUP), 0)
blob = (b"\0" + b"quintet").ljust(131_072, b"\0")
commitment = ckzg.blob_to_kzg_commitment(blob, setup)
_, cell_proofs = ckzg.compute_cells_and_kzg_proofs(blob, setup)


def hexadecimal(value):
    return "0x" + bytes(value).hex()


print(json.dumps({
    "blob": hexadecimal(blob),
    "commitment": hexadecimal(commitment),
    "proof": hexadecimal(ckzg.compute_blob_kzg_proof(blob, commitment, setup)),
    "cellProofs": [hexadecimal(proof) for proof in cell_proofs],
    "versionedHash": hexadecimal(b"\x01" + sha256(commitment).digest()[1:]),
}))
