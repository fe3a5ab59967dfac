// Measures what an agent feels: scrolling a list of 10 000 rows and a thread of 10 000 messages, and
// switching to a conversation that was prefetched. The page is the real one, over a server in memory,
// so the numbers are the page's own. The budgets are judged by frames and times as a clock saw them; cpu_ms is the time that
// the page's thread computed, which tells a slow page from a machine that does something else. Prints JSON.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { launch } from "./browser.mjs";

const root = fileURLToPath(new URL("../../services/console/web/bench/dist/", import.meta.url));
const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };

const server = createServer(async (req, res) => {
  const path = new URL(req.url, "http://x").pathname;
  const file = extname(path) ? path : "/index.html";
  try {
    const body = await readFile(join(root, normalize(file)));
    res.writeHead(200, { "Content-Type": types[extname(file)] ?? "application/octet-stream" }).end(body);
  } catch {
    res.writeHead(404).end();
  }
}).listen(0, "127.0.0.1");
await new Promise((done) => server.once("listening", done));
const browser = await launch();
const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
page.on("pageerror", (err) => console.error("page:", err.message));
await page.goto(`http://127.0.0.1:${server.address().port}/`);
await page.waitForSelector(".queue-row");

const cdp = await page.context().newCDPSession(page);
await cdp.send("Performance.enable", { timeDomain: "threadTicks" });
const computed = async () => (await cdp.send("Performance.getMetrics")).metrics.find((m) => m.name === "TaskDuration").value * 1000;
const round = (n) => Math.round(n * 10) / 10;

// framesWhile scrolls an element by steps, one each frame, and counts the frames of that time.
const framesWhile = async (selector, dy, frames) => {
  const before = await computed();
  const seen = await scroll(selector, dy, frames);
  return { ...seen, cpu_ms: round(((await computed()) - before) / frames) };
};

const scroll = (selector, dy, frames) => page.evaluate(async ({ selector, dy, frames }) => {
  const el = document.querySelector(selector);
  const times = [];
  await new Promise((done) => {
    const step = (now) => {
      times.push(now);
      el.scrollTop += dy;
      if (times.length > frames) done();
      else requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  });
  const gaps = times.slice(1).map((t, i) => t - times[i]).sort((a, b) => a - b);
  const seconds = (times.at(-1) - times[0]) / 1000;
  return { fps: Math.round((frames / seconds) * 10) / 10, p95_ms: Math.round(gaps[Math.floor(gaps.length * 0.95)] * 10) / 10 };
}, { selector, dy, frames });

const result = {};
await page.getByRole("tab", { name: /全部/ }).click();
await page.waitForFunction(() => document.querySelector(".virtual-sheet")?.clientHeight > 500_000);
result.list_rows = await page.evaluate(() => Math.round(document.querySelector(".virtual-sheet").clientHeight / 64));
result.list = await framesWhile(".inbox-list", 320, 300);

await page.getByRole("tab", { name: /我的/ }).click();
await page.evaluate(() => document.querySelector(".inbox-list").scrollTo(0, 0));
await page.locator(".queue-row").first().waitFor();

// The first conversation has 10 000 messages: load them all by scrolling up, then scroll through them.
await page.goto(`http://127.0.0.1:${server.address().port}/desk/shop/c0`);
await page.waitForSelector(".thread-row .msg");
result.thread_messages = await page.evaluate(async () => {
  const el = document.querySelector(".thread");
  const count = () => Number(/\d+/.exec(document.querySelector(".thread .visually-hidden").textContent)[0]);
  while (!/从这里开始/.test(el.textContent)) {
    el.scrollTop = 0;
    await new Promise(requestAnimationFrame);
  }
  return count();
});
await page.evaluate(() => (document.querySelector(".thread").scrollTop = 0));
await page.waitForTimeout(500);
result.thread = await framesWhile(".thread", 240, 300);

// A switch is from the key to the frame that shows the other conversation.
await page.locator(".queue-row").nth(1).click();
await page.waitForTimeout(1_500);
const switches = [];
for (let i = 0; i < 18; i++) {
  const before = await computed();
  // The order follows the clock, so the rows are looked up again; the open one is no switch.
  const ms = await page.evaluate(async (i) => {
    const row = [...document.querySelectorAll(".queue-row:not(.open)")][i % 5];
    const name = row.querySelector(".name").textContent;
    const begin = performance.now();
    row.click();
    const shown = () => document.querySelector("[data-testid=fan-name]")?.textContent === name && document.querySelector(".thread-row .msg");
    do await new Promise(requestAnimationFrame);
    while (!shown() && performance.now() - begin < 3_000);
    return performance.now() - begin;
  }, i);
  switches.push({ ms, cpu: (await computed()) - before });
  await page.waitForTimeout(500); // the neighbours are prefetched meanwhile
}
const median = (list) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)];
const warm = switches.slice(6);
result.switch = { median_ms: round(median(warm.map((s) => s.ms))), cpu_ms: round(median(warm.map((s) => s.cpu))) };
if (process.env.SHOT) await page.screenshot({ path: process.env.SHOT });
console.log(JSON.stringify(result));
await browser.close();
server.close();

const misses = [];
if (result.list.fps < 55) misses.push("the list scrolls at less than 55 frames/s");
if (result.thread.fps < 55) misses.push("the thread scrolls at less than 55 frames/s");
if (result.switch.median_ms > 50) misses.push("a switch needs more than 50 ms");
if (misses.length > 0) {
  console.error(misses.join("; "));
  process.exitCode = 1;
}
