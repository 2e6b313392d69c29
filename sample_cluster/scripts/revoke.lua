-- Ends a session for good: nobody can claim it any more for as long as it would have been kept.
--
-- KEYS  1 session, see claim.lua
-- ARGV  1 seconds that the session is kept
--
-- Returns {node, connection} of the connection that is to be closed, each "" if there is none.
local known = redis.call('HMGET', KEYS[1], 'node', 'connection')
redis.call('HSET', KEYS[1], 'revoked', '1')
redis.call('EXPIRE', KEYS[1], ARGV[1])
return {known[1] or '', known[2] or ''}
