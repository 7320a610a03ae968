// Pools that the program told of: a table to search and to sort, and frames on the heap map. What is
// in a pool is known as of the end.

const POOL_COLUMNS = [
  ["name", (pool) => pool.name, (name) => name, "as the program calls it"],
  ["bytes", (pool) => pool.bytes, bytes, "all of it"],
  ["live", (pool) => pool.live_bytes, bytes, "what is acquired in it, at the end"],
  ["blocks", (pool) => pool.live_blocks, count, "how many blocks, at the end"],
  ["most live", (pool) => pool.peak_live_bytes, bytes, "the most that was acquired in it at a time"],
  ["there", (pool) => (pool.destroyed_ns ?? D.end) - pool.created_ns, duration, "how long it was there"],
];

const poolIsThere = (pool, ns) => pool.created_ns <= ns && ns < (pool.destroyed_ns ?? Infinity);

// The pools that a stretch of addresses has a part in.
const poolsIn = (from, to, ns) => D.pools.filter((pool) =>
  pool.start < to && pool.start + pool.bytes > from && poolIsThere(pool, ns));

function poolWords(pool) {
  const live = pool.live_bytes === null || pool.destroyed_ns !== null ? ""
    : `, ${bytes(pool.live_bytes)} live in it at the end`;
  return `in pool ${pool.name} of ${bytes(pool.bytes)}${live}`;
}

// Shows a pool's first page, at a moment at which the pool was there.
function choosePool(pool) {
  const frame = D.frames[view.frame];
  if (!poolIsThere(pool, frame.t)) change({ frame: frameNear(pool.created_ns) });
  showAddress(pool.start);
}

function drawPoolRows() {
  const query = byId("pool-search").value.toLowerCase();
  const rows = D.pools.filter((pool) => pool.name.toLowerCase().includes(query));
  byId("pool-table").replaceChildren(rows.length > 0 ? sortableTable("pools", POOL_COLUMNS, rows, choosePool)
    : element("p", { class: "muted" }, "No pool fits."));
}

// Frames on the heap map, over which the pointer and the line of the moment go.
function drawPools(context, height) {
  const rows = overviewRows(height);
  const y = (address) => {
    const cell = cellAt(address);
    const row = rows.find(({ band }) => cell >= band.first && cell < band.first + band.cells);
    return row === undefined ? null : height - row.from - (cell - row.band.first) / row.band.cells * row.rows;
  };
  for (const pool of D.pools) {
    const [bottom, top] = [y(pool.start), y(pool.start + pool.bytes - 1)];
    if (bottom === null || top === null || bottom - top < 3) continue;
    const x = Math.round(timeShare(Math.max(pool.created_ns, D.start)) * context.canvas.width);
    const end = Math.round(timeShare(pool.destroyed_ns ?? D.end) * context.canvas.width);
    if (end - x < 3) continue;
    for (const [colour, inwards] of [["text", 0.5], ["ground", 1.5]]) {
      context.strokeStyle = css(palette()[colour]);
      context.strokeRect(x + inwards, Math.round(top) + inwards, end - x - 2 * inwards, Math.round(bottom - top) - 2 * inwards);
    }
  }
}

function startPools() {
  byId("tab-pools").hidden = D.pools.length === 0;
  byId("pool-search").addEventListener("input", drawPoolRows);
  drawPoolRows();
}
