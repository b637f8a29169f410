// Takes turns with a lock of node-redlock, as a worker of the benchmarks does. All settings are
// defaults but one: attempts are not limited.
//
// Arguments: URL, key, then in ms ttl, hold and window, then the number of this contender.
// It writes `null` when it is ready, waits for a line, and writes its turns as one line of JSON.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const require = createRequire(`${process.cwd()}/`); // the packages are installed there
const { Redis } = require("ioredis");
const Redlock = require("redlock");

const [url, key, ...numbers] = process.argv.slice(2);
const [ttl, hold, window, who] = numbers.map(Number);
const now = () => Number(process.hrtime.bigint()); // CLOCK_MONOTONIC, as in every worker

const redlock = new Redlock([new Redis(url)], { retryCount: -1 });
await (await redlock.lock(`warm/${who}`, ttl)).unlock();

const lines = createInterface({ input: process.stdin });
lines.on("close", () => process.exit(1)); // the parent has ended
console.log("null");
await new Promise((resolve) => lines.once("line", resolve));

const start = now();
const end = start + window * 1e6;
const turns = [];
let lost = 0;
let asked = start;
while (asked < end) {
  const lock = await redlock.lock(key, ttl);
  const entered = now();
  await sleep(hold);
  const left = now();
  await lock.unlock().catch((error) => {
    if (error.name !== "LockError") throw error;
    lost += 1;
  });
  const done = now();
  turns.push([0, who, asked, entered, left, done, null]);
  asked = done;
}
const { user, system } = process.cpuUsage();
const cpu = (user + system) * 1000;
console.log(JSON.stringify({ start, end, cpu, intruders: 0, lost, turns }));
