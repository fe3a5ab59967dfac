// Measures what an agent feels: scrolling a list of 10 000 rows and a thread of 10 000 messages, and
// switching to a conversation that was prefetched. The page is the real one, over a server in memory,
// so the numbers are the page's own. Prints JSON.
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

// framesWhile scrolls an element by steps, one each frame, and counts the frames of that time.
const framesWhile = (selector, dy, frames) => page.evaluate(async ({ selector, dy, frames }) => {
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
result.switch_ms = await page.evaluate(async () => {
  const rows = [...document.querySelectorAll(".queue-row")].slice(0, 6);
  const taken = [];
  for (let i = 0; i < 18; i++) {
    const row = rows[i % rows.length];
    const name = row.querySelector(".name").textContent;
    const begin = performance.now();
    row.click();
    while (document.querySelector("[data-testid=fan-name]")?.textContent !== name || !document.querySelector(".thread-row .msg")) await new Promise((done) => setTimeout(done));
    await new Promise(requestAnimationFrame);
    taken.push(performance.now() - begin);
    await new Promise((done) => setTimeout(done, 120));
  }
  const warm = taken.slice(6).sort((a, b) => a - b);
  return { median: Math.round(warm[6]), p95: Math.round(warm[11]) };
});
if (process.env.SHOT) await page.screenshot({ path: process.env.SHOT });
console.log(JSON.stringify(result));
await browser.close();
server.close();

const misses = [];
if (result.list.fps < 55) misses.push("list below 55 frames a second");
if (result.thread.fps < 55) misses.push("thread below 55 frames a second");
if (result.switch_ms.median > 50) misses.push("switch above 50 ms");
if (misses.length > 0) {
  console.error(misses.join("; "));
  process.exitCode = 1;
}
