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

function startSlider() {
  const slider = byId("slider");
  slider.max = D.frames.length - 1;
  slider.addEventListener("input", () => change({ frame: Number(slider.value) }));
  const moments = [["most live", D.peak_ns], ...D.bursts.slice(0, 6).map(([t, grown]) => [`burst +${bytes(grown)}`, t]), ["end", D.end]];
  byId("moments").replaceChildren(...moments.map(([label, ns]) =>
    element("button", { type: "button", click: () => change({ frame: frameNear(ns) }), title: duration(ns) }, `${label} ${duration(ns)}`)));
  listen(["frame", "size"], drawMoment);
}
