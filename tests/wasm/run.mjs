// Runs the module of this folder, saves its trace, and prints what the module knows of itself:
// node run.mjs MODULE TRACE REQUESTS PAIRS
import { readFileSync, writeFileSync } from "node:fs";

const [, , module, trace, requests, pairs] = process.argv;
const { instance } = await WebAssembly.instantiate(readFileSync(module));
const { memory, ...functions } = instance.exports;
const bytesBefore = memory.buffer.byteLength;

functions.fragtrace_clock(performance.now(), Date.now());
const model = functions.load();
for (let request = 0; request < Number(requests); request++) {
  functions.fragtrace_clock(performance.now(), Date.now());
  functions.serve(model, request);
}
functions.churn(Number(pairs));

const bytes = new Uint8Array(
  memory.buffer, functions.fragtrace_trace(), functions.fragtrace_trace_bytes());
writeFileSync(trace, bytes);

for (const name of ["allocs", "frees", "reallocs", "live_bytes", "live_blocks", "addresses"])
  console.log(`${name}=${functions[name]()}`);
console.log(`grown_bytes=${memory.buffer.byteLength - bytesBefore}`);
