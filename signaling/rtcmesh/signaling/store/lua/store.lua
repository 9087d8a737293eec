-- What all scripts share; the loader puts this before each of them.
--
-- The store's clock is the only one: those of the servers may differ.
local time = redis.call('TIME')
local NOW = time[1] * 1000 + math.floor(time[2] / 1000)

-- A store that another one has taken over from may lack the tail of what was written, and would give out the same
-- offsets again. Its run id is another, so the era changes, and with it the epoch of every room.
local function enter(lineage, run)
  if redis.call('HGET', lineage, 'run') ~= run then
    redis.call('HSET', lineage, 'run', run)
    redis.call('HINCRBY', lineage, 'era', 1)
    -- Attachments fence late commands off; numbers that the lost tail gave out must not come again.
    redis.call('HINCRBY', lineage, 'attachments', 1000000)
  end
end
