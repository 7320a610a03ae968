// The holes at this moment, and how full its pages are.

function bars(rows, format) {
  const most = Math.max(...rows.map(([, value]) => value), 1);
  return element("div", { class: "bars" }, ...rows.flatMap(([label, value, note]) => [
    element("span", {}, label),
    element("span", { class: "bar", style: `width:${100 * value / most}%` }),
    element("span", {}, note ?? format(value)),
  ]));
}

const HOLE_COLUMNS = [
  ["address", ([address]) => address, hex, "where it begins; a click shows the page"],
  ["bytes", ([, size]) => size, bytes, "how large it is"],
];

function drawHoles() {
  if (view.tab !== "holes") return;
  const frame = D.frames[view.frame];
  const parts = [];
  if (frame.holes.length === 0) {
    parts.push(element("p", { class: "muted" }, "No hole is known at this moment."));
  } else {
    const all = frame.holes.reduce((sum, [, , size]) => sum + size, 0);
    parts.push(element("p", {}, `${bytes(all)} lie free in ${count(frame.holes.reduce((sum, [, n]) => sum + n, 0))} holes.`));
    parts.push(element("h2", {}, "by size: bytes in holes of"));
    parts.push(bars(frame.holes.map(([from, n, size]) => [`${bytes(from)} …`, size, `${bytes(size)} in ${count(n)}`]), bytes));
    parts.push(element("h2", {}, "the largest"));
    parts.push(sortableTable("holes", HOLE_COLUMNS, frame.largest, ([address]) => showAddress(address)));
  }
  const pages = D.series.pages[stateAt(frame.t)];
  if (pages !== null) {
    parts.push(element("h2", {}, "pages in memory, by how much of them is live"));
    const empty = (D.series.releasable[stateAt(frame.t)] ?? 0) / D.page_bytes;
    const rows = [["nothing", empty], ...pages.map((n, at) => [`to ${at + 1}/16`, n])];
    parts.push(bars(rows, count));
  }
  byId("holes").replaceChildren(...parts);
}

function showAddress(address) {
  const cell = cellAt(address);
  if (cell < 0) return;
  change({ page: addressOf(cell) });
  zoomTo(cell);
}

function startHoles() {
  listen(["frame", "tab"], drawHoles);
}
