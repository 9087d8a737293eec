-- Renew a server's lease on a partition and prove that its bus carries; one server a second also learns what to sweep.
--
-- Returns {now in ms, 1 if the lease was known, servers with a lease, dead servers, expired members as `room peer`}.
local LINEAGE, SEQUENCE, NODES, SUSPENDED = unpack(KEYS)
local RUN, BUS, NODE, LEASE, INTERVAL = ARGV[1], ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
-- So many at once, or a sweep would hold up everything else.
local SERVERS_AT_ONCE, MEMBERS_AT_ONCE = 8, 100
-- So many missed rounds in a row mean that nobody could reach the store, not that a server is dead.
local STALLED_ROUNDS = 4

enter(LINEAGE, RUN)
local known = redis.call('ZSCORE', NODES, NODE) and 1 or 0
local swept_at = tonumber(redis.call('HGET', LINEAGE, 'swept_at') or NOW)
local pause = NOW - swept_at

-- Time in which nobody could renew a lease or come back does not count against anybody; nor does a clock that was
-- set, or that of another store that has taken over.
if pause > STALLED_ROUNDS * INTERVAL or pause < 0 then
  for _, key in ipairs({ NODES, SUSPENDED }) do
    local entries = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    for index = 1, #entries, 2 do
      redis.call('ZADD', key, entries[index + 1] + pause, entries[index])
    end
  end
end
redis.call('ZADD', NODES, NOW + LEASE, NODE)
local alive = redis.call('ZCOUNT', NODES, NOW, '+inf')

if pause > 0 and pause < INTERVAL then
  return { NOW, known, alive, {}, {} }
end
redis.call('HSET', LINEAGE, 'swept_at', NOW)
redis.call('SPUBLISH', BUS, redis.call('INCR', SEQUENCE))
return {
  NOW, known, alive,
  redis.call('ZRANGEBYSCORE', NODES, '-inf', NOW, 'LIMIT', 0, SERVERS_AT_ONCE),
  redis.call('ZRANGEBYSCORE', SUSPENDED, '-inf', NOW, 'LIMIT', 0, MEMBERS_AT_ONCE),
}
