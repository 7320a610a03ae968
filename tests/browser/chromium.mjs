// Drives a headless Chromium by its DevTools protocol over a pipe: descriptors 3 and 4, messages
// ended by a zero byte. No library is needed, and no port is opened.

import { spawn } from "node:child_process";

const FLAGS = [
  "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run",
  "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
  "--disable-sync", "--hide-scrollbars", "--force-color-profile=srgb", "--font-render-hinting=none",
];

// Runs `use`, closes the browser, and prints as JSON what was put into `seen`, why `use` failed, and which
// `errors` and `requests` the page made.
export async function report(browser, seen, use) {
  let failed = null;
  try {
    await use();
  } catch (error) {
    failed = String(error.stack ?? error);
  }
  await browser.close();
  const { errors, requests } = browser;
  process.stdout.write(JSON.stringify({ ...seen, failed, errors, requests }), () => process.exit(0));
}

// Expressions for `evaluate`: the text of an element, and that of all cells of a table.
export const text = (id) => `document.getElementById(${JSON.stringify(id)}).textContent`;
export const rows = (table) => `[...document.querySelectorAll('#${table} tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent))`;

// A browser with one page. `errors` and `requests` gather what the page does.
export async function open(chromium, profile) {
  const child = spawn(chromium, [...FLAGS, `--user-data-dir=${profile}`], {
    stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
  });
  const waiting = new Map();
  const errors = [];
  const requests = [];
  const listeners = [];
  let next = 0;
  let rest = "";
  child.stdio[4].setEncoding("utf8");
  child.stdio[4].on("data", (text) => {
    const parts = (rest + text).split("\0");
    rest = parts.pop();
    parts.forEach((part) => receive(JSON.parse(part)));
  });
  child.on("exit", () => waiting.forEach(({ reject }) => reject(new Error("the browser ended"))));

  function receive(message) {
    if (message.id !== undefined) {
      const { resolve, reject } = waiting.get(message.id);
      waiting.delete(message.id);
      if (message.error) reject(new Error(message.error.message)); else resolve(message.result);
      return;
    }
    const { method, params } = message;
    if (method === "Runtime.exceptionThrown") errors.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    if (method === "Runtime.consoleAPICalled" && ["error", "warning"].includes(params.type)) {
      errors.push(params.args.map((argument) => argument.value ?? argument.description).join(" "));
    }
    if (method === "Log.entryAdded" && ["error", "warning"].includes(params.entry.level)) errors.push(params.entry.text);
    if (method === "Network.requestWillBeSent") requests.push(params.request.url);
    listeners.filter((listener) => listener.method === method).forEach(({ resolve }) => resolve(params));
  }

  function send(method, params = {}, sessionId = undefined) {
    const id = ++next;
    child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
  }

  const { targetId } = await send("Target.createTarget", { url: "about:blank" });
  const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
  const ask = (method, params) => send(method, params, sessionId);
  for (const domain of ["Page", "Runtime", "Log", "Network"]) await ask(`${domain}.enable`);

  // The value of an expression in the page; promises are waited for.
  async function evaluate(expression) {
    const { result, exceptionDetails } = await ask("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
    return result.value;
  }

  // Waits until an expression is true, by asking in each frame of the screen.
  const until = (expression) => evaluate(`new Promise((resolve, reject) => {
    const from = performance.now();
    const look = () => (${expression}) ? resolve(true) : performance.now() - from > 60000
      ? reject(new Error("never came true: " + ${JSON.stringify(expression)})) : requestAnimationFrame(look);
    look();
  })`);

  const loaded = () => new Promise((resolve) => listeners.push({ method: "Page.loadEventFired", resolve }));
  // Loads a page, also where only its hash differs from the one that is there.
  async function go(url) {
    for (const address of ["about:blank", url]) {
      const load = loaded();
      await ask("Page.navigate", { url: address });
      await load;
    }
    await until("document.documentElement.dataset.ready === 'yes'");
    await settled();
  }
  // Two frames later all that was asked for is drawn.
  const settled = () => evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))");

  const size = (width, height) => ask("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: false });
  const mouse = (type, x, y, more = {}) => ask("Input.dispatchMouseEvent", { type, x, y, ...more });
  async function click(x, y) {
    await mouse("mouseMoved", x, y);
    await mouse("mousePressed", x, y, { button: "left", buttons: 1, clickCount: 1 });
    await mouse("mouseReleased", x, y, { button: "left", clickCount: 1 });
    await settled();
  }
  async function press(key, text = key.length === 1 ? key : undefined) {
    await ask("Input.dispatchKeyEvent", { type: text ? "keyDown" : "rawKeyDown", key, text, code: key });
    await ask("Input.dispatchKeyEvent", { type: "keyUp", key, code: key });
    await settled();
  }
  async function screenshot() {
    const { data } = await ask("Page.captureScreenshot", { format: "png" });
    return Buffer.from(data, "base64");
  }
  async function close() {
    await send("Browser.close").catch(() => {});
    child.kill();
  }
  return { pid: child.pid, ask, evaluate, until, go, settled, size, mouse, click, press, screenshot, close, errors, requests };
}
