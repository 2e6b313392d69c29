-- Appends one message to a channel's log and tells all nodes: in one step, so that log order is fan-out order.
--
-- KEYS  1 log (stream), 2 meta (hash epoch, top, nonce), 3 this publisher's last append to this channel ("cseq seq")
-- ARGV  1 pub/sub channel, 2 cseq, 3 after, 4 id, 5 ts, 6 data, 7 encoding or "-", 8 nonce,
--       9 epoch to begin with if there is no log, 10 entries kept,
--       11 to 13 seconds that log, meta and dedupe entry live after the last append,
--       14 command that publishes, 15 to 17 epoch, seq and nonce that the calling node has seen; seq 0: nothing
--
-- `after` is the cseq that the same connection sent before this one, 0 if it does not matter: a message must never
-- overtake an earlier one that was refused, or the earlier one's repetition would pass for a duplicate.
--
-- A log that lacks what the node has seen is not the log that it was (a stale replica was promoted, or everything is
-- gone). Nothing is written on top of that before the node has put back what is missing.
--
-- Returns {"ok", seq}, {"dup", seq of the first time, 0 when it is not found any more}, {"order", last cseq} or
-- {"fork", top}.
local SEARCHED = 1024

local meta = redis.call('HMGET', KEYS[2], 'epoch', 'top', 'nonce')
local epoch, top, prev = meta[1], meta[2], meta[3]
local seen = tonumber(ARGV[16])
if seen > 0 and (epoch ~= ARGV[15] or tonumber(top or '0') < seen
    or (tonumber(top) == seen and prev ~= ARGV[17])) then
  return {'fork', top or '0'}
end

local cseq = tonumber(ARGV[2])
local last, last_seq = 0, '0'
local known = redis.call('GET', KEYS[3])
if known then
  local known_cseq, known_seq = string.match(known, '^(%d+) (%d+)$')
  last, last_seq = tonumber(known_cseq), known_seq
end
if cseq == last then
  return {'dup', last_seq}
end
if cseq < last then
  for _, entry in ipairs(redis.call('XREVRANGE', KEYS[1], last_seq .. '-0', '-', 'COUNT', SEARCHED)) do
    local fields = entry[2]
    for i = 1, #fields, 2 do
      if fields[i] == 'id' and fields[i + 1] == ARGV[4] then
        return {'dup', string.match(entry[1], '^%d+')}
      end
    end
  end
  return {'dup', '0'}
end
if last < tonumber(ARGV[3]) then
  return {'order', string.format('%.0f', last)}
end

epoch = epoch or ARGV[9]
if not top then -- The first message of a history: nothing of an older one may stand in its log.
  top, prev = '0', '0'
  redis.call('DEL', KEYS[1])
end
local seq = string.format('%.0f', tonumber(top) + 1)
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[10], seq .. '-0',
  'nonce', ARGV[8], 'prev', prev, 'id', ARGV[4], 'ts', ARGV[5], 'data', ARGV[6], 'encoding', ARGV[7])
redis.call('HSET', KEYS[2], 'epoch', epoch, 'top', seq, 'nonce', ARGV[8])
redis.call('SET', KEYS[3], ARGV[2] .. ' ' .. seq, 'EX', ARGV[13])
redis.call('EXPIRE', KEYS[1], ARGV[11])
redis.call('EXPIRE', KEYS[2], ARGV[12])
redis.call(ARGV[14], ARGV[1],
  table.concat({epoch, seq, ARGV[8], prev, ARGV[5], ARGV[4], ARGV[7], ARGV[6]}, ' '))
return {'ok', seq}
