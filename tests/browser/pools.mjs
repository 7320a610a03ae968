// Looks at the pools on a page, in a headless Chromium, and prints as JSON what was seen.
//
//   node pools.mjs CHROMIUM PAGE.html PROFILE-FOLDER

import { open } from "./chromium.mjs";

const [chromium, page, profile] = process.argv.slice(2);
const rows = "[...document.querySelectorAll('#pool-table tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent))";
const text = (id) => `document.getElementById(${JSON.stringify(id)}).textContent`;

const browser = await open(chromium, profile);
const { evaluate, press, size, settled } = browser;
const seen = {};

async function use() {
  await size(1280, 720);
  await browser.go(`file://${page}#theme=light`);
  seen.tab = await evaluate("!document.getElementById('tab-pools').hidden");
  await press("5");
  seen.shown = await evaluate("!document.getElementById('pools').hidden");
  seen.rows = await evaluate(rows);
  await evaluate("document.querySelector('#pool-table [data-sort=name]').click()");
  seen.byName = await evaluate(rows);
  await evaluate("document.getElementById('pool-search').focus()");
  for (const letter of "kept") await press(letter);
  seen.found = await evaluate(rows);
  // A click leads to its first page, which says so.
  await evaluate("document.querySelector('#pool-table tbody tr').click()");
  await settled();
  await press("Escape");
  await evaluate("document.querySelector('#pool-table tbody tr').click()");
  await press("2");
  seen.page = await evaluate(text("page"));
}

let failed = null;
try {
  await use();
} catch (error) {
  failed = String(error.stack ?? error);
}
await browser.close();
const { errors, requests } = browser;
process.stdout.write(JSON.stringify({ ...seen, failed, errors, requests }), () => process.exit(0));
