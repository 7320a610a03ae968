// What is being looked at. Parts of the page listen; each change draws once, in the next frame
// of the screen. The address's hash keeps the view, so that a link shows the same.

const view = {
  frame: 0, site: null, page: null, tab: "sites", colour: "fullness", theme: "light",
  zoom: { k: 1, x: 0, y: 0 }, query: "", sort: "pinned", rising: false, finding: null,
};
const listeners = [];
let changed = new Set();
let asked = 0;
let written = "";

// `draw` is called when one of `keys` has changed.
const listen = (keys, draw) => listeners.push({ keys, draw });

function change(patch) {
  for (const [key, value] of Object.entries(patch)) {
    if (view[key] === value) continue;
    view[key] = value;
    changed.add(key);
  }
  if (changed.size > 0 && asked === 0) asked = requestAnimationFrame(drawChanged);
}

function drawChanged() {
  const keys = changed;
  changed = new Set();
  asked = 0;
  for (const { keys: wanted, draw } of listeners) if (wanted.some((key) => keys.has(key))) draw(keys);
  clearTimeout(writing);
  writing = setTimeout(writeHash, 150);
}
let writing = 0;

function writeHash() {
  const { k, x, y } = view.zoom;
  const parts = new URLSearchParams({ t: D.frames[view.frame].t, tab: view.tab, colour: view.colour, theme: view.theme });
  if (view.site !== null) parts.set("site", view.site);
  if (view.page !== null) parts.set("page", hex(view.page));
  if (k !== 1) parts.set("zoom", [k, x, y].map((n) => Number(n.toPrecision(7))).join(","));
  if (view.query !== "") parts.set("q", view.query);
  if (view.sort !== "pinned" || view.rising) parts.set("sort", (view.rising ? "" : "-") + view.sort);
  written = `#${parts}`;
  if (location.hash !== written) location.replace(written);
}

// What a hash asks for; what it does not name stays. Anything may stand in an address.
function readHash() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const one = (key, values) => values.includes(parts.get(key)) ? { [key]: parts.get(key) } : {};
  const number = (key, most) => {
    const value = parts.has(key) ? Number(parts.get(key)) : NaN;
    return value >= 0 && value <= most ? value : null;
  };
  const zoom = (parts.get("zoom") ?? "").split(",").map(Number);
  const time = number("t", Number.MAX_SAFE_INTEGER);
  const site = number("site", D.other_sites[0]);
  const sort = parts.get("sort") ?? "-pinned";
  return {
    ...one("tab", TABS),
    ...one("colour", COLOURINGS.map(([key]) => key)),
    ...one("theme", ["light", "dark"]),
    ...(time === null ? {} : { frame: frameNear(time) }),
    site: Number.isInteger(site) ? site : null,
    page: number("page", 2 ** 52),
    query: parts.get("q") ?? "",
    sort: sort.replace(/^-/, ""),
    rising: !sort.startsWith("-"),
    ...(zoom.length === 3 && zoom.every(Number.isFinite) && zoom[0] >= 1
      ? { zoom: { k: Math.min(zoom[0], MOST_ZOOM), x: zoom[1], y: zoom[2] } } : {}),
  };
}
const MOST_ZOOM = 4000;
