-- Keeps a session alive and notes up to where its client has acknowledged, unless another connection owns it by now.
--
-- KEYS  1 session, see claim.lua
-- ARGV  1 attempt, 2 node, 3 connection, 4 now in Unix milliseconds, 5 seconds that the session is kept,
--       6 acks as JSON: channel → {epoch, seq, nonce}
--
-- Returns {"ok"}, {"stale", attempt} or {"revoked"}.
local known = redis.call('HMGET', KEYS[1], 'attempt', 'node', 'connection', 'revoked')
if known[4] then
  return {'revoked'}
end
local attempt = tonumber(ARGV[1])
local mine = known[2] == ARGV[2] and known[3] == ARGV[3]
if known[1] and (tonumber(known[1]) > attempt or (tonumber(known[1]) == attempt and not mine)) then
  return {'stale', known[1]}
end
redis.call('HSET', KEYS[1], 'attempt', ARGV[1], 'node', ARGV[2], 'connection', ARGV[3], 'timestamp', ARGV[4],
  'acks', ARGV[6])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return {'ok'}
