// The moment: a slider, buttons for moments that matter, and the line across map and charts.

function drawMoment() {
  const frame = D.frames[view.frame];
  byId("slider").value = view.frame;
  byId("slider").setAttribute("aria-valuetext", duration(frame.t));
  const canvas = byId("overview");
  const x = canvas.offsetLeft + timeShare(frame.t) * canvas.clientWidth;
  byId("now").style.transform = `translateX(${x - 1}px)`;
  byId("moment").textContent = duration(frame.t);
  const at = stateAt(frame.t);
  const { live, footprint, ratio, holes } = D.series;
  const parts = [`${bytes(live[at])} live`, `${bytes(footprint[at])} held`];
  if (ratio[at] !== null) parts.push(`fragmentation ${three(ratio[at])}×`);
  if (holes[at] !== null) parts.push(`${count(holes[at])} holes`);
  byId("summary").textContent = parts.join(", ");
}

// Moments that matter, as [name, time]: bursts after which the heap stayed larger, and since when
// it has been ill.
function marks() {
  const bursts = D.bursts.slice().sort((a, b) => b[1] - a[1]).slice(0, 6)
    .map(([t, grown]) => [`burst +${bytes(grown)}`, t]);
  const ill = D.diagnoses.filter((finding) => finding.severity !== "info" && finding.since_ns !== null)
    .map((finding) => [`${finding.id} since`, finding.since_ns]);
  return [...bursts, ...ill].sort((a, b) => a[1] - b[1]);
}

// Dashed lines at these moments, dark and light in turn: seen on any colour.
function drawMarks(context, { left, top, width, height }) {
  const ratio = devicePixelRatio;
  context.save();
  context.lineWidth = ratio;
  for (const [, t] of marks()) {
    const x = left + Math.round(timeShare(t) * width) + 0.5;
    for (const [colour, offset] of [["text", 0], ["ground", 4]]) {
      context.strokeStyle = css(palette()[colour]);
      context.setLineDash([4 * ratio, 4 * ratio]);
      context.lineDashOffset = offset * ratio;
      context.beginPath();
      context.moveTo(x, top);
      context.lineTo(x, top + height);
      context.stroke();
    }
  }
  context.restore();
}

function startSlider() {
  const slider = byId("slider");
  slider.max = D.frames.length - 1;
  slider.addEventListener("input", () => change({ frame: Number(slider.value) }));
  const moments = [["most live", D.peak_ns], ...marks(), ["end", D.end]];
  byId("moments").replaceChildren(...moments.map(([label, ns]) =>
    element("button", { type: "button", click: () => change({ frame: frameNear(ns) }), title: duration(ns) },
      label.endsWith("since") ? `${label} ${duration(ns)}` : label)));
  listen(["frame", "size"], drawMoment);
}
