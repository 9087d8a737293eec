-- What the scripts about a room share; the loader puts store.lua and this before each of them.
--
-- All keys are declared, so that a cluster that moves the slot answers TRYAGAIN instead of running a script on
-- half of a room.
local LINEAGE, SEQUENCE, NODES, SUSPENDED, AT, META, PUBLIC, STANDING, STREAM = unpack(KEYS)

-- RUN: the run id of the store that the caller is connected to. NOT_AFTER: store time in ms after which the caller
-- has given up and nothing may happen any more, 0 for never. BUS: the channel of the partition's nudges.
local RUN, NOT_AFTER, BUS, ROOM, PEER = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
local LIMITS = cmsgpack.unpack(ARGV[6])
local ENTRY = ROOM .. ' ' .. PEER

-- The newest entry that this script wrote, if any.
local newest = false

local function is_late()
  return NOT_AFTER > 0 and NOW > NOT_AFTER
end

local function epoch()
  return redis.call('HGET', META, 'epoch') .. '.' .. redis.call('HGET', LINEAGE, 'era')
end

-- How far the stream goes, what it holds in bytes, and the highest offset that it no longer holds. Read once, counted
-- here, and written back by finish().
local counts = false

local function count()
  if not counts then
    local found = redis.call('HMGET', META, 'offset', 'bytes', 'trimmed')
    counts = {
      offset = tonumber(found[1] or 0), bytes = tonumber(found[2] or 0), trimmed = tonumber(found[3] or 0),
    }
  end
  return counts
end

local function head()
  return count().offset
end

local function trimmed()
  return count().trimmed
end

-- A member's private record: a attachment, n node (empty when suspended), b the offset at which this membership
-- began, t the attachment of the newest token presented, i the last signal id, x refused ids, c the last change.
local function load_member(peer)
  local packed = redis.call('HGET', STANDING, peer)
  return packed and cmsgpack.unpack(packed)
end

local function save_member(peer, member)
  redis.call('HSET', STANDING, peer, cmsgpack.pack(member))
end

-- Return a member if this attachment is the one that stands for it, else false.
local function attached(peer, attachment)
  local member = load_member(peer)
  return member and member.n ~= '' and member.a == attachment and member
end

local function entry_bytes(subject, receiver, data)
  return #subject + #receiver + #data + 64
end

-- Keep the stream within its bounds; what is trimmed costs a late resume its place, and it gets a snapshot. What goes
-- has to be looked at, so some more goes with it, and it is not looked at for each event.
local function trim()
  local over = counts.bytes > LIMITS.history_bytes or counts.offset - counts.trimmed > LIMITS.history_events
  if not over then
    return
  end
  local events = LIMITS.history_events - math.floor(LIMITS.history_events / 16)
  local bytes = LIMITS.history_bytes - math.floor(LIMITS.history_bytes / 16)
  local function enough()
    return counts.trimmed == counts.offset
      or (counts.bytes <= bytes and counts.offset - counts.trimmed <= events)
  end
  while not enough() do
    local oldest = redis.call('XRANGE', STREAM, (counts.trimmed + 1) .. '-0', '+', 'COUNT', 64)
    for _, entry in ipairs(oldest) do
      local fields = entry[2]
      if fields[2] ~= 'ended' and not enough() then
        counts.trimmed = counts.trimmed + 1
        counts.bytes = counts.bytes - entry_bytes(fields[4], fields[6], fields[8])
      end
    end
  end
  redis.call('XTRIM', STREAM, 'MINID', '=', (counts.trimmed + 1) .. '-0')
end

-- Append an event. The entry of offset 12 has the id 12-0, so the stream itself keeps offsets unique.
local function append(kind, subject, receiver, data)
  count()
  counts.offset = counts.offset + 1
  counts.bytes = counts.bytes + entry_bytes(subject, receiver, data)
  newest = redis.call('XADD', STREAM, counts.offset .. '-0', 'k', kind, 's', subject, 'r', receiver, 'd', data)
end

-- Tell the servers, and no peer, that attachments of a peer below this number are over.
local function append_note(peer, below, reason)
  newest = redis.call('XADD', STREAM, head() .. '-*', 'k', 'ended', 's', peer, 'r', reason, 'd', below)
end

-- Write the counts back and nudge the servers, once, or forget a room without members: the next one begins a new epoch.
-- CARRIED is the only event that there is, written for the nudge, so that nobody has to read the stream for it. Returns
-- the number of the nudge.
local function finish(carried)
  local sequence = 0
  if newest then
    if counts then
      trim()
      redis.call(
        'HSET', META, 'offset', counts.offset, 'bytes', counts.bytes, 'trimmed', counts.trimmed
      )
    end
    sequence = redis.call('INCR', SEQUENCE)
    redis.call('SPUBLISH', BUS, sequence .. ' ' .. ROOM .. ' ' .. newest .. (carried or ''))
    if redis.call('HLEN', STANDING) == 0 then
      redis.call('DEL', META, PUBLIC, STANDING, STREAM)
    end
  end
  return sequence
end

local function remove(peer, reason)
  redis.call('HDEL', STANDING, peer)
  redis.call('HDEL', PUBLIC, peer, peer .. ':presence', peer .. ':relay')
  redis.call('ZREM', SUSPENDED, ROOM .. ' ' .. peer)
  append('left', peer, '', reason)
end

local function suspend(peer, member)
  member.n = ''
  save_member(peer, member)
  redis.call('ZADD', SUSPENDED, NOW + LIMITS.resume_window_ms, ROOM .. ' ' .. peer)
  append('suspended', peer, '', '')
end

local function set_presence(peer, presence)
  redis.call('HSET', PUBLIC, peer .. ':presence', presence)
  append('presence', peer, '', presence)
end

local function set_relay(peer, relay)
  if (redis.call('HGET', PUBLIC, peer .. ':relay') or '') ~= relay then
    redis.call('HSET', PUBLIC, peer .. ':relay', relay)
    append('relay', peer, '', relay)
  end
end
