// Tests of the page in a real browser over the real system. The short form runs in CI; --all is everything.
//   node tests/web/run.mjs [--all] [--only PATTERN] [--verbose]
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { launch, opener } from "./browser.mjs";
import { API, demoUsers, startWorld } from "./world.mjs";
import { operators } from "./operators.mjs";
import { people } from "./people.mjs";
import { tests } from "./tests.mjs";

const args = process.argv.slice(2);
const all = args.includes("--all");
const only = args.includes("--only") ? args[args.indexOf("--only") + 1] : undefined;
const out = fileURLToPath(new URL("out/", import.meta.url));
await mkdir(out, { recursive: true });

const world = await startWorld({ verbose: args.includes("--verbose") });
const browser = await launch();
const users = await demoUsers(world);
assert.ok(users.admin && users.agent && users.supervisor, "the demo has an agent, a supervisor and an administrator");

const open = opener({ browser, url: world.url });
const admin = await new API(world).logIn(users.admin.name, users.admin.password);
let failed = 0;
for (const test of [...tests, ...people, ...operators]) {
  if (only ? !new RegExp(only).test(test.name) : !all && !test.short) continue;
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
