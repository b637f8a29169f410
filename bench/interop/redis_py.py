"""Takes turns with a lock of redis-py at its defaults, as a worker of the benchmarks does.

Arguments: URL, key, then in ms ttl, hold and window, then the number of this contender.
It writes `null` when it is ready, waits for a line, and writes its turns as one line of JSON.
"""

import json
import sys
import time

import redis
from redis.exceptions import LockNotOwnedError

url, key = sys.argv[1:3]
ttl, hold, window, who = (int(arg) for arg in sys.argv[3:])
now = time.monotonic_ns  # CLOCK_MONOTONIC, as in every worker

client = redis.Redis.from_url(url)
with client.lock(f"warm/{who}", timeout=ttl / 1000):
    pass
print("null", flush=True)
sys.stdin.readline()

cpu = time.process_time_ns()
start = now()
end = start + window * 1_000_000
turns, lost = [], 0
asked = start
while asked < end:
    lock = client.lock(key, timeout=ttl / 1000)
    lock.acquire()
    entered = now()
    time.sleep(hold / 1000)
    left = now()
    try:
        lock.release()
    except LockNotOwnedError:
        lost += 1
    done = now()
    turns.append((0, who, asked, entered, left, done, None))
    asked = done
cpu = time.process_time_ns() - cpu
outcome = {"start": start, "end": end, "cpu": cpu, "intruders": 0, "lost": lost, "turns": turns}
print(json.dumps(outcome), flush=True)
