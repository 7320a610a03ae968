// Who pins memory at this moment: a table to search and to sort; a click shows a site's pages.

const COLUMNS = [
  ["site", "site", 0, null],
  ["pinned", "pinned", 1, bytes, "its share of the unused bytes on pages with its blocks"],
  ["alone", "alone", 2, bytes, "unused bytes of pages that no other site has a block on"],
  ["unlocks", "unlocks", 3, bytes, "pages that would come free if its blocks were not there"],
  ["live", "live", 4, bytes, "what its live blocks asked for"],
  ["blocks", "blocks", 5, count, "live blocks"],
  ["pages", "pages", 6, count, "pages with its blocks and unused bytes"],
  ["age", "age", 7, (ms) => ms === null ? "–" : duration(ms * 1e6), "mean age of its blocks, weighed by what they pin"],
];
const SHOWN = ["site", "pinned", "unlocks", "live", "age"];

// A function by its last two names, as a narrow column can hold it.
const shortName = (site) => (D.sites[site]?.name ?? siteName(site)).replace(/<.*>/g, "<…>").split("::").slice(-2).join("::");

function drawHead() {
  const cells = COLUMNS.filter(([key]) => SHOWN.includes(key)).map(([key, label, , , title]) => {
    const sorted = view.sort === key ? (view.rising ? "ascending" : "descending") : "none";
    const arrow = { ascending: " ↑", descending: " ↓", none: "" }[sorted];
    const sort = () => change(view.sort === key ? { rising: !view.rising } : { sort: key, rising: key === "site" });
    return element("th", { "aria-sort": sorted, title }, element("button", { type: "button", "data-sort": key, click: sort }, label + arrow));
  });
  byId("site-table").tHead.replaceChildren(element("tr", {}, ...cells));
}

function sortedRows() {
  const query = view.query.toLowerCase();
  const place = COLUMNS.find(([key]) => key === view.sort)?.[2] ?? 1;
  const rows = D.frames[view.frame].sites.filter(([site]) => siteName(site).toLowerCase().includes(query));
  const sign = view.rising ? 1 : -1;
  const by = place === 0 ? (a, b) => siteName(a[0]).localeCompare(siteName(b[0]), "en") : (a, b) => (a[place] ?? -1) - (b[place] ?? -1);
  return rows.slice().sort((a, b) => sign * by(a, b));
}

function drawRows() {
  const body = byId("site-table").tBodies[0];
  const rows = sortedRows();
  // What said that there is nothing makes room for rows.
  if (body.rows[0]?.dataset.site === undefined) body.replaceChildren();
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((row, at) => {
    let line = body.rows[at];
    if (line === undefined) {
      line = body.insertRow();
      line.tabIndex = 0;
      const choose = () => chooseSite(Number(line.dataset.site));
      line.addEventListener("click", choose);
      line.addEventListener("keydown", (event) => { if (event.key === "Enter") choose(); });
      SHOWN.forEach(() => line.insertCell());
    }
    line.dataset.site = row[0];
    line.setAttribute("aria-selected", row[0] === view.site);
    COLUMNS.filter(([key]) => SHOWN.includes(key)).forEach(([, , place, format], column) => {
      if (place === 0) drawName(line.cells[column], row[0]);
      else if (line.cells[column].textContent !== format(row[place])) line.cells[column].textContent = format(row[place]);
    });
  });
  if (rows.length === 0) {
    const why = D.sites.length === 1 && view.query === "" ? "No site is known: the trace has no call stacks." : "No site fits.";
    body.replaceChildren(element("tr", {}, element("td", { colspan: SHOWN.length, class: "muted" }, why)));
  }
}

function drawName(cell, site) {
  if (cell.dataset.site === String(site)) return;
  cell.dataset.site = site;
  cell.title = siteName(site);
  const place = siteName(site).match(/\(([^()]*)\)$/)?.[1];
  cell.replaceChildren(...breakable(site === 0 ? siteName(0) : shortName(site), IN_NARROW), place && site > 0 ? element("small", {}, ...breakable(place, IN_NARROW)) : "");
}

const chooseSite = (site) => change({ site: view.site === site ? null : site });

// The chosen site: all its figures, and who called it.
function drawSite() {
  const host = byId("site");
  if (view.site === null) {
    const more = D.frames[view.frame].more;
    host.replaceChildren(more > 0 ? element("p", { class: "muted" }, `${count(more)} sites with less are not listed.`) : "");
    return;
  }
  const row = D.frames[view.frame].sites.find(([site]) => site === view.site);
  const facts = row === undefined ? [element("p", { class: "muted" }, "Nothing of it is listed at this moment.")]
    : [element("dl", {}, ...COLUMNS.slice(1).flatMap(([, label, place, format, title]) =>
      [element("dt", { title }, label), element("dd", {}, format(row[place]))]))];
  const stack = D.sites[view.site]?.stack ?? [];
  host.replaceChildren(element("h2", {}, ...breakable(siteName(view.site))),
    element("button", { type: "button", click: () => change({ site: null }) }, "show all sites"), ...facts,
    stack.length > 0 ? element("h2", {}, "called by") : "", element("ol", {}, ...stack.map((call) => element("li", {}, ...breakable(call)))));
}

function startSites() {
  const search = byId("search");
  search.addEventListener("input", () => change({ query: search.value }));
  listen(["sort", "rising"], drawHead);
  listen(["frame", "sort", "rising", "query", "site"], () => { search.value = view.query; drawRows(); });
  listen(["frame", "site"], drawSite);
}
