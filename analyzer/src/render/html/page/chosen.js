// The chosen page: what it is, who pins it, which blocks lie on it, and how it got there.

function drawChosen() {
  if (view.tab !== "page") return;
  const host = byId("page");
  const cell = view.page === null ? -1 : cellAt(view.page);
  if (cell < 0) {
    host.replaceChildren(element("p", { class: "muted" }, "Click a square of the heap to see who pins it."));
    return;
  }
  const frame = D.frames[view.frame];
  const start = addressOf(cell);
  const [place, state] = cellWords(frame, cell);
  const parts = [element("h2", {}, place), element("p", {}, state),
    ...poolsIn(start, start + D.cell_bytes, frame.t).slice(0, 3).map((pool) => element("p", {}, poolWords(pool))),
    element("button", { type: "button", click: () => zoomTo(cell) }, "zoom to it")];
  const detail = detailOf(view.frame);
  if (frame.fill[cell] >= 3) {
    parts.push(element("h2", {}, "pinned by"));
    if (detail !== null && pageIsWhole(detail, Math.floor(start / D.page_bytes))) parts.push(...pinners(detail, start));
    else parts.push(siteLine(frame.site[cell], "has most of its live bytes"), ...elsewhere());
  }
  const history = element("canvas", { id: "history", "aria-label": "How full it was over time" });
  parts.push(element("h2", {}, "over time"), history);
  host.replaceChildren(...parts);
  drawHistory(history, cell);
}

const siteLine = (site, words) => element("p", {}, element("button", { type: "button", click: () => chooseSite(site) }, siteName(site)), ` ${words}`);

// Where single blocks are known, if not here.
function elsewhere() {
  const others = D.details.filter((detail) => detail !== detailOf(view.frame));
  if (others.length === 0) return [];
  const buttons = others.map((detail) => element("button", { type: "button", click: () => change({ frame: frameNear(detail.t) }) }, `${detail.label}, ${duration(detail.t)}`));
  return [element("p", { class: "muted" }, "Its single blocks may be known at: "), ...buttons];
}

function pinners(detail, start) {
  const found = blocksIn(detail, start, start + D.cell_bytes);
  const bySite = new Map();
  for (const at of found) {
    const part = Math.min(detail.start[at] + detail.bytes[at], start + D.cell_bytes) - Math.max(detail.start[at], start);
    bySite.set(detail.site[at], (bySite.get(detail.site[at]) ?? 0) + part);
  }
  const lines = [...bySite].sort((a, b) => b[1] - a[1]).map(([site, part]) => siteLine(site, `takes ${bytes(part)} of it`));
  const list = found.slice(0, 100).map((at) => element("li", {}, blockWords(detail, at).slice(0, 2).join(", ")));
  return [...lines, element("h2", {}, `${count(found.length)} blocks`), element("ul", {}, ...list),
    found.length > 100 ? element("p", { class: "muted" }, `and ${count(found.length - 100)} more`) : ""];
}

function drawHistory(canvas, cell) {
  canvas.width = Math.max(Math.round(canvas.clientWidth * devicePixelRatio), 1);
  canvas.height = Math.max(Math.round(canvas.clientHeight * devicePixelRatio), 1);
  const context = canvas.getContext("2d");
  D.frames.forEach((frame, at) => {
    const x = Math.round(timeShare(frame.t) * canvas.width);
    const next = at + 1 < D.frames.length ? timeShare(D.frames[at + 1].t) : 1;
    context.fillStyle = css(rgb[lookAt(frame, cell)]);
    context.fillRect(x, 0, Math.max(next * canvas.width - x, 1) + 1, canvas.height);
  });
  context.fillStyle = css(palette().text);
  context.fillRect(timeShare(D.frames[view.frame].t) * canvas.width - 1, 0, 2 * devicePixelRatio, canvas.height);
}

function startChosen() {
  listen(["frame", "page", "tab", "site", "colour", "theme"], drawChosen);
}
