// The page's data: unpacked once, then only read.
//
// Cells are counted over all bands, from the lowest address on. `fill` says how full a cell is
// (0 never used, 1 given back, 2 held and empty, 3…34 from hardly live to all live), `site` whose
// most of it is, `kinds` of which age and size, `rest` how much of it is held and of which thread.

const FULL = 34;
const PLANES = 4;
let D = null;

async function unpack(id) {
  const text = byId(id).textContent;
  const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function load() {
  const [text, planes] = await Promise.all([unpack("data"), unpack("planes")]);
  D = JSON.parse(new TextDecoder().decode(text));
  D.cells = 0;
  D.bands = D.bands.map(([start, cells, label]) => {
    const band = { start, cells, label, first: D.cells };
    D.cells += cells;
    return band;
  });
  readPlanes(planes);
  D.details.forEach(readDetail);
  D.start = D.trace.window_start_ns;
  D.end = Math.max(D.trace.duration_ns, D.start + 1);
}

// Undoes the differences from frame to frame.
function readPlanes(planes) {
  const length = D.cells * PLANES;
  D.frames.forEach((frame, at) => {
    const now = planes.subarray(at * length, (at + 1) * length);
    if (at > 0) {
      const before = planes.subarray((at - 1) * length, at * length);
      for (let i = 0; i < length; i++) now[i] ^= before[i];
    }
    [frame.fill, frame.site, frame.kinds, frame.rest] =
      [0, 1, 2, 3].map((plane) => now.subarray(plane * D.cells, (plane + 1) * D.cells));
  });
}

function readDetail(detail) {
  let at = 0;
  detail.start = Float64Array.from(detail.start, (step) => (at += step * 8));
  detail.bytes = Float64Array.from(detail.bytes, (length) => length * 8);
}

const addressOf = (cell) => {
  const band = bandOf(cell);
  return band.start + (cell - band.first) * D.cell_bytes;
};

function bandOf(cell) {
  let found = D.bands[0];
  for (const band of D.bands) if (band.first <= cell) found = band;
  return found;
}

function cellAt(address) {
  for (const band of D.bands) {
    const cell = Math.floor((address - band.start) / D.cell_bytes);
    if (cell >= 0 && cell < band.cells) return band.first + cell;
  }
  return -1;
}

// How much of a cell is in the footprint, and live, in bytes.
function heldBytes(frame, cell) {
  if (frame.fill[cell] < 2) return 0;
  return D.cell_bytes * ((frame.rest[cell] & 15) + 1) / 16;
}
const liveShare = (fill) => fill < 3 ? 0 : Math.max((fill - 3) / (FULL - 3), 0.01);

// Kinds count from 1 on; 0: no block is there.
const ageKind = (frame, cell) => frame.kinds[cell] & 15;
const sizeKind = (frame, cell) => frame.kinds[cell] >> 4;
const threadKind = (frame, cell) => frame.rest[cell] >> 4;
const kindLabel = (by, kind) => D.kinds[by].labels[kind - 1] ?? "";

// The kind of an age in nanoseconds, or of a size in bytes.
function kindOf(by, value) {
  const { bounds } = D.kinds[by];
  const at = bounds.findIndex((bound) => value <= bound);
  return at < 0 ? bounds.length + 1 : at + 1;
}
function kindOfThread(thread) {
  const { bounds } = D.kinds.thread;
  const at = bounds.indexOf(thread);
  return at < 0 ? bounds.length + 1 : at + 1;
}

const siteName = (site) => site === 0 ? "(stack not known)"
  : site === D.other_sites[0] ? `${count(D.other_sites[1])} other sites` : D.sites[site].words;

// The frame closest to a moment.
function frameNear(ns) {
  let best = 0;
  D.frames.forEach((frame, at) => {
    if (Math.abs(frame.t - ns) < Math.abs(D.frames[best].t - ns)) best = at;
  });
  return best;
}

// The last state of the series not later than a moment.
function stateAt(ns) {
  const times = D.series.time_ns;
  let [low, high] = [0, times.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (times[middle] <= ns) low = middle; else high = middle - 1;
  }
  return low;
}

// Single blocks, if they are known at this frame.
const detailOf = (at) => D.details.find((detail) => frameNear(detail.t) === at) ?? null;

// The number of the first block that ends behind an address.
function firstBlock(detail, address) {
  let [low, high] = [0, detail.start.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (detail.start[middle] + detail.bytes[middle] <= address) low = middle + 1; else high = middle;
  }
  return low;
}

// Whether all blocks of a page are known.
function pageIsWhole(detail, page) {
  return detail.whole === null || detail.whole.some(([from, to]) => from <= page && page < to);
}

// The blocks of a detail that have a part in a range of addresses.
function blocksIn(detail, from, to) {
  const found = [];
  for (let at = firstBlock(detail, from); at < detail.start.length && detail.start[at] < to; at++) {
    found.push(at);
  }
  return found;
}
