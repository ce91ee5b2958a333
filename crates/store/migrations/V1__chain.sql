-- The chain store. docs/sql.md explains the tables to those who query them.
--
-- Numbers that Ethereum defines as 64 bits without a sign are bigint; what does not fit wraps to a negative one.
-- Wei are numeric. Hashes, addresses and slots are bytea of their full length, so that they sort as the chain does.

-- What the store itself must remember: one row.
CREATE TABLE store_state (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    -- How many blocks one partition holds; fixed when the store is made.
    partition_blocks bigint NOT NULL CHECK (partition_blocks > 0),
    -- A number drawn for each commit, by which a writer that lost its connection finds out what became of one.
    last_commit bigint NOT NULL DEFAULT 0,
    -- The block that the trie's nodes belong to.
    trie_number bigint,
    trie_hash bytea
);

-- Small values by name.
CREATE TABLE meta (
    name text PRIMARY KEY,
    value bytea NOT NULL
);

-- The canonical chain.
CREATE TABLE canonical (
    number bigint PRIMARY KEY,
    hash bytea NOT NULL
);

-- Every block held, canonical or not: where to find it.
CREATE TABLE block_numbers (
    hash bytea PRIMARY KEY,
    number bigint NOT NULL
);

-- Every block held, canonical or not. The last five columns are the node's own records.
CREATE TABLE blocks (
    number bigint NOT NULL,
    "timestamp" bigint NOT NULL,
    gas_limit bigint NOT NULL,
    gas_used bigint NOT NULL,
    transactions integer NOT NULL,
    uncles integer NOT NULL,
    hash bytea NOT NULL,
    parent_hash bytea NOT NULL,
    beneficiary bytea NOT NULL,
    state_root bytea NOT NULL,
    difficulty numeric NOT NULL,
    total_difficulty numeric NOT NULL,
    base_fee numeric,
    extra_data bytea NOT NULL,
    -- RLP.
    header bytea NOT NULL,
    -- RLP.
    body bytea NOT NULL,
    -- 20 bytes for each transaction.
    senders bytea NOT NULL,
    -- RLP without blooms; null while the block was never canonical.
    receipts bytea,
    -- Which accounts and slots the block changed; null while the block was never canonical.
    changes bytea,
    PRIMARY KEY (number, hash)
) PARTITION BY RANGE (number);
-- Most of it are hashes and signatures, which do not compress.
ALTER TABLE blocks ALTER header SET STORAGE EXTERNAL;
ALTER TABLE blocks ALTER body SET STORAGE EXTERNAL;
ALTER TABLE blocks ALTER senders SET STORAGE EXTERNAL;
ALTER TABLE blocks ALTER receipts SET STORAGE EXTERNAL;
ALTER TABLE blocks ALTER changes SET STORAGE EXTERNAL;

-- The canonical chain's transactions, with what became of them.
CREATE TABLE transactions (
    block bigint NOT NULL,
    nonce bigint NOT NULL,
    gas_limit bigint NOT NULL,
    gas_used bigint NOT NULL,
    cumulative_gas_used bigint NOT NULL,
    index integer NOT NULL,
    -- EIP-2718.
    type smallint NOT NULL,
    -- 1 or 0; null before Byzantium (EIP-658).
    status smallint,
    hash bytea NOT NULL,
    sender bytea NOT NULL,
    -- Null when the transaction creates a contract.
    recipient bytea,
    -- The contract that it created.
    contract bytea,
    -- Wei.
    value numeric NOT NULL,
    -- Wei for each gas, as paid.
    gas_price numeric NOT NULL,
    input bytea NOT NULL
) PARTITION BY RANGE (block);
ALTER TABLE transactions ALTER input SET STORAGE EXTERNAL;
-- A hash index costs an import half of what an ordered one does, whose random keys land all over it.
CREATE INDEX transactions_hash ON transactions USING hash (hash);
CREATE INDEX transactions_block ON transactions USING brin (block) WITH (pages_per_range = 32, autosummarize = on);

-- The canonical chain's logs.
CREATE TABLE logs (
    block bigint NOT NULL,
    transaction_index integer NOT NULL,
    -- Counted over the block.
    log_index integer NOT NULL,
    address bytea NOT NULL,
    topic0 bytea,
    topic1 bytea,
    topic2 bytea,
    topic3 bytea,
    data bytea NOT NULL
) PARTITION BY RANGE (block);
ALTER TABLE logs ALTER data SET STORAGE EXTERNAL;
CREATE INDEX logs_address ON logs (address, block);
CREATE INDEX logs_block ON logs USING brin (block, topic0 bytea_bloom_ops, topic1 bytea_bloom_ops, topic2 bytea_bloom_ops)
    WITH (pages_per_range = 32, autosummarize = on);

-- Versions of accounts: an account after block N is its newest version at or below N.
CREATE TABLE accounts (
    block bigint NOT NULL,
    -- Null, as are balance and incarnation, when the block destroyed the account.
    nonce bigint,
    -- The block in which the account's storage last began empty: the storage's versions are kept under it.
    incarnation bigint,
    address bytea NOT NULL,
    -- Wei.
    balance numeric,
    -- Null when there is no code.
    code_hash bytea
);
CREATE UNIQUE INDEX accounts_version ON accounts (address, block DESC);

-- Versions of storage slots.
CREATE TABLE storage (
    block bigint NOT NULL,
    incarnation bigint NOT NULL,
    address bytea NOT NULL,
    slot bytea NOT NULL,
    -- Without leading zeros: empty for zero.
    value bytea NOT NULL
);
CREATE UNIQUE INDEX storage_version ON storage (address, incarnation, slot, block DESC);

-- Contract code that some block deployed.
CREATE TABLE code (
    hash bytea PRIMARY KEY,
    code bytea NOT NULL
);

-- The state trie's nodes at one block, see store_state.
CREATE TABLE trie (
    key bytea PRIMARY KEY,
    node bytea NOT NULL
);
