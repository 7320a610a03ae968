// The heap map: time across, address up. Drawn once for each colouring; the slider only moves a
// line over it.

const overviewImage = document.createElement("canvas");
const GAP_ROWS = 3;

// Rows of each band, low addresses below: [first row from below, rows, band].
function overviewRows(height) {
  const room = Math.max(height - GAP_ROWS * (D.bands.length - 1), D.bands.length);
  const rows = D.bands.map((band) => Math.max(Math.round(band.cells / D.cells * room), Math.min(3, room / D.bands.length)));
  let from = 0;
  return D.bands.map((band, at) => {
    const place = { from: Math.round(from), rows: Math.max(Math.round(rows[at]), 1), band };
    from += rows[at] + GAP_ROWS;
    return place;
  });
}

function paintOverview() {
  const canvas = byId("overview");
  const width = Math.max(D.frames.length, 1);
  const height = Math.max(Math.round(canvas.clientHeight * devicePixelRatio), 1);
  overviewImage.width = width;
  overviewImage.height = height;
  const context = overviewImage.getContext("2d");
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const counts = new Uint32Array(table.length);
  for (const { from, rows, band } of overviewRows(height)) {
    for (let row = 0; row < rows; row++) {
      const first = band.first + Math.floor(row * band.cells / rows);
      const end = Math.max(band.first + Math.floor((row + 1) * band.cells / rows), first + 1);
      const y = height - 1 - from - row;
      if (y < 0) continue;
      for (let at = 0; at < width; at++) {
        pixels[y * width + at] = mean(D.frames[at], first, end, counts);
      }
    }
  }
  context.putImageData(image, 0, 0);
  drawOverview();
}

// One colour for cells `first..end`: the mean of what they are, but no mean of sites or kinds.
function mean(frame, first, end, counts) {
  if (end - first === 1) return table[lookAt(frame, first)];
  const seen = [];
  for (let cell = first; cell < end; cell++) {
    const at = lookAt(frame, cell);
    if (counts[at]++ === 0) seen.push(at);
  }
  let [r, g, b, named, most] = [0, 0, 0, 0, -1];
  for (const at of seen) {
    if (at >= SITES) {
      named += counts[at];
      if (most < 0 || counts[at] > counts[most]) most = at;
    } else {
      r += rgb[at][0] * counts[at]; g += rgb[at][1] * counts[at]; b += rgb[at][2] * counts[at];
    }
  }
  if (most >= 0) { r += rgb[most][0] * named; g += rgb[most][1] * named; b += rgb[most][2] * named; }
  for (const at of seen) counts[at] = 0;
  const cells = end - first;
  return pack([r / cells, g / cells, b / cells].map(Math.round));
}

const timeShare = (ns) => (ns - D.start) / (D.end - D.start);

function drawOverview() {
  const canvas = byId("overview");
  canvas.width = Math.max(Math.round(canvas.clientWidth * devicePixelRatio), 1);
  canvas.height = overviewImage.height;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.fillStyle = css(palette().ground);
  context.fillRect(0, 0, canvas.width, canvas.height);
  // Each frame from its moment to the next.
  D.frames.forEach((frame, at) => {
    const x = Math.round(timeShare(frame.t) * canvas.width);
    const next = at + 1 < D.frames.length ? timeShare(D.frames[at + 1].t) : 1;
    const width = Math.max(Math.round(next * canvas.width) - x, 1);
    context.drawImage(overviewImage, at, 0, 1, canvas.height, x, 0, width, canvas.height);
  });
  drawPools(context, canvas.height);
  drawMarks(context, { left: 0, top: 0, width: canvas.width, height: canvas.height });
}

function overviewTime(event) {
  const box = byId("overview").getBoundingClientRect();
  return D.start + Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1) * (D.end - D.start);
}

// The cell below the pointer, or -1 in a gap.
function overviewCell(event) {
  const box = byId("overview").getBoundingClientRect();
  const height = overviewImage.height;
  const fromBelow = height - 1 - Math.floor((event.clientY - box.top) / box.height * height);
  for (const { from, rows, band } of overviewRows(height)) {
    if (fromBelow >= from && fromBelow < from + rows) {
      return band.first + Math.floor((fromBelow - from) * band.cells / rows);
    }
  }
  return -1;
}

function startOverview() {
  const canvas = byId("overview");
  const go = (event) => change({ frame: frameNear(overviewTime(event)) });
  canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); go(event); });
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons & 1) go(event);
    const cell = overviewCell(event);
    const at = frameNear(overviewTime(event));
    if (cell < 0) { hideTip(); return; }
    showTip(event, [duration(D.frames[at].t), ...cellWords(D.frames[at], cell)].join("\n"));
  });
  canvas.addEventListener("pointerleave", hideTip);
  listen(["colour", "theme", "site", "size"], paintOverview);
}
