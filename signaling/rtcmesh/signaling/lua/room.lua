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

local function head()
  return tonumber(redis.call('HGET', META, 'offset') or 0)
end

-- The highest offset that the stream no longer holds.
local function trimmed()
  return tonumber(redis.call('HGET', META, 'trimmed') or 0)
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

-- Return the member if this attachment is the one that stands for it, else false.
local function attached(attachment)
  local member = load_member(PEER)
  return member and member.n ~= '' and member.a == attachment and member
end

local function entry_bytes(subject, receiver, data)
  return #subject + #receiver + #data + 64
end

-- Keep the stream within its bounds; what is trimmed costs a late resume its place, and it gets a snapshot.
local function trim(offset)
  local gone = trimmed()
  local floor = math.max(gone, offset - LIMITS.history_events)
  local bytes = tonumber(redis.call('HGET', META, 'bytes'))
  while gone < floor or (bytes > LIMITS.history_bytes and gone < offset) do
    gone = gone + 1
    local entry = redis.call('XRANGE', STREAM, gone .. '-0', gone .. '-0')[1]
    local fields = entry[2]
    bytes = bytes - entry_bytes(fields[4], fields[6], fields[8])
  end
  redis.call('HSET', META, 'bytes', bytes, 'trimmed', gone)
  redis.call('XTRIM', STREAM, 'MINID', '=', (gone + 1) .. '-0')
end

-- Append an event. The entry of offset 12 has the id 12-0, so the stream itself keeps offsets unique.
local function append(kind, subject, receiver, data)
  local offset = redis.call('HINCRBY', META, 'offset', 1)
  newest = redis.call('XADD', STREAM, offset .. '-0', 'k', kind, 's', subject, 'r', receiver, 'd', data)
  local bytes = redis.call('HINCRBY', META, 'bytes', entry_bytes(subject, receiver, data))
  if bytes > LIMITS.history_bytes or offset - trimmed() > LIMITS.history_events then
    trim(offset)
  end
end

-- Tell the servers, and no peer, that attachments of a peer below this number are over.
local function append_note(peer, below, reason)
  newest = redis.call('XADD', STREAM, head() .. '-*', 'k', 'ended', 's', peer, 'r', reason, 'd', below)
end

-- Nudge the servers, once, or forget a room without members: the next one begins a new epoch.
local function finish()
  if newest then
    local sequence = redis.call('INCR', SEQUENCE)
    redis.call('SPUBLISH', BUS, sequence .. ' ' .. ROOM .. ' ' .. newest)
    if redis.call('HLEN', STANDING) == 0 then
      redis.call('DEL', META, PUBLIC, STANDING, STREAM)
    end
  end
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
