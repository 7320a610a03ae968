// Looks at the pools on a page, in a headless Chromium, and prints as JSON what was seen.
//
//   node pools.mjs CHROMIUM PAGE.html PROFILE-FOLDER

import { open, report, rows, text } from "./chromium.mjs";

const [chromium, page, profile] = process.argv.slice(2);
const pools = rows("pool-table");

const browser = await open(chromium, profile);
const { evaluate, go, press, settled, size } = browser;
const seen = {};

await report(browser, seen, async () => {
  await size(1280, 720);
  await go(`file://${page}#theme=light`);
  seen.tab = await evaluate("!document.getElementById('tab-pools').hidden");
  await press("5");
  seen.shown = await evaluate("!document.getElementById('pools').hidden");
  seen.rows = await evaluate(pools);
  await evaluate("document.querySelector('#pool-table [data-sort=name]').click()");
  seen.byName = await evaluate(pools);
  await evaluate("document.getElementById('pool-search').focus()");
  for (const letter of "kept") await press(letter);
  seen.found = await evaluate(pools);
  // A click leads to its first page, which says so.
  await evaluate("document.querySelector('#pool-table tbody tr').click()");
  await settled();
  await press("Escape");
  await evaluate("document.querySelector('#pool-table tbody tr').click()");
  await press("2");
  seen.page = await evaluate(text("page"));
});
