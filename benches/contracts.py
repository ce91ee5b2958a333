"""The contracts that the bench calls, in EVM assembly, and what it takes to assemble them.

One token an operation: a mnemonic, a number to push (`0x…`), `name:` for a jump target, `@name` to push one.
"""

OPCODES = {
    "stop": 0x00, "add": 0x01, "sub": 0x03, "lt": 0x10, "eq": 0x14, "shl": 0x1B, "shr": 0x1C, "keccak256": 0x20,
    "caller": 0x33, "calldataload": 0x35, "codecopy": 0x39, "pop": 0x50, "mload": 0x51, "mstore": 0x52, "sload": 0x54,
    "sstore": 0x55, "jump": 0x56, "jumpi": 0x57, "gas": 0x5A, "jumpdest": 0x5B, "push0": 0x5F, "dup1": 0x80,
    "dup2": 0x81, "dup3": 0x82, "swap1": 0x90, "log3": 0xA3, "call": 0xF1, "return": 0xF3, "revert": 0xFD,
}  # fmt: skip

BALANCE_OF = "70a08231"
TRANSFER = "a9059cbb"
TRANSFER_EVENT = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
SUPPLY = 10**24

# mapping(address => uint256) at slot 0: the value of `key` is at keccak256(key ++ 0).
TOKEN = f"""
    push0 calldataload 0xe0 shr
    dup1 0x{BALANCE_OF} eq @balance_of jumpi
    dup1 0x{TRANSFER} eq @transfer jumpi
    push0 push0 revert
balance_of:
    0x04 calldataload push0 mstore
    0x40 push0 keccak256 sload push0 mstore
    0x20 push0 return
transfer:
    caller push0 mstore
    0x24 calldataload                      # amount
    0x40 push0 keccak256 dup1 sload        # amount slot balance
    dup3 dup2 lt @too_little jumpi
    dup3 swap1 sub swap1 sstore            # amount
    0x04 calldataload push0 mstore
    0x40 push0 keccak256 dup1 sload        # amount slot balance
    dup3 add swap1 sstore                  # amount
    push0 mstore
    0x04 calldataload caller {TRANSFER_EVENT} 0x20 push0 log3
    0x01 push0 mstore 0x20 push0 return
too_little:
    push0 push0 revert
"""

TOKEN_CONSTRUCTOR = f"""
    caller push0 mstore
    0x{SUPPLY:x} 0x40 push0 keccak256 sstore
"""

KECCAK_LOOP = """
    0x03e8                                 # rounds left
again:
    0x20 push0 keccak256 push0 mstore
    0x01 swap1 sub
    dup1 @again jumpi
    0x20 push0 return
"""


def fan_out(tokens: list[str], transfers: int) -> str:
    """A contract that has each token send one unit to `transfers` recipients, turn by turn."""
    one = "".join(
        f"""
    0x{TRANSFER} 0xe0 shl push0 mstore
    dup1 0x04 mstore 0x01 0x24 mstore
    push0 push0 0x44 push0 push0 {token} gas call pop
"""
        for token in tokens
    )
    return f"""
    0x{transfers:04x}
again:{one}
    0x01 swap1 sub
    dup1 @again jumpi
    stop
"""


def assemble(source: str) -> bytes:
    """The code of `source`; jump targets are pushed as two bytes."""
    code, labels, uses = bytearray(), {}, []
    for line in source.splitlines():
        for token in line.split("#")[0].split():
            if token.endswith(":"):
                labels[token[:-1]] = len(code)
                code.append(OPCODES["jumpdest"])
            elif token.startswith("@"):
                code += bytes([0x61, 0, 0])
                uses.append((len(code) - 2, token[1:]))
            elif token.startswith("0x"):
                digits = token[2:]
                value = bytes.fromhex(digits.rjust(len(digits) + len(digits) % 2, "0"))
                code += bytes([0x5F + len(value)]) + value
            else:
                code.append(OPCODES[token])
    for position, name in uses:
        code[position : position + 2] = labels[name].to_bytes(2, "big")
    return bytes(code)


def init_code(runtime: str, constructor: str = "") -> str:
    """The data of the transaction that deploys `runtime`, as hex."""
    code, prologue = assemble(runtime), assemble(constructor)
    # Its pushes have two bytes whatever the numbers, so that its length does not depend on them.
    epilogue = "0x{size:04x} dup1 0x{start:04x} push0 codecopy push0 return"
    start = len(prologue) + len(assemble(epilogue.format(size=0, start=0)))
    return "0x" + (prologue + assemble(epilogue.format(size=len(code), start=start)) + code).hex()


def call_data(selector: str, *words: int) -> str:
    """The data of a call, as hex."""
    return "0x" + selector + "".join(f"{word:064x}" for word in words)
