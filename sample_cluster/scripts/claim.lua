-- Gives a session to the connection with the highest attempt.
--
-- KEYS  1 session (hash attempt, node, connection, acks, timestamp, revoked)
-- ARGV  1 attempt, 2 node, 3 connection, 4 now in Unix milliseconds, 5 seconds that the session is kept,
--       6 "1" if the session was issued just now
--
-- Asking again for the same connection changes nothing, so a claim whose answer was lost can be repeated.
--
-- Returns {"ok", node before, connection before, acks} (each "" if there is none), {"expired"} when nothing was known
-- of a session that is not new (it is given away all the same), {"stale", attempt} or {"revoked"}.
local known = redis.call('HMGET', KEYS[1], 'attempt', 'node', 'connection', 'acks', 'revoked')
if known[5] then
  return {'revoked'}
end
local attempt = tonumber(ARGV[1])
local mine = known[2] == ARGV[2] and known[3] == ARGV[3]
if known[1] and (tonumber(known[1]) > attempt or (tonumber(known[1]) == attempt and not mine)) then
  return {'stale', known[1]}
end
redis.call('HSET', KEYS[1], 'attempt', ARGV[1], 'node', ARGV[2], 'connection', ARGV[3], 'timestamp', ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[5])
if not known[1] then
  return ARGV[6] == '1' and {'ok', '', '', ''} or {'expired'}
end
if mine then
  return {'ok', '', '', known[4] or ''}
end
return {'ok', known[2] or '', known[3] or '', known[4] or ''}
