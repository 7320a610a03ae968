// What is wrong, most serious first: the way in. A finding leads to its moment and its site.

// The first call that the evidence names.
const placeOf = (evidence) => evidence.site ?? evidence.sites?.[0] ?? null;

function siteOf(finding) {
  const place = placeOf(finding.evidence);
  if (place === null) return null;
  const found = D.sites.findIndex((site, at) => at > 0 && (place.function !== null
    ? site.function === place.function && site.file === place.file
    : site.offset === place.offset));
  return found > 0 ? found : null;
}

function momentOf(finding) {
  const { jumps, peak_time_ns } = finding.evidence;
  return jumps?.[0]?.time_ns ?? peak_time_ns ?? D.end;
}

function openFinding(at) {
  const finding = D.diagnoses[at];
  if (view.finding === at) { change({ finding: null, site: null }); return; }
  change({ finding: at, frame: frameNear(momentOf(finding)), site: siteOf(finding), tab: "sites" });
}

function drawFindings() {
  [...byId("findings").querySelectorAll(".finding")].forEach((card, at) => card.setAttribute("aria-expanded", at === view.finding));
}

function startFindings() {
  const host = byId("findings");
  const cards = D.diagnoses.map((finding, at) => element("button", { type: "button", class: `finding ${finding.severity}`, "aria-expanded": "false", "data-id": finding.id, click: () => openFinding(at) },
    element("span", { class: "grade" }, `${finding.severity[0].toUpperCase()}${finding.severity.slice(1)}: `), ...breakable(finding.title),
    finding.bytes > 0 ? element("div", { class: "muted" }, `at stake: about ${bytes(finding.bytes)}${finding.since_ns === null ? "" : `, idle since ${duration(finding.since_ns)}`}`) : null,
    element("div", { class: "more" }, element("p", {}, ...breakable(finding.explanation)), element("p", { class: "remedy" }, ...breakable(finding.remedy)))));
  if (cards.length === 0) {
    const why = D.cannot_tell === null ? "The heap is healthy: of what can be judged, nothing is wrong with it." : `Whether the heap is healthy cannot be told: ${D.cannot_tell}.`;
    cards.push(element("p", {}, why));
  }
  host.replaceChildren(...cards);
  listen(["finding"], drawFindings);
}
