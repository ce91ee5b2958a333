-- What people would rather read.

-- Receipts, which share their rows with the transactions.
CREATE VIEW receipts AS
SELECT block, index, hash AS transaction_hash, type, status, gas_used, cumulative_gas_used, gas_price AS effective_gas_price,
       sender, recipient, contract
FROM transactions;

-- Blocks of the canonical chain, without the node's own records.
CREATE VIEW v_blocks AS
SELECT b.number, '0x' || encode(b.hash, 'hex') AS hash, '0x' || encode(b.parent_hash, 'hex') AS parent_hash,
       to_timestamp(b."timestamp") AS "time", '0x' || encode(b.beneficiary, 'hex') AS beneficiary,
       b.transactions, b.uncles, b.gas_used, b.gas_limit, b.base_fee, b.difficulty, b.total_difficulty
FROM canonical c JOIN blocks b ON b.number = c.number AND b.hash = c.hash;

-- Transactions with hexadecimal text and ether.
CREATE VIEW v_transactions AS
SELECT t.block, t.index, '0x' || encode(t.hash, 'hex') AS hash, '0x' || encode(t.sender, 'hex') AS sender,
       '0x' || encode(t.recipient, 'hex') AS recipient, '0x' || encode(t.contract, 'hex') AS contract,
       t.value / 1e18 AS ether, t.gas_used * t.gas_price / 1e18 AS fee_ether, t.nonce, t.type, t.status,
       '0x' || encode(substring(t.input FROM 1 FOR 4), 'hex') AS selector, length(t.input) AS input_size
FROM transactions t;

-- Logs with hexadecimal text.
CREATE VIEW v_logs AS
SELECT l.block, l.transaction_index, l.log_index, '0x' || encode(l.address, 'hex') AS address,
       '0x' || encode(l.topic0, 'hex') AS topic0, '0x' || encode(l.topic1, 'hex') AS topic1,
       '0x' || encode(l.topic2, 'hex') AS topic2, '0x' || encode(l.topic3, 'hex') AS topic3,
       '0x' || encode(l.data, 'hex') AS data
FROM logs l;

-- The accounts after the last block.
CREATE VIEW v_accounts AS
SELECT '0x' || encode(a.address, 'hex') AS address, a.balance / 1e18 AS ether, a.nonce, a.code_hash IS NOT NULL AS contract,
       a.block AS changed_in
FROM (SELECT DISTINCT ON (address) * FROM accounts ORDER BY address, block DESC) a
WHERE a.nonce IS NOT NULL;

-- One account after block `at`.
CREATE FUNCTION account_at(account bytea, at bigint) RETURNS SETOF accounts LANGUAGE sql STABLE AS $$
    SELECT * FROM (
        SELECT * FROM accounts a WHERE a.address = account AND a.block <= at ORDER BY a.block DESC LIMIT 1
    ) newest WHERE newest.nonce IS NOT NULL
$$;

-- One storage slot after block `at`, as the number that it holds.
CREATE FUNCTION storage_at(account bytea, storage_slot bytea, at bigint) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT decode(lpad(encode(s.value, 'hex'), 64, '0'), 'hex')
    FROM account_at(account, at) a CROSS JOIN LATERAL (
        SELECT value FROM storage
        WHERE address = account AND incarnation = a.incarnation AND slot = storage_slot AND block <= at
        ORDER BY block DESC LIMIT 1
    ) s
$$;

-- A big-endian number, such as a token amount in a log's data, as a decimal one.
CREATE FUNCTION uint(bytes bytea) RETURNS numeric LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    number numeric := 0;
BEGIN
    FOR i IN 0 .. length(bytes) - 1 LOOP
        number := number * 256 + get_byte(bytes, i);
    END LOOP;
    RETURN number;
END
$$;
