-- Writes entries that a node still has back into a log that lost them, if the log still ends where the node saw it end.
--
-- KEYS  1 log, 2 meta, 3… the dedupe entry of each message's publisher
-- ARGV  1 pub/sub channel, 2 command that publishes, 3 to 5 epoch ("" for none), top and nonce where the log is to end,
--       6 epoch from now on, 7 entries kept, 8 to 10 seconds that log, meta and dedupe entries live,
--       11… seven for each entry: seq, nonce, prev, id, ts, data, encoding or "-"
--
-- Entries keep their numbers, or follow the log's end: the caller has numbered them, in rising order. The publisher's
-- cseq is what stands behind the last "-" of the id.
--
-- Returns {"ok"}, or {"moved"} when the log ends elsewhere by now.
local meta = redis.call('HMGET', KEYS[2], 'epoch', 'top', 'nonce')
if (meta[1] or '') ~= ARGV[3] or (meta[2] or '0') ~= ARGV[4] or (meta[3] or '0') ~= ARGV[5] then
  return {'moved'}
end

local epoch = ARGV[6]
if ARGV[4] == '0' then -- Whatever stands there belongs to no history that is told of.
  redis.call('DEL', KEYS[1])
end
local key = 3
for i = 11, #ARGV, 7 do
  local seq, nonce, prev, id, ts, data, encoding =
    ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], ARGV[i + 6]
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[7], seq .. '-0',
    'nonce', nonce, 'prev', prev, 'id', id, 'ts', ts, 'data', data, 'encoding', encoding)
  redis.call('HSET', KEYS[2], 'epoch', epoch, 'top', seq, 'nonce', nonce)
  local cseq = tonumber(string.match(id, '%-(%d+)$') or '0')
  local known = redis.call('GET', KEYS[key])
  if cseq > tonumber(known and string.match(known, '^%d+') or '0') then
    redis.call('SET', KEYS[key], string.format('%.0f', cseq) .. ' ' .. seq, 'EX', ARGV[10])
  end
  key = key + 1
  redis.call(ARGV[2], ARGV[1], table.concat({epoch, seq, nonce, prev, ts, id, encoding, data}, ' '))
end
redis.call('EXPIRE', KEYS[1], ARGV[8])
redis.call('EXPIRE', KEYS[2], ARGV[9])
return {'ok'}
