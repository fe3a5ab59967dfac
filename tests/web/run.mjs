// Tests of the page in a real browser over the real system. The short form runs in CI; --all is everything, with
// pictures into docs/screens.
//   node tests/web/run.mjs [--all] [--only NAME] [--verbose]
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { axeSource, launch } from "./browser.mjs";
import { API, demoUsers, startWorld } from "./world.mjs";
import { tests } from "./tests.mjs";

const args = process.argv.slice(2);
const all = args.includes("--all");
const only = args.includes("--only") ? args[args.indexOf("--only") + 1] : undefined;
const out = fileURLToPath(new URL("out/", import.meta.url));
const shots = fileURLToPath(new URL("../../docs/screens/", import.meta.url));
await mkdir(out, { recursive: true });
if (all) await mkdir(shots, { recursive: true });

const world = await startWorld({ verbose: args.includes("--verbose") });
const browser = await launch();
const axe = axeSource();
const users = await demoUsers(world);
assert.ok(users.admin && users.agent && users.supervisor, "the demo has an agent, a supervisor and an administrator");

// people opens a browser of its own for somebody, with nothing left over from others.
async function open({ user, width = 1440, height = 900, theme = "light", locale = "zh-CN", url = world.url } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, locale, colorScheme: theme });
  await context.addInitScript(([t, l]) => { localStorage.setItem("wxbus.theme", t); localStorage.setItem("wxbus.locale", l); }, [theme, locale]);
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const problems = [];
  page.on("pageerror", (err) => problems.push(err.message));
  page.on("console", (m) => { if (m.type() === "error" && /Content Security Policy|TrustedHTML|Refused to/i.test(m.text())) problems.push(m.text()); });
  await page.goto(url);
  if (user) {
    await page.fill("#login-name", user.name);
    await page.fill("#login-password", user.password);
    await page.keyboard.press("Enter");
    await page.waitForSelector(".app");
  }
  return Object.assign(page, {
    problems,
    done: () => context.close(),
    async shot(name) { if (!all) return; await page.waitForTimeout(400); await page.screenshot({ path: `${shots}${name}.png` }); },
    // a11y fails for every serious or critical finding.
    async a11y(name) {
      await page.evaluate(axe);
      const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
      const bad = found.violations.filter((v) => v.impact === "serious" || v.impact === "critical");
      assert.deepEqual(bad.map((v) => `${name}: ${v.id} ${v.nodes.map((n) => n.html.slice(0, 160)).slice(0, 3).join(" | ")}`), []);
    },
  });
}

const admin = await new API(world).logIn(users.admin.name, users.admin.password);
let failed = 0;
for (const test of tests) {
  if (only ? !test.name.includes(only) : !all && !test.short) continue;
  const begin = Date.now();
  const pages = [];
  try {
    await test.run({ world, users, admin, all, open: async (o) => { const p = await open(o); pages.push(p); return p; } });
    for (const p of pages) assert.deepEqual(p.problems, [], "no errors and nothing refused by the content policy");
    console.log(`ok   ${test.name} (${((Date.now() - begin) / 1000).toFixed(1)} s)`);
  } catch (err) {
    failed++;
    console.log(`FAIL ${test.name}: ${err.stack ?? err}`);
    for (const [i, p] of pages.entries()) await p.screenshot({ path: `${out}${test.name.replaceAll(/\W+/g, "-")}-${i}.png` }).catch(() => undefined);
  } finally {
    for (const p of pages) await p.done().catch(() => undefined);
  }
}
await browser.close();
if (failed > 0) console.log(world.log().split("\n").filter((l) => /ERROR|WARN/.test(l)).slice(-20).join("\n"));
await world.stop();
process.exitCode = failed > 0 ? 1 : 0;
