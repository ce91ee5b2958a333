-- A state that was fetched from peers: the base beneath the versions. Peers give a state under the hashes of addresses and slots.

-- The first block whose state is held: zero unless a state was adopted. The base is the state after that block.
ALTER TABLE store_state ADD COLUMN first_state bigint NOT NULL DEFAULT 0;

-- Accounts of the base, by the hash of the address.
CREATE TABLE base_accounts (
    hash bytea PRIMARY KEY,
    nonce bigint NOT NULL,
    -- Wei.
    balance numeric NOT NULL,
    -- Null when there is no storage.
    storage_root bytea,
    -- Null when there is no code.
    code_hash bytea
);

-- Storage slots of the base, by the hashes of the address and of the slot.
CREATE TABLE base_storage (
    account bytea NOT NULL,
    slot bytea NOT NULL,
    -- Without leading zeros.
    value bytea NOT NULL,
    PRIMARY KEY (account, slot)
);

-- The hash by which the base knows an address or a slot.
CREATE FUNCTION keccak256(message bytea) RETURNS bytea LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    rate CONSTANT integer := 136;
    constants CONSTANT bigint[] := ARRAY[
        x'0000000000000001', x'0000000000008082', x'800000000000808a', x'8000000080008000', x'000000000000808b', x'0000000080000001',
        x'8000000080008081', x'8000000000008009', x'000000000000008a', x'0000000000000088', x'0000000080008009', x'000000008000000a',
        x'000000008000808b', x'800000000000008b', x'8000000000008089', x'8000000000008003', x'8000000000008002', x'8000000000000080',
        x'000000000000800a', x'800000008000000a', x'8000000080008081', x'8000000000008080', x'0000000080000001', x'8000000080008008'
    ]::bit(64)[]::bigint[];
    rotations CONSTANT integer[] := '{1,3,6,10,15,21,28,36,45,55,2,14,27,41,56,8,25,43,62,18,39,61,20,44}';
    places CONSTANT integer[] := '{11,8,12,18,19,4,6,17,9,22,25,5,16,24,20,14,13,3,21,15,23,10,7,2}';
    lanes bigint[] := array_fill(0::bigint, ARRAY[25]);
    sums bigint[] := array_fill(0::bigint, ARRAY[5]);
    padding integer := rate - length(message) % rate;
    input bytea := message || '\x01'::bytea || decode(repeat('00', padding - 1), 'hex');
    digest bytea := decode(repeat('00', 32), 'hex');
    lane bigint;
    other bigint;
BEGIN
    input := set_byte(input, length(input) - 1, get_byte(input, length(input) - 1) | 128);
    FOR block IN 0 .. length(input) / rate - 1 LOOP
        FOR i IN 0 .. rate / 8 - 1 LOOP
            lane := 0;
            FOR j IN REVERSE 7 .. 0 LOOP
                lane := (lane << 8) | get_byte(input, block * rate + i * 8 + j);
            END LOOP;
            lanes[i + 1] := lanes[i + 1] # lane;
        END LOOP;
        FOR round IN 1 .. 24 LOOP
            FOR x IN 1 .. 5 LOOP
                sums[x] := lanes[x] # lanes[x + 5] # lanes[x + 10] # lanes[x + 15] # lanes[x + 20];
            END LOOP;
            FOR x IN 0 .. 4 LOOP
                other := sums[(x + 1) % 5 + 1];
                lane := sums[(x + 4) % 5 + 1] # ((other << 1) | ((other >> 63) & 1));
                FOR y IN 0 .. 4 LOOP
                    lanes[x + y * 5 + 1] := lanes[x + y * 5 + 1] # lane;
                END LOOP;
            END LOOP;
            lane := lanes[2];
            FOR i IN 1 .. 24 LOOP
                other := lanes[places[i]];
                -- Numbers have a sign here, so that a shift to the right fills up with it.
                lanes[places[i]] := (lane << rotations[i])
                    | ((lane >> (64 - rotations[i])) & ((1::bigint << rotations[i]) - 1));
                lane := other;
            END LOOP;
            FOR y IN 0 .. 4 LOOP
                sums := lanes[y * 5 + 1 : y * 5 + 5];
                FOR x IN 0 .. 4 LOOP
                    lanes[x + y * 5 + 1] := sums[x + 1] # ((~ sums[(x + 1) % 5 + 1]) & sums[(x + 2) % 5 + 1]);
                END LOOP;
            END LOOP;
            lanes[1] := lanes[1] # constants[round];
        END LOOP;
    END LOOP;
    FOR i IN 0 .. 31 LOOP
        digest := set_byte(digest, i, ((lanes[i / 8 + 1] >> (i % 8 * 8)) & 255)::integer);
    END LOOP;
    RETURN digest;
END
$$;

-- An account of the base, as after block `first`. Not in SQL: what hashes must not run before it is needed.
CREATE FUNCTION base_account(account bytea, first bigint) RETURNS SETOF accounts LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY SELECT first, b.nonce, first, account, b.balance, b.code_hash
                 FROM base_accounts b WHERE b.hash = keccak256(base_account.account);
END
$$;

-- The value of a slot of the base.
CREATE FUNCTION base_slot(owner bytea, storage_slot bytea) RETURNS SETOF bytea LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY SELECT b.value FROM base_storage b WHERE b.account = keccak256(owner) AND b.slot = keccak256(storage_slot);
END
$$;

-- One account after block `at`; none below the first block whose state is held.
CREATE OR REPLACE FUNCTION account_at(account bytea, at bigint) RETURNS SETOF accounts LANGUAGE sql STABLE AS $$
    SELECT * FROM (
        SELECT * FROM accounts a WHERE a.address = account AND a.block <= at ORDER BY a.block DESC LIMIT 1
    ) newest WHERE newest.nonce IS NOT NULL
    UNION ALL
    SELECT b.* FROM store_state s CROSS JOIN LATERAL base_account(account, s.first_state) b
    WHERE s.first_state > 0 AND s.first_state <= at
      AND NOT EXISTS (SELECT FROM accounts a WHERE a.address = account AND a.block <= at)
$$;

-- One storage slot after block `at`, as the number that it holds.
CREATE OR REPLACE FUNCTION storage_at(account bytea, storage_slot bytea, at bigint) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT decode(lpad(encode(s.value, 'hex'), 64, '0'), 'hex')
    FROM account_at(account, at) a CROSS JOIN LATERAL (
        (SELECT value FROM storage
         WHERE address = account AND incarnation = a.incarnation AND slot = storage_slot AND block <= at
         ORDER BY block DESC LIMIT 1)
        UNION ALL
        SELECT b.value FROM store_state t CROSS JOIN LATERAL base_slot(account, storage_slot) AS b(value)
        WHERE t.first_state > 0 AND a.incarnation = t.first_state AND NOT EXISTS (
            SELECT FROM storage
            WHERE address = account AND incarnation = a.incarnation AND slot = storage_slot AND block <= at)
    ) s
$$;

-- While a state is fetched, the tables have transactions and logs of blocks that are not canonical yet. The views leave them out.
CREATE OR REPLACE VIEW receipts AS
SELECT block, index, hash AS transaction_hash, type, status, gas_used, cumulative_gas_used, gas_price AS effective_gas_price,
       sender, recipient, contract
FROM transactions WHERE block <= (SELECT max(number) FROM canonical);

CREATE OR REPLACE VIEW v_transactions AS
SELECT t.block, t.index, '0x' || encode(t.hash, 'hex') AS hash, '0x' || encode(t.sender, 'hex') AS sender,
       '0x' || encode(t.recipient, 'hex') AS recipient, '0x' || encode(t.contract, 'hex') AS contract,
       t.value / 1e18 AS ether, t.gas_used * t.gas_price / 1e18 AS fee_ether, t.nonce, t.type, t.status,
       '0x' || encode(substring(t.input FROM 1 FOR 4), 'hex') AS selector, length(t.input) AS input_size
FROM transactions t WHERE t.block <= (SELECT max(number) FROM canonical);

CREATE OR REPLACE VIEW v_logs AS
SELECT l.block, l.transaction_index, l.log_index, '0x' || encode(l.address, 'hex') AS address,
       '0x' || encode(l.topic0, 'hex') AS topic0, '0x' || encode(l.topic1, 'hex') AS topic1,
       '0x' || encode(l.topic2, 'hex') AS topic2, '0x' || encode(l.topic3, 'hex') AS topic3,
       '0x' || encode(l.data, 'hex') AS data
FROM logs l WHERE l.block <= (SELECT max(number) FROM canonical);

-- Readers may read the new tables too, also where nobody told that of later ones.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'quintet_reader') THEN
        EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO quintet_reader', current_schema());
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE NOTICE 'role quintet_reader may not be granted the tables; see docs/sql.md';
END
$$;
