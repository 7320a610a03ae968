// Uses a page as a reader would, in a headless Chromium, and prints as JSON what was seen.
//
//   node page.mjs CHROMIUM PAGE.html PROFILE-FOLDER SCREENSHOT-FOLDER

import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { open, report, rows, text } from "./chromium.mjs";
import { machineLoad, processorMs } from "./processor.mjs";

const [chromium, page, profile, folder] = process.argv.slice(2);
const SIZES = [[1280, 720], [1920, 1080], [3840, 2160]];
// 95 % of the slider's steps are drawn within this; tried so often.
const MOST_STEP_MS = 33;
const MOST_ROUNDS = 8;
const url = `file://${page}`;

const sites = rows("site-table");
// What a canvas shows.
const look = (id) => `document.getElementById(${JSON.stringify(id)}).toDataURL()`;

const browser = await open(chromium, profile);
const { evaluate, settled, click, press, mouse } = browser;
const seen = {};
const centre = (selector) => evaluate(`(() => {
  const box = document.querySelector(${JSON.stringify(selector)}).getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
})()`);
const clickOn = async (selector) => click(...await centre(selector));

// The link to what is shown. The page writes it 150 ms after the last change; of timers of one page
// the one that is due first runs first.
const link = () => evaluate("new Promise((done) => setTimeout(() => done(location.hash), 200))");

// One step of the slider: milliseconds from one frame of the screen to the second next, less the one
// that any change takes.
const step = (at, steps) => evaluate(`(async () => {
  const slider = document.getElementById("slider");
  const screen = () => new Promise((done) => requestAnimationFrame(done));
  const from = await screen();
  slider.value = Math.round(${at} * slider.max / ${steps});
  slider.dispatchEvent(new Event("input"));
  await screen();
  return await screen() - from - 1000 / 60;
})()`);

// Moves the slider over the whole run until 95 % of its steps were once drawn in time, a few
// rounds at most: on a machine that does other work, a step tells at its best how long it takes.
// What else the machine did meanwhile, and what the browser took of the processors for a step, is
// told too.
async function slide() {
  const steps = Math.min(await evaluate("Number(document.getElementById('slider').max)"), 60);
  const best = new Array(steps + 1).fill(Infinity);
  const processor = [];
  const late = () => best.filter((time) => time >= MOST_STEP_MS).length > best.length * 0.05;
  const load = machineLoad(browser.pid);
  let rounds = 0;
  for (; rounds < MOST_ROUNDS && (rounds < 2 || late()); rounds++) {
    for (let at = 0; at <= steps; at++) {
      const before = processorMs(browser.pid);
      best[at] = Math.min(best[at], await step(at, steps));
      processor.push(processorMs(browser.pid) - before);
    }
  }
  return { steps, rounds, ...quantiles("step", best), ...quantiles("processor", processor), others: load() };
}
function quantiles(name, values) {
  const sorted = values.slice().sort((a, b) => a - b);
  return { [`${name}_p50_ms`]: sorted[sorted.length >> 1], [`${name}_p95_ms`]: sorted[Math.floor(sorted.length * 0.95)] };
}

await report(browser, seen, async () => {
  await browser.size(...SIZES[0]);
  await browser.go(`${url}#theme=light`);
  seen.title = await evaluate("document.title");
  seen.findings = await evaluate("[...document.querySelectorAll('.finding')].map((card) => card.dataset.id)");
  seen.moments = await evaluate("[...document.querySelectorAll('#moments button')].map((button) => button.textContent)");
  seen.moment = { end: await evaluate(text("moment")) };
  seen.rows = await evaluate(sites);
  const endPages = await evaluate(look("pages"));

  // Slider and keys move everything together.
  await press("Home");
  seen.moment.home = await evaluate(text("moment"));
  seen.pagesMove = endPages !== await evaluate(look("pages"));
  await press("ArrowRight");
  seen.moment.next = await evaluate(text("moment"));
  await press("End");
  seen.endAgain = endPages === await evaluate(look("pages"));

  // Hover.
  const [x, y] = await evaluate(`(() => {
    const box = document.getElementById("pages").getBoundingClientRect();
    return [box.x + box.width / 3, box.y + box.height / 2];
  })()`);
  await mouse("mouseMoved", x, y);
  await settled();
  seen.tip = await evaluate(`document.getElementById("tip").hidden ? null : ${text("tip")}`);

  // A click on a page shows who pins it; zooming in shows its blocks.
  await click(x, y);
  seen.page = await evaluate(text("page"));
  seen.historyColumns = await evaluate("document.getElementById('history').width");
  await evaluate("[...document.querySelectorAll('#page button')].find((button) => button.textContent === 'zoom to it').click()");
  await settled();
  const middle = await centre("#pages");
  seen.blockTips = [];
  for (let dy = -57; dy <= 57; dy += 6) for (let dx = -57; dx <= 57; dx += 9) {
    await mouse("mouseMoved", middle[0] + dx, middle[1] + dy);
    seen.blockTips.push(await evaluate(text("tip")));
  }
  seen.blockTips = [...new Set(seen.blockTips.filter((tip) => tip.includes("block of")))];
  await press("0");

  // A click on a site shows its pages; search and sort.
  await clickOn("#tab-sites");
  const all = await evaluate(look("pages"));
  await clickOn("#site-table tbody tr");
  seen.siteShown = all !== await evaluate(look("pages"));
  seen.site = await evaluate(text("site"));
  await press("Escape");
  await press("/");
  for (const letter of "zzz") await press(letter);
  seen.searchedInVain = await evaluate(sites);
  await press("Escape");
  seen.afterSearch = await evaluate(sites);
  await clickOn("[data-sort=live]");
  seen.byLive = await evaluate(sites);
  await clickOn("[data-sort=live]");
  seen.byLiveRising = await evaluate(sites);

  // A finding leads to its site.
  if (seen.findings.length > 0) {
    await clickOn(".finding");
    seen.findingSite = await evaluate(text("site"));
    await press("Escape");
  }
  await clickOn("#tab-holes");
  seen.holes = await evaluate(text("holes"));
  await clickOn("#help");
  seen.about = await evaluate(text("about"));

  // Theme, colours, and the link that keeps them.
  const ground = "getComputedStyle(document.body).backgroundColor";
  seen.light = await evaluate(ground);
  await press("t");
  seen.dark = await evaluate(ground);
  // When most was live, more than one site is.
  await press("p");
  seen.colourings = [];
  for (let i = 0; i < 5; i++) {
    const shown = { name: await evaluate("document.getElementById('colour').value"), legend: await evaluate(text("legend")) };
    for (const id of ["pages", "overview"]) shown[id] = createHash("sha256").update(await evaluate(look(id))).digest("hex");
    // The link keeps it.
    await browser.go(url + await link());
    shown.kept = await evaluate("document.getElementById('colour').value") === shown.name
      && await evaluate(look("pages")).then((pages) => createHash("sha256").update(pages).digest("hex")) === shown.pages;
    seen.colourings.push(shown);
    await press("c");
  }
  await press("Home");
  await press("1");
  seen.hash = await link();
  const kept = [await evaluate(look("pages")), await evaluate(text("moment"))];
  await browser.go(url + seen.hash);
  seen.linkKept = JSON.stringify(kept) === JSON.stringify([await evaluate(look("pages")), await evaluate(text("moment"))]);
  seen.senseless = [];
  for (const hash of ["#t=-1&site=99999&page=zz&zoom=a,b,c&tab=nope&theme=7", "#page=0xffffffffffff&site=1e300&t=1e300&sort=-nope"]) {
    await browser.go(url + hash);
    seen.senseless.push(await evaluate(text("moment")));
  }

  await browser.go(`${url}#theme=light`);
  seen.slide = await slide();
  for (const [width, height] of SIZES) {
    await browser.size(width, height);
    await settled();
    await settled();
    writeFileSync(`${folder}/${width}x${height}.png`, await browser.screenshot());
  }
});
