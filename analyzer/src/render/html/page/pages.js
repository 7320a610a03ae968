// The heap's pages at the chosen moment: a square for each, row by row, the lowest address
// first. The wheel zooms in, down to the single blocks on a page.

const GAP = 2;
const BLOCK_ROWS = 16;
const pagesImage = document.createElement("canvas");
let grid = null;

// How squares lie: so many in a row that all fit, and as large as that allows.
function layOut() {
  const canvas = byId("pages");
  const [width, height] = [Math.max(canvas.clientWidth, 1), Math.max(canvas.clientHeight, 1)];
  const rowsWith = (columns) => D.bands.reduce((sum, band) => sum + Math.ceil(band.cells / columns), 0)
    + GAP * Math.max(D.bands.length - 1, 0);
  let [low, high] = [1, Math.max(D.cells, 1)];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rowsWith(middle) * width / middle <= height) high = middle; else low = middle + 1;
  }
  const columns = low;
  const rows = Math.max(rowsWith(columns), 1);
  const place = new Uint32Array(D.cells);
  const cells = new Int32Array(columns * rows).fill(-1);
  let top = 0;
  for (const band of D.bands) {
    for (let at = 0; at < band.cells; at++) {
      const spot = (top + Math.floor(at / columns)) * columns + at % columns;
      place[band.first + at] = spot;
      cells[spot] = band.first + at;
    }
    top += Math.ceil(band.cells / columns) + GAP;
  }
  grid = { columns, rows, place, cells, side: Math.min(width / columns, height / rows) };
  pagesImage.width = columns;
  pagesImage.height = rows;
  grid.image = pagesImage.getContext("2d").createImageData(columns, rows);
  grid.pixels = new Uint32Array(grid.image.data.buffer);
}

function paintPages() {
  const frame = D.frames[view.frame];
  const { place, pixels, image } = grid;
  pixels.fill(0);
  for (let cell = 0; cell < D.cells; cell++) pixels[place[cell]] = table[lookAt(frame, cell)];
  pagesImage.getContext("2d").putImageData(image, 0, 0);
  drawPages();
}

function drawPages() {
  const canvas = byId("pages");
  const ratio = devicePixelRatio;
  const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const context = canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = css(palette().ground);
  context.fillRect(0, 0, width, height);
  const side = grid.side * view.zoom.k * ratio;
  context.imageSmoothingEnabled = side < 1;
  context.setTransform(side, 0, 0, side, view.zoom.x * ratio, view.zoom.y * ratio);
  context.drawImage(pagesImage, 0, 0);
  const shown = shownCells();
  if (side >= 6 * ratio) drawLines(context, side, shown);
  if (side >= 40 * ratio) drawBlocks(context, side, shown);
  if (view.page !== null) frameCell(context, cellAt(view.page), 2 * ratio / side);
}

// The rows and columns of squares that are seen.
function shownCells() {
  const canvas = byId("pages");
  const side = grid.side * view.zoom.k;
  const clamp = (value, most) => Math.min(Math.max(value, 0), most);
  return {
    left: clamp(Math.floor(-view.zoom.x / side), grid.columns),
    right: clamp(Math.ceil((canvas.clientWidth - view.zoom.x) / side), grid.columns),
    top: clamp(Math.floor(-view.zoom.y / side), grid.rows),
    bottom: clamp(Math.ceil((canvas.clientHeight - view.zoom.y) / side), grid.rows),
  };
}

function drawLines(context, side, { left, right, top, bottom }) {
  context.strokeStyle = css(palette().ground);
  context.lineWidth = Math.max(1, devicePixelRatio) / side;
  context.beginPath();
  for (let x = left; x <= right; x++) { context.moveTo(x, top); context.lineTo(x, bottom); }
  for (let y = top; y <= bottom; y++) { context.moveTo(left, y); context.lineTo(right, y); }
  context.stroke();
}

// Blocks inside their pages, as lines of a sixteenth of a page: only where they are known.
function drawBlocks(context, side, shown) {
  const detail = detailOf(view.frame);
  if (detail === null) return;
  const line = D.cell_bytes / BLOCK_ROWS;
  for (let y = shown.top; y < shown.bottom; y++) {
    for (let x = shown.left; x < shown.right; x++) {
      const cell = grid.cells[y * grid.columns + x];
      if (cell < 0) continue;
      const start = addressOf(cell);
      if (D.frames[view.frame].fill[cell] < 3 || !pageIsWhole(detail, Math.floor(start / D.page_bytes))) continue;
      context.fillStyle = css(palette().empty);
      context.fillRect(x, y, 1, 1);
      for (const at of blocksIn(detail, start, start + D.cell_bytes)) {
        context.fillStyle = css(rgb[lookAtBlock(detail, at)]);
        const end = Math.min(detail.start[at] + detail.bytes[at], start + D.cell_bytes);
        for (let from = Math.max(detail.start[at], start); from < end;) {
          const row = Math.floor((from - start) / line);
          const to = Math.min(end, start + (row + 1) * line);
          const gap = side > 200 ? 1.5 / side : 0;
          context.fillRect(x + (from - start - row * line) / line, y + row / BLOCK_ROWS,
            Math.max((to - from) / line - gap, gap), 1 / BLOCK_ROWS - gap);
          from = to;
        }
      }
    }
  }
  drawLines(context, side, shown);
}

function frameCell(context, cell, width) {
  if (cell < 0) return;
  const [x, y] = [grid.place[cell] % grid.columns, Math.floor(grid.place[cell] / grid.columns)];
  context.strokeStyle = css(palette().text);
  context.lineWidth = width;
  context.strokeRect(x - width / 2, y - width / 2, 1 + width, 1 + width);
}

// The address below the pointer: { cell, address }, or null.
function pointed(event) {
  const box = byId("pages").getBoundingClientRect();
  const side = grid.side * view.zoom.k;
  const x = (event.clientX - box.left - view.zoom.x) / side;
  const y = (event.clientY - box.top - view.zoom.y) / side;
  if (x < 0 || y < 0 || x >= grid.columns || y >= grid.rows) return null;
  const cell = grid.cells[Math.floor(y) * grid.columns + Math.floor(x)];
  if (cell < 0) return null;
  const row = Math.floor((y % 1) * BLOCK_ROWS);
  return { cell, side, address: addressOf(cell) + Math.floor((row + x % 1) * D.cell_bytes / BLOCK_ROWS) };
}

function cellWords(frame, cell) {
  const start = addressOf(cell);
  const fill = frame.fill[cell];
  const state = ["never used", "given back", "held, nothing live"][fill]
    ?? `blocks fill about ${percent(liveShare(fill))} of what is held`;
  const words = [`${hex(start)} (${bandOf(cell).label}, ${bytes(D.cell_bytes)})`, state];
  if (fill >= 3) words.push(`most of it: ${siteName(frame.site[cell])}`, ...mostWords(frame, cell));
  words.push(...poolsIn(start, start + D.cell_bytes, frame.t).slice(0, 3).map(poolWords));
  return words;
}

// Size, age and thread of most of a cell's live bytes.
function mostWords(frame, cell) {
  const size = sizeKind(frame, cell);
  if (size === 0) return [];
  const ages = within("age", ageKind(frame, cell), duration);
  return [`most in blocks of ${within("size", size, bytes)}, ${ages} old, by ${kindLabel("thread", threadKind(frame, cell))}`];
}

// The values that are of a kind of size or age.
function within(by, kind, words) {
  const { bounds } = D.kinds[by];
  if (kind > bounds.length) return `over ${words(bounds.at(-1))}`;
  return kind === 1 ? `up to ${words(bounds[0])}` : `${words(bounds[kind - 2])} to ${words(bounds[kind - 1])}`;
}

function blockWords(detail, at) {
  const thread = D.threads[detail.thread[at]];
  return [
    `block of ${bytes(detail.size[at])} (takes ${bytes(detail.bytes[at])}) at ${hex(detail.start[at])}`,
    `${duration(detail.age_ms[at] * 1e6)} old, by thread ${detail.thread[at]}${thread ? ` (${thread})` : ""}`,
    siteName(detail.site[at]),
  ];
}

function pageTip(event) {
  const point = pointed(event);
  if (point === null) { hideTip(); return; }
  const words = cellWords(D.frames[view.frame], point.cell);
  const detail = detailOf(view.frame);
  if (detail !== null) {
    const found = blocksIn(detail, point.address, point.address + 1);
    if (point.side >= 40 && found.length > 0) words.push("", ...blockWords(detail, found[0]));
    else if (point.side < 40) words.push("zoom in to see its blocks");
  }
  showTip(event, words.join("\n"));
}

// Zooms around a point of the canvas, by default its middle.
function zoomBy(factor, at = null) {
  const canvas = byId("pages");
  const { k, x, y } = view.zoom;
  const [px, py] = at ?? [canvas.clientWidth / 2, canvas.clientHeight / 2];
  const next = Math.min(Math.max(k * factor, 1), MOST_ZOOM);
  const zoom = { k: next, x: px - (px - x) * next / k, y: py - (py - y) * next / k };
  change({ zoom: next === 1 ? { k: 1, x: 0, y: 0 } : zoom });
}

// Shows a page in the middle, large enough to see its blocks.
function zoomTo(cell) {
  const canvas = byId("pages");
  const k = Math.min(Math.max(120 / grid.side, view.zoom.k), MOST_ZOOM);
  const side = grid.side * k;
  const [x, y] = [grid.place[cell] % grid.columns, Math.floor(grid.place[cell] / grid.columns)];
  change({ zoom: { k, x: canvas.clientWidth / 2 - (x + 0.5) * side, y: canvas.clientHeight / 2 - (y + 0.5) * side } });
}

const choosePage = (cell) => change({ page: addressOf(cell), tab: "page" });

function startPages() {
  const canvas = byId("pages");
  let drag = null;
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY / 300), [event.offsetX, event.offsetY]);
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    drag = { x: event.clientX, y: event.clientY, zoom: view.zoom, moved: false };
  });
  canvas.addEventListener("pointermove", (event) => {
    if (drag !== null && event.buttons & 1) {
      const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
      drag.moved ||= Math.hypot(dx, dy) > 4;
      if (drag.moved) change({ zoom: { k: drag.zoom.k, x: drag.zoom.x + dx, y: drag.zoom.y + dy } });
    }
    pageTip(event);
  });
  canvas.addEventListener("pointerup", (event) => {
    const point = drag !== null && !drag.moved ? pointed(event) : null;
    drag = null;
    if (point !== null) choosePage(point.cell);
  });
  canvas.addEventListener("dblclick", (event) => zoomBy(4, [event.offsetX, event.offsetY]));
  canvas.addEventListener("pointerleave", hideTip);
  byId("in").addEventListener("click", () => zoomBy(1.6));
  byId("out").addEventListener("click", () => zoomBy(1 / 1.6));
  byId("whole").addEventListener("click", () => change({ zoom: { k: 1, x: 0, y: 0 } }));
  listen(["size"], layOut);
  listen(["frame", "colour", "theme", "site", "size"], paintPages);
  listen(["zoom", "page"], (keys) => { if (!["frame", "colour", "theme", "site", "size"].some((key) => keys.has(key))) drawPages(); });
}
