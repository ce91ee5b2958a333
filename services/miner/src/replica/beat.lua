-- A replica's question: takes or renews the lease, brings the orders together, and changes one of them if asked to.
--
-- KEYS: lease, newest token, orders, leader's status
-- ARGV: replica, lease in ms, whether it wants the lease (0 or 1), token it leads under, highest token it knows of,
--       status of a leader in its own words, field and value to change (empty for none), then the replica's orders:
--       version, writer, and field and value of each.
-- Answers: holder (empty for nobody), newest token, refused change (0 or 1), status, orders.
local replica, ttl, wanted, token, floor = ARGV[1], ARGV[2], ARGV[3] == '1', tonumber(ARGV[4]), tonumber(ARGV[5])
local status, field, value, version, writer = ARGV[6], ARGV[7], ARGV[8], tonumber(ARGV[9]), ARGV[10]

-- The lease.
local holder = redis.call('GET', KEYS[1]) or ''
local newest = tonumber(redis.call('GET', KEYS[2]) or '0') or 0
if not wanted then
    if holder == replica then
        redis.call('DEL', KEYS[1])
        holder = ''
    end
elseif holder == replica and token == newest then
    redis.call('PEXPIRE', KEYS[1], ttl)
elseif holder == replica or holder == '' then
    -- The clock keeps tokens rising when what was here is forgotten.
    local time = redis.call('TIME')
    local clock = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
    newest = math.max(newest + 1, floor + 1, clock)
    redis.call('SET', KEYS[2], string.format('%.0f', newest))
    redis.call('SET', KEYS[1], replica, 'PX', ttl)
    holder = replica
end

-- The orders: the newest are right, whoever has them. Those nobody gave yet are the first leader's.
local stored = tonumber(redis.call('HGET', KEYS[3], 'version') or '0') or 0
local stored_writer = redis.call('HGET', KEYS[3], 'writer') or ''
local newer = version > stored or (version == stored and writer > stored_writer)
local first = stored == 0 and (holder == replica or field ~= '')
if (version > 0 and newer) or first then
    stored = math.max(version, 1)
    if version == 0 then writer = replica end
    redis.call('DEL', KEYS[3])
    redis.call('HSET', KEYS[3], 'version', string.format('%.0f', stored), 'writer', writer, unpack(ARGV, 11))
end

-- The change. Blocks need somebody who gets the fees.
local refused = 0
if field == 'sealing' and value == '1' and (redis.call('HGET', KEYS[3], 'etherbase') or '') == '' then
    refused = 1
elseif field ~= '' then
    local changed = string.format('%.0f', stored + 1)
    redis.call('HSET', KEYS[3], 'version', changed, 'writer', replica, field, value)
end

-- The status.
if holder == replica and token ~= 0 then
    redis.call('SET', KEYS[4], status, 'PX', ttl)
else
    status = redis.call('GET', KEYS[4]) or ''
end
return { holder, string.format('%.0f', newest), refused, status, redis.call('HGETALL', KEYS[3]) }
