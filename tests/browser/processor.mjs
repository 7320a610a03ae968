// What a browser and all else take of the processors, from the kernel's files.

import { readFileSync, readdirSync } from "node:fs";

const TICKS_PER_SECOND = 100;

const lines = (path) => {
  try {
    return readFileSync(path, "utf8").split("\n");
  } catch {
    // Processes and threads come and go.
    return [""];
  }
};
const numbers = (path) => readdirSync(path).filter((name) => /^\d+$/.test(name));

// A process and all that come from it.
function family(pid) {
  const children = new Map();
  for (const process of numbers("/proc")) {
    // The name in brackets may hold anything.
    const parent = Number(lines(`/proc/${process}/stat`)[0].split(") ").at(-1).split(" ")[1]);
    children.set(parent, [...children.get(parent) ?? [], Number(process)]);
  }
  const all = [pid];
  for (let at = 0; at < all.length; at++) all.push(...children.get(all[at]) ?? []);
  return all;
}

const families = new Map();

// Milliseconds of all threads of a process and of those that came from it, as far as these were
// there when it was asked for the first time.
export function processorMs(pid) {
  if (!families.has(pid)) families.set(pid, family(pid));
  let sum = 0;
  for (const process of families.get(pid)) {
    let threads = [];
    try {
      threads = numbers(`/proc/${process}/task`);
    } catch {
      continue;
    }
    for (const thread of threads) sum += Number(lines(`/proc/${process}/task/${thread}/schedstat`)[0].split(" ")[0]);
  }
  return sum / 1e6;
}

// Begins to measure; the function that it gives says how many processors others kept busy since,
// on average.
export function machineLoad(pid) {
  const now = () => {
    const [user, nice, system, , , irq, softirq, steal] = lines("/proc/stat")[0].split(/ +/).slice(1).map(Number);
    const busy = (user + nice + system + irq + softirq + steal) * 1000 / TICKS_PER_SECOND;
    const own = process.cpuUsage();
    return { at: performance.now(), others: busy - processorMs(pid) - (own.user + own.system) / 1000 };
  };
  const before = now();
  return () => {
    const after = now();
    return (after.others - before.others) / (after.at - before.at);
  };
}
