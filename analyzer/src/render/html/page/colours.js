// Colours of cells: tables by fill and by site, for the theme that is on. The palettes are those
// of the pictures, so that page and pictures read alike.

const pack = ([r, g, b]) => 0xff000000 | (b << 16) | (g << 8) | r;
const css = ([r, g, b]) => `rgb(${r},${g},${b})`;
const mix = (a, b, share) => a.map((from, at) => Math.round(from + (b[at] - from) * share));
const palette = () => D.palettes[view.theme];

function filled(share) {
  const stops = palette().filled;
  const above = Math.max(stops.findIndex(([at]) => at >= share), 1);
  const [[from, low], [to, high]] = [stops[above - 1], stops[above]];
  return mix(low, high, (share - from) / (to - from));
}

const siteColour = (site) => {
  const { named } = palette();
  return site > 0 && site < named.length ? named[site - 1] : named.at(-1);
};

// What the heap can be coloured by, as [key, what the choice is called, legend].
const COLOURINGS = [
  ["fullness", "how full", null], ["age", "age", "most live bytes of an age of"],
  ["size", "size", "most live bytes in blocks of"], ["site", "site", null],
  ["thread", "thread", "most live bytes of"],
];

// Colours stand in one table: of fills, of sites, and of the kinds of age, size or thread. All
// but fills are told apart by hue, so that there is no mean of them.
const SITES = 64;
const KINDS = SITES + 256;
let table = new Uint32Array(KINDS + 16);
let rgb = [];

function makeTables() {
  const { unused, given_back, empty, idle, ground, named } = palette();
  rgb = new Array(table.length).fill(unused);
  rgb[1] = given_back;
  rgb[2] = view.colour === "fullness" ? empty : idle;
  for (let fill = 3; fill <= FULL; fill++) rgb[fill] = filled((fill - 3) / (FULL - 3));
  for (let site = 0; site < 256; site++) rgb[SITES + site] = siteColour(site);
  // Kind 0: only the allocator's own data are live there.
  const kinds = { age: palette().age, size: palette().size, thread: named }[view.colour] ?? [];
  rgb[KINDS] = idle;
  kinds.forEach((colour, at) => { rgb[KINDS + 1 + at] = colour; });
  if (view.site !== null) {
    // All but the chosen site steps back.
    rgb = rgb.map((colour, at) => at === SITES + view.site ? colour : mix(colour, ground, 0.82));
  }
  table = Uint32Array.from(rgb, pack);
}

// The place of a cell's colour in the table.
function lookAt(frame, cell) {
  const fill = frame.fill[cell];
  if (fill < 3) return fill;
  const site = frame.site[cell];
  if (site === view.site) return SITES + site;
  switch (view.colour) {
    case "site": return SITES + site;
    case "age": return KINDS + ageKind(frame, cell);
    case "size": return KINDS + sizeKind(frame, cell);
    case "thread": return KINDS + threadKind(frame, cell);
    default: return fill;
  }
}

// The same of a single block; how full a block is says nothing, so it has its site's colour then.
function lookAtBlock(detail, at) {
  const site = detail.site[at];
  if (site === view.site) return SITES + site;
  switch (view.colour) {
    case "age": return KINDS + kindOf("age", detail.age_ms[at] * 1e6);
    case "size": return KINDS + kindOf("size", detail.size[at]);
    case "thread": return KINDS + kindOfThread(detail.thread[at]);
    default: return SITES + site;
  }
}

function drawLegend() {
  const { unused, given_back, empty, idle } = palette();
  const square = (colour, words) => element("span", {},
    element("i", { class: "swatch", style: `background:${css(colour)}` }), words);
  const parts = [];
  const legend = COLOURINGS.find(([key]) => key === view.colour)[2];
  if (view.site !== null) {
    byId("legend").replaceChildren(square(siteColour(view.site), `most of it: ${view.site === 0 ? siteName(0) : shortName(view.site)}`),
      element("span", { class: "muted" }, "all else steps back; Esc shows it"));
    return;
  }
  if (view.colour === "fullness") {
    const stops = [1, 0.75, 0.5, 0.25, 0].map((share) => css(filled(share))).join(",");
    parts.push(element("span", {}, "full of live blocks",
      element("i", { class: "ramp", style: `background:linear-gradient(90deg,${stops})` }), "nearly empty"));
  } else if (view.colour === "site") {
    const most = Math.min(palette().named.length - 1, D.sites.length - 1, 4);
    for (let site = 1; site <= most; site++) parts.push(square(siteColour(site), shortName(site)));
    if (D.sites.length - 1 > most) parts.push(square(siteColour(0), "others"));
  } else {
    const colours = view.colour === "thread" ? palette().named : palette()[view.colour];
    parts.push(element("span", { class: "muted" }, legend));
    D.kinds[view.colour].labels.forEach((label, at) => parts.push(square(colours[at], label)));
  }
  parts.push(square(view.colour === "fullness" ? empty : idle, "held, nothing live"));
  parts.push(square(given_back, "given back"), square(unused, "never used"));
  byId("legend").replaceChildren(...parts);
}
