-- Make a peer a member: anew, as the same membership with a snapshot, or resumed. The rules are those of room.py.
--
-- Returns {ok, attachment, epoch, offset, resumed, newest id, number of the nudge, missed entries, public hash,
-- standing hash} or {code}.
local NODE, PREKEY, PRESENCE, RELAY, FRESH = ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11]
-- CLAIM: whether the peer comes back at all; TOKEN: the attachment that its token proves, 0 for none.
local CLAIM, TOKEN, EPOCH, OFFSET = ARGV[12] == '1', tonumber(ARGV[13]), ARGV[14], tonumber(ARGV[15])

local function missed(after)
  local entries = {}
  for _, entry in ipairs(redis.call('XRANGE', STREAM, (after + 1) .. '-0', '+')) do
    local fields = entry[2]
    local subject, receiver = fields[4], fields[6]
    local concerned = receiver == PEER or (receiver == '' and subject ~= PEER)
    if fields[2] ~= 'ended' and concerned then
      entries[#entries + 1] = entry
    end
  end
  return entries
end

local function can_resume(member)
  return TOKEN >= member.t and TOKEN <= member.a
    and EPOCH == epoch()
    and OFFSET >= math.max(trimmed(), member.b - 1) and OFFSET <= head()
end

local function admit(attachment)
  local member = { a = attachment, n = NODE, b = head() + 1, t = attachment, i = 0, x = {}, c = 0 }
  local presence = PRESENCE ~= '' and PRESENCE or '{}'
  save_member(PEER, member)
  redis.call('HSET', PUBLIC, PEER, PREKEY, PEER .. ':presence', presence, PEER .. ':relay', RELAY)
  append('joined', PEER, '', cmsgpack.pack({ PREKEY, presence, RELAY }))
end

local function readmit(member, attachment, resumed)
  if not resumed then
    member.b, member.i, member.x, TOKEN = head() + 1, 0, {}, attachment
  end
  local was_suspended = member.n == ''
  member.a, member.n, member.t, member.c = attachment, NODE, TOKEN, 0
  save_member(PEER, member)
  if was_suspended then
    redis.call('ZREM', SUSPENDED, ENTRY)
  end
  if was_suspended or not resumed then
    append('resumed', PEER, '', resumed and '' or 'anew')
  end
  if PRESENCE ~= '' and PRESENCE ~= redis.call('HGET', PUBLIC, PEER .. ':presence') then
    set_presence(PEER, PRESENCE)
  end
  set_relay(PEER, RELAY)
end

enter(LINEAGE, RUN)
if is_late() then
  return { 'late' }
end
-- A server that the others took for dead would leave members that nobody sweeps.
if not redis.call('ZSCORE', NODES, NODE) then
  return { 'lapsed' }
end
local window_ends = redis.call('ZSCORE', SUSPENDED, ENTRY)
if window_ends and tonumber(window_ends) <= NOW then
  remove(PEER, 'expired')
end

local member = load_member(PEER)
if not member and redis.call('HLEN', STANDING) >= LIMITS.max_members then
  finish()
  return { 'room_full' }
end
local replaces = member and redis.call('HGET', PUBLIC, PEER) ~= PREKEY
if replaces and CLAIM then
  return { 'replaced' }
end

redis.call('HSETNX', META, 'epoch', FRESH)
local attachment = redis.call('HINCRBY', LINEAGE, 'attachments', 1)
local resumed = member and not replaces and CLAIM and can_resume(member)
-- Read before the events of the return are written, which may push the oldest of them out.
local replay = resumed and missed(OFFSET)
local was_attached = member and member.n ~= ''

if replaces then
  remove(PEER, 'replaced')
end
if member and not replaces then
  readmit(member, attachment, resumed)
else
  admit(attachment)
end
if was_attached then
  append_note(PEER, attachment, resumed and '' or 'replaced')
end
redis.call('SADD', AT, ENTRY)
local sequence = finish()
if resumed then
  return { 'ok', attachment, epoch(), OFFSET, 1, newest, sequence, replay, {}, {} }
end
return {
  'ok', attachment, epoch(), head(), 0, newest, sequence,
  {}, redis.call('HGETALL', PUBLIC), redis.call('HGETALL', STANDING),
}
