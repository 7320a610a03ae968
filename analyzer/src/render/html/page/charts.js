// Memory and fragmentation over time, by uPlot. One time axis with the map above.

const charts = [];
let axisWidth = 60;

function chart(id, lines, format, height) {
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  axisWidth = 5 * rem;
  const host = byId(id);
  const colours = palette();
  const { muted, grid: lineColour } = colours;
  const title = element("div", { class: "chart-title" }, ...lines.map(([name, , colour]) => element("b", {},
    element("i", { class: "swatch", style: `background:${css(colours.series[colour])}` }), name)));
  host.replaceChildren(title);
  // uPlot takes its room later: without this, what is below would be drawn for too much of it.
  host.style.minHeight = `${title.offsetHeight + height}px`;
  const font = `${0.8 * rem}px system-ui, "DejaVu Sans", sans-serif`;
  const plot = new uPlot({
    width: host.clientWidth, height,
    padding: [4, 0.5 * rem, 0.4 * rem, 0],
    cursor: { show: true, y: false, points: { show: false }, drag: { x: false, y: false } },
    select: { show: false },
    legend: { show: false },
    hooks: { draw: [(plot) => drawMarks(plot.ctx, plot.bbox)] },
    scales: { x: { time: false, range: [D.start / 1e9, D.end / 1e9] }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.05 : 1] } },
    axes: [
      { show: false },
      { size: axisWidth, font, stroke: css(muted), grid: { stroke: css(lineColour), width: 1 },
        ticks: { show: false }, splits: (_, __, low, high) => [0, high / 2, high * 0.95],
        values: (_, splits) => splits.map(format) },
    ],
    series: [{}, ...lines.map(([, , colour], at) => ({
      stroke: css(colours.series[colour]), width: at === 0 ? 2 : 1.5, points: { show: false }, spanGaps: false,
    }))],
  }, [D.series.time_ns.map((ns) => ns / 1e9), ...lines.map(([, values]) => values)], host);
  const go = (event) => {
    const box = plot.over.getBoundingClientRect();
    const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    change({ frame: frameNear(D.start + share * (D.end - D.start)) });
  };
  plot.over.addEventListener("pointerdown", go);
  plot.over.addEventListener("pointermove", (event) => {
    if (event.buttons & 1) go(event);
    const box = plot.over.getBoundingClientRect();
    const at = stateAt(D.start + (event.clientX - box.left) / box.width * (D.end - D.start));
    const words = lines.map(([name, values]) => `${name}: ${values[at] === null ? "not known" : format(values[at])}`);
    showTip(event, [duration(D.series.time_ns[at]), ...words].join("\n"));
  });
  plot.over.addEventListener("pointerleave", hideTip);
  charts.push(plot);
}

function drawCharts() {
  charts.splice(0).forEach((plot) => plot.destroy());
  const { live, footprint, resident, rss, pinned, releasable } = D.series;
  const height = Math.round(innerHeight * 0.12);
  const memory = [["live", live, "live"], ["footprint", footprint, "footprint"], ["heap resident", resident, "resident"], ["RSS", rss, "rss"]];
  chart("memory", memory.filter(([, values]) => values.some((value) => value !== null)), (value) => bytes(Math.round(value)), Math.max(height, 70));
  const lower = [["pinned waste", pinned, "footprint"], ["empty pages", releasable, "usable"]]
    .filter(([, values]) => values.some((value) => value !== null));
  byId("ratio").replaceChildren();
  if (lower.length > 0) chart("ratio", lower, (value) => bytes(Math.round(value)), Math.max(height * 0.7, 50));
}

function startCharts() {
  listen(["theme", "size"], drawCharts);
}
