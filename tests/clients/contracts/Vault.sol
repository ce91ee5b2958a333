// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

/// Keeps deposits, and fails in every way that a contract can.
contract Vault {
    /// Slot 0.
    address public owner;
    /// Slot 1.
    uint256 public fee;
    /// Slot 2.
    mapping(address => uint256) public deposits;
    /// Slot 3.
    uint256 public count;

    event Deposited(address indexed from, uint256 amount, string note);
    event FeeChanged(uint256 indexed before, uint256 indexed current);

    error InsufficientDeposit(uint256 available, uint256 required);

    constructor(address owner_, uint256 fee_) payable {
        owner = owner_;
        fee = fee_;
        deposits[owner_] = msg.value;
    }

    function deposit(string calldata note) external payable {
        deposits[msg.sender] += msg.value;
        emit Deposited(msg.sender, msg.value, note);
    }

    /// Custom error.
    function withdraw(uint256 amount) external {
        uint256 available = deposits[msg.sender];
        if (available < amount) revert InsufficientDeposit(available, amount);
        deposits[msg.sender] = available - amount;
        payable(msg.sender).transfer(amount);
    }

    /// Error(string).
    function setFee(uint256 fee_) external {
        require(msg.sender == owner, "only the owner");
        emit FeeChanged(fee, fee_);
        fee = fee_;
    }

    /// Panic(0x12) when `b` is zero.
    function divide(uint256 a, uint256 b) external pure returns (uint256) {
        return a / b;
    }

    /// A revert without data.
    function refuse() external pure {
        assembly {
            revert(0, 0)
        }
    }

    /// Writes to the storage of whoever runs this code: an account that delegated to it (EIP-7702), for one.
    function increment() external returns (uint256) {
        return ++count;
    }

    /// Keeps the versioned hash of the transaction's first blob in `fee`.
    function keepBlobHash() external {
        fee = uint256(blobhash(0));
    }
}
