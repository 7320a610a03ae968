// Puts the parts together: tabs, theme, keys, sizes, tooltips, the link.

function showTip(event, text) {
  const tip = byId("tip");
  tip.textContent = text;
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = event.clientX + 16 + width > innerWidth ? event.clientX - width - 12 : event.clientX + 16;
  const top = event.clientY + 16 + height > innerHeight ? event.clientY - height - 12 : event.clientY + 16;
  tip.style.left = `${Math.max(left, 0)}px`;
  tip.style.top = `${Math.max(top, 0)}px`;
}
const hideTip = () => { byId("tip").hidden = true; };

const TABS = ["sites", "page", "holes", "about", "pools"];
function drawTabs() {
  for (const tab of TABS) {
    byId(tab).hidden = tab !== view.tab;
    byId(`tab-${tab}`).setAttribute("aria-selected", tab === view.tab);
  }
}

function drawTheme() {
  document.documentElement.dataset.theme = view.theme;
  byId("theme").textContent = view.theme === "dark" ? "light" : "dark";
  byId("colour").value = view.colour;
}

const KEYS = [
  ["← →", "a moment back or on", "ArrowLeft", () => step(-1)], [null, null, "ArrowRight", () => step(1)],
  ["Home End", "the first moment, the last", "Home", () => change({ frame: 0 })],
  [null, null, "End", () => change({ frame: D.frames.length - 1 })],
  ["p", "when most was live", "p", () => change({ frame: frameNear(D.peak_ns) })],
  ["+ − 0", "zoom in, out, the whole heap", "+", () => zoomBy(1.6)], [null, null, "-", () => zoomBy(1 / 1.6)],
  [null, null, "0", () => change({ zoom: { k: 1, x: 0, y: 0 } })],
  ["c", "colours: how full, age, size, site, thread", "c", () => change({ colour: nextColouring() })],
  ["t", "dark or light", "t", () => change({ theme: view.theme === "dark" ? "light" : "dark" })],
  ["1 2 3 4 5", "sites, page, holes, about, pools", "1", () => change({ tab: "sites" })],
  [null, null, "2", () => change({ tab: "page" })], [null, null, "3", () => change({ tab: "holes" })],
  [null, null, "4", () => change({ tab: "about" })],
  [null, null, "5", () => { if (D.pools.length > 0) change({ tab: "pools" }); }], ["?", "this", "?", () => change({ tab: "about" })],
  ["/", "search sites", "/", () => { change({ tab: "sites" }); byId("sites").hidden = false; byId("search").focus(); }],
  ["Esc", "let go of site, page and finding", "Escape", () => { document.activeElement?.blur(); change({ site: null, page: null, finding: null, query: "" }); }],
];
const nextColouring = () => COLOURINGS[(COLOURINGS.findIndex(([key]) => key === view.colour) + 1) % COLOURINGS.length][0];
const step = (by) => change({ frame: Math.min(Math.max(view.frame + by, 0), D.frames.length - 1) });

function pressed(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const typing = event.target.matches?.("input[type=search], select");
  if (typing && event.key !== "Escape") return;
  const sliding = event.target.id === "slider" && /^(Arrow|Home|End)/.test(event.key);
  const key = KEYS.find(([, , key]) => key === event.key);
  if (key === undefined || sliding) return;
  event.preventDefault();
  key[3]();
}

function drawAbout() {
  const { trace } = D;
  const facts = [["command", trace.command], ["process", trace.pid], ["host", trace.host], ["allocator", trace.allocator], ["libc", trace.libc],
    ["kernel", trace.kernel], ["recorded", `${D.began ?? ""}, ${duration(D.start)} – ${duration(D.end)}`], ["events", count(trace.events)], ["ended", trace.end],
    ["tracer", trace.tracer_version]];
  byId("about").replaceChildren(element("h2", {}, "what was left out"),
    element("ul", {}, ...[`The heap is shown at ${count(D.frames.length)} moments.`, ...D.left_out].map((line) => element("li", {}, line))),
    element("h2", {}, "keys"), element("dl", {}, ...KEYS.filter(([keys]) => keys !== null).flatMap(([keys, words]) => [element("dt", {}, element("kbd", {}, keys)), element("dd", {}, words)])),
    element("h2", {}, "the recording"), element("dl", {}, ...facts.filter(([, value]) => value !== null).flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, String(value))])));
}

function drawTitle() {
  const program = (D.trace.exe ?? "program").split("/").at(-1);
  document.title = `${program}: its heap`;
  byId("title").textContent = `${program}: its heap over ${duration(D.end - D.start)}`;
  byId("run").textContent = [D.trace.command, `pid ${D.trace.pid}`, D.trace.host && `on ${D.trace.host}`, D.began].filter(Boolean).join(", ");
}

async function main() {
  await load();
  drawTitle();
  drawAbout();
  [startSlider, startFindings, startOverview, startCharts, startSites, startHoles, startChosen, startPools].forEach((start) => start());
  // First of all what others measure or look up.
  listeners.unshift({ keys: ["tab"], draw: drawTabs }, { keys: ["theme", "colour"], draw: drawTheme }, { keys: ["theme", "colour", "site"], draw: makeTables });
  listen(["theme", "colour", "site"], drawLegend);
  startPages();
  TABS.forEach((tab) => byId(`tab-${tab}`).addEventListener("click", () => change({ tab })));
  byId("theme").addEventListener("click", () => change({ theme: view.theme === "dark" ? "light" : "dark" }));
  byId("help").addEventListener("click", () => change({ tab: "about" }));
  byId("colour").replaceChildren(...COLOURINGS.map(([key, words]) => element("option", { value: key }, words)));
  byId("colour").addEventListener("change", (event) => change({ colour: event.target.value }));
  addEventListener("keydown", pressed);
  addEventListener("hashchange", () => { if (location.hash !== written) change(readHash()); });
  new ResizeObserver(() => change({ size: `${innerWidth}×${innerHeight}×${devicePixelRatio}×${byId("pages").clientHeight}×${byId("pages").clientWidth}` })).observe(byId("pages"));
  const theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  Object.assign(view, { frame: D.frames.length - 1, theme }, readHash());
  changed = new Set(Object.keys(view).concat("size"));
  drawTheme();
  drawChanged();
  document.documentElement.dataset.ready = "yes";
}

main().catch((error) => {
  byId("run").textContent = `This page cannot be shown: ${error.message}`;
  throw error;
});
