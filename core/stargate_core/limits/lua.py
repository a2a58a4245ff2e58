"""The rule as Lua, for a Redis that several gateways share.

One EVALSHA decides over all buckets of a request, so nothing can come between the look and the taking: check
in one command and count in the next is the race of every limiter that leaks. The arithmetic is rule.py's, and
why it is so is told there; the test beside this file lives thousands of histories through both.

What is particular to Redis:

- Time is the server's own (`TIME`), so all gateways share one clock; a caller may name another, for tests.
  The script writes what it has computed, not how: replication by effect, the default since Redis 5
  (redis.io/docs/latest/develop/programmability/eval-intro, "Script replication"). Nothing here is newer than
  that, or specific to Redis rather than Valkey.
- Everything is read before anything is written, and a refused Take writes nothing at all.
- A FIXED bucket is the string `f START COUNT`, a GCRA bucket `g TAT WRITTEN-AT`, a SLIDING one a hash of
  slice to count, a CONCURRENT one a sorted set of `N:LEASE` by expiry, one member for each of its cost.
  Whatever else is found under a key is somebody else's: the answer is a WRONGTYPE error, as Redis says it.
- Every key expires some seconds after it has become useless. No decision rests on that: states say
  themselves how old they are.
- Lua's numbers are doubles, and its `tostring` keeps 14 digits of them: what is written goes through `%.0f`.
  A number in a reply becomes a 64-bit integer and keeps all that a double has. `a % b` is exact as long as
  a < 2^53; so is each sum, as long as a TAT is reckoned from now and the year is before 2112.
"""

from typing import Final

RULE: Final = """
local AMOUNT_MAX = 4503599627370496
local SPAN_MAX = 2251799813685248
local LEASE_COST_MAX = 1024
local SLICES = 12
local CONCURRENT_WAIT = 1000000
local DAY = 86400000000
local KEEP_MS = 10000
local NOT_OURS = 'WRONGTYPE this key holds something else than the bucket that was asked for: '

local floor, ceil, min, max = math.floor, math.ceil, math.min, math.max
local format = string.format

local function clock(given)
  if given ~= '' then return tonumber(given) end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function keep_ms(useful_us)
  return format('%.0f', ceil(max(0, useful_us) / 1000) + KEEP_MS)
end

local function first_of_month(day)
  local shifted = day + 719468
  local of_era = shifted % 146097
  local year = floor((of_era - floor(of_era / 1460) + floor(of_era / 36524) - floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + floor(year / 4) - floor(year / 100))
  local month = floor((5 * of_year + 2) / 153)
  return day - (of_year - floor((153 * month + 2) / 5))
end

local function window_of(at, length)
  if length ~= 0 then
    local start = at - at % length
    return start, start + length
  end
  local first = first_of_month(floor(at / DAY))
  return first * DAY, first_of_month(first + 31) * DAY
end

-- Each kind: load what is kept (an error, if it is somebody else's), say the wait, put, level, settle.

local fixed = {}

function fixed.load(b, now)
  b.start, b.finish = window_of(now, b.window)
  b.count = 0
  local text = redis.pcall('GET', b.key)
  if not text then return nil end
  if type(text) ~= 'string' then return NOT_OURS end
  local start, count = string.match(text, '^f (%d+) (%d+)$')
  if not start then return NOT_OURS end
  start = tonumber(start)
  if start == b.finish then
    b.start, b.finish = window_of(start, b.window)
  end
  if start == b.start then b.count = tonumber(count) end
end

function fixed.wait(b, now)
  if b.count + b.cost <= b.limit then return 0 end
  if b.cost > b.limit then return -1 end
  return b.finish - now
end

local function fixed_write(b, now)
  redis.call('SET', b.key, format('f %.0f %.0f', b.start, b.count), 'PX', keep_ms(b.finish - now))
end

function fixed.put(b, now)
  b.count = b.count + b.cost
  fixed_write(b, now)
end

function fixed.level(b, now)
  return max(0, b.limit - b.count), b.count > 0 and b.finish - now or 0
end

function fixed.settle(b, now, at)
  if b.used > b.taken then
    b.count = min(b.count + b.used - b.taken, AMOUNT_MAX)
  elseif b.start == window_of(at, b.window) and b.count > 0 then
    b.count = max(0, b.count + b.used - b.taken)
  else
    return
  end
  fixed_write(b, now)
end

local sliding = {}

local function leaves(b, index)
  return (index + 1) * b.slice + b.window
end

function sliding.load(b, now)
  b.slice = ceil(b.window / SLICES)
  b.counts, b.order, b.left, b.total, b.last = {}, {}, {}, 0, 0
  local fields = redis.pcall('HGETALL', b.key)
  if fields.err then return NOT_OURS end
  local newest = floor(now / b.slice) + SLICES
  for i = 1, #fields, 2 do
    local index, count = tonumber(fields[i]), tonumber(fields[i + 1])
    if not index or not count then return NOT_OURS end
    if leaves(b, index) <= now or index > newest then
      b.left[#b.left + 1] = fields[i]
    else
      b.counts[index] = count
      b.order[#b.order + 1] = index
      b.total = b.total + count
      b.last = max(b.last, index)
    end
  end
  table.sort(b.order)
end

function sliding.wait(b, now)
  local excess = b.total + b.cost - b.limit
  if excess <= 0 then return 0 end
  if b.cost > b.limit then return -1 end
  for _, index in ipairs(b.order) do
    excess = excess - b.counts[index]
    if excess <= 0 then return leaves(b, index) - now end
  end
end

local function sliding_add(b, now, amount)
  local index = floor(now / b.slice)
  if #b.left > 0 then redis.call('HDEL', b.key, unpack(b.left)) end
  b.total = b.total + amount
  b.last = max(b.last, index)
  redis.call('HSET', b.key, format('%.0f', index), format('%.0f', (b.counts[index] or 0) + amount))
  redis.call('PEXPIRE', b.key, keep_ms(leaves(b, b.last) - now))
end

function sliding.put(b, now)
  sliding_add(b, now, b.cost)
end

function sliding.level(b, now)
  return max(0, b.limit - b.total), b.total > 0 and leaves(b, b.last) - now or 0
end

function sliding.settle(b, now, at)
  if b.used > b.taken then
    local more = min(b.used - b.taken, AMOUNT_MAX - b.total)
    if more > 0 then sliding_add(b, now, more) end
    return
  end
  local index = floor(at / b.slice)
  local held = b.counts[index] or 0
  local back = min(held, b.taken - b.used)
  if back == 0 then return end
  if back < held then
    redis.call('HSET', b.key, format('%.0f', index), format('%.0f', held - back))
  else
    redis.call('HDEL', b.key, format('%.0f', index))
  end
end

local gcra = {}

local function increment(b, amount)
  return min(ceil(amount * b.window / b.limit), SPAN_MAX)
end

function gcra.load(b, now)
  b.tolerance = increment(b, b.burst) + max(0, min(b.burst, floor(b.window / b.limit) - 1))
  b.tat = now
  local text = redis.pcall('GET', b.key)
  if not text then return nil end
  if type(text) ~= 'string' then return NOT_OURS end
  local tat, at = string.match(text, '^g (%d+) (%d+)$')
  if not tat then return NOT_OURS end
  if now >= tonumber(at) - b.window then b.tat = max(now, tonumber(tat)) end
end

function gcra.wait(b, now)
  if b.cost > b.burst then return -1 end
  return max(0, b.tat - now + increment(b, b.cost) - b.tolerance)
end

local function gcra_write(b, now)
  redis.call('SET', b.key, format('g %.0f %.0f', b.tat, now), 'PX', keep_ms(b.tat - now))
end

function gcra.put(b, now)
  b.tat = b.tat + increment(b, b.cost)
  gcra_write(b, now)
end

function gcra.level(b, now)
  local room = b.tolerance - (b.tat - now)
  local left = 0
  if room > 0 then
    left = min(floor(room * b.limit / b.window), b.burst)
    if left > 0 and increment(b, left) > room then left = left - 1 end
  end
  return left, b.tat - now
end

function gcra.settle(b, now)
  local before = b.tat
  local ahead = b.tat - now + increment(b, b.used) - increment(b, b.taken)
  b.tat = now + min(max(ahead, 0), SPAN_MAX)
  if b.tat ~= before then gcra_write(b, now) end
end

local concurrent = {}

local function member(i, lease)
  return format('%.0f', i) .. ':' .. lease
end

function concurrent.load(b, now, lease)
  local live = redis.pcall('ZCOUNT', b.key, format('(%.0f', now), '+inf')
  if type(live) ~= 'number' then return NOT_OURS end
  b.live, b.own = live, 0
  if live == 0 or not b.cost or b.cost == 0 then return nil end
  -- The members of a lease expire together.
  local expiry = redis.call('ZSCORE', b.key, member(1, lease))
  if not expiry or tonumber(expiry) <= now then return nil end
  repeat b.own = b.own + 1 until not redis.call('ZSCORE', b.key, member(b.own + 1, lease))
end

function concurrent.wait(b, now)
  if b.cost > b.limit or b.cost > LEASE_COST_MAX then return -1 end
  if b.live - b.own + b.cost <= b.limit then return 0 end
  return CONCURRENT_WAIT
end

local function release(b, lease)
  local i = 1
  while redis.call('ZREM', b.key, member(i, lease)) == 1 do i = i + 1 end
end

function concurrent.put(b, now, lease, lease_us)
  release(b, lease)
  redis.call('ZREMRANGEBYSCORE', b.key, '-inf', format('%.0f', now))
  b.live = b.live - b.own
  if lease_us <= 0 then return end
  local expiry, members = format('%.0f', now + lease_us), {}
  for i = 1, b.cost do
    members[#members + 1] = expiry
    members[#members + 1] = member(i, lease)
  end
  redis.call('ZADD', b.key, unpack(members))
  b.live = b.live + b.cost
  local last = redis.call('ZREVRANGE', b.key, 0, 0, 'WITHSCORES')
  redis.call('PEXPIRE', b.key, keep_ms(tonumber(last[2]) - now))
end

function concurrent.level(b)
  return max(0, b.limit - b.live), 0
end

function concurrent.settle(b, now, at, lease)
  release(b, lease)
end

local kinds = { f = fixed, s = sliding, g = gcra, c = concurrent }
"""
"""What both scripts begin with."""

TAKE: Final = """
-- KEYS: the buckets. ARGV: now or '', lease, lease_us; of each claim: kind, limit, window, burst, cost.
-- Answer: 1 or 0, now, refused or -1, wait; of each claim: remaining, reset.
local now, lease, lease_us = clock(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local buckets, refused, wait = {}, -1, 0
for i, key in ipairs(KEYS) do
  local at = 5 * i - 1
  local b = {
    key = key, kind = kinds[ARGV[at]], limit = tonumber(ARGV[at + 1]), window = tonumber(ARGV[at + 2]),
    burst = tonumber(ARGV[at + 3]), cost = tonumber(ARGV[at + 4]),
  }
  local trouble = b.kind.load(b, now, lease)
  if trouble then return redis.error_reply(trouble .. key) end
  local needed = b.kind.wait(b, now)
  if needed ~= 0 then
    if refused < 0 then refused = i - 1 end
    if needed < 0 or wait < 0 then wait = -1 else wait = max(needed, wait) end
  end
  buckets[i] = b
end
local answer = { refused < 0 and 1 or 0, now, refused, wait }
for _, b in ipairs(buckets) do
  if refused < 0 and b.cost > 0 then b.kind.put(b, now, lease, lease_us) end
  local remaining, reset = b.kind.level(b, now)
  answer[#answer + 1] = remaining
  answer[#answer + 1] = reset
end
return answer
"""
"""Take from all or from none."""

SETTLE: Final = """
-- KEYS: the buckets. ARGV: now or '', lease, when it was taken; of each: kind, limit, window, burst, taken,
-- used.
-- Answer: 1; if a key is somebody else's an error, when the others are settled.
local now, lease, taken_at = clock(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local wrong = nil
for i, key in ipairs(KEYS) do
  local at = 6 * i - 2
  local b = {
    key = key, kind = kinds[ARGV[at]], limit = tonumber(ARGV[at + 1]), window = tonumber(ARGV[at + 2]),
    burst = tonumber(ARGV[at + 3]), taken = tonumber(ARGV[at + 4]), used = tonumber(ARGV[at + 5]),
  }
  local trouble = b.kind.load(b, now, lease)
  if trouble then
    wrong = trouble .. key
  else
    b.kind.settle(b, now, taken_at, lease)
  end
end
if wrong then return redis.error_reply(wrong) end
return 1
"""
"""Settle all."""
