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

// The colour of a cell by its fill and site: `colour[fill]` or `colour[64 + site]`.
let table = new Uint32Array(64 + 256);
let rgb = [];

function makeTables() {
  const { unused, given_back, empty, idle, ground } = palette();
  const bySite = view.colour === "site";
  rgb = new Array(64 + 256).fill(unused);
  rgb[1] = given_back;
  rgb[2] = bySite ? idle : empty;
  for (let fill = 3; fill <= FULL; fill++) rgb[fill] = filled((fill - 3) / (FULL - 3));
  for (let site = 0; site < 256; site++) rgb[64 + site] = siteColour(site);
  if (view.site !== null) {
    // All but the chosen site steps back.
    rgb = rgb.map((colour, at) => at === 64 + view.site ? colour : mix(colour, ground, 0.82));
  }
  table = Uint32Array.from(rgb, pack);
}

// The place of a cell's colour in the tables.
const lookAt = (fill, site) =>
  fill >= 3 && (view.colour === "site" || site === view.site) ? 64 + site : fill;

function drawLegend() {
  const { unused, given_back, empty, idle } = palette();
  const square = (colour, words) => element("span", {},
    element("i", { class: "swatch", style: `background:${css(colour)}` }), words);
  const parts = [];
  if (view.colour === "site") {
    const most = Math.min(palette().named.length - 1, D.sites.length - 1, 4);
    for (let site = 1; site <= most; site++) parts.push(square(siteColour(site), D.sites[site].name));
    parts.push(square(siteColour(0), "others"), square(idle, "held, nothing live"));
  } else {
    const stops = [1, 0.75, 0.5, 0.25, 0].map((share) => css(filled(share))).join(",");
    parts.push(element("span", {}, "full of live blocks",
      element("i", { class: "ramp", style: `background:linear-gradient(90deg,${stops})` }), "nearly empty"));
    parts.push(square(empty, "held, nothing live"));
  }
  parts.push(square(given_back, "given back"), square(unused, "never used"));
  byId("legend").replaceChildren(...parts);
}
