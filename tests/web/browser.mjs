// A browser for the tests of the page: Debian's Chromium, driven by the Playwright that the page pins.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(new URL("../../services/console/web/package.json", import.meta.url));
const { chromium } = require("playwright-core");

const path = process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);

export function launch() {
  if (!path) throw new Error("no Chromium found: install the package chromium, or set CHROMIUM");
  return chromium.launch({
    executablePath: path,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"],
  });
}

// notified lets the page show notifications and counts the sounds that it makes. Nobody looks at it, as when somebody
// works in another window.
async function notified(context) {
  await context.grantPermissions(["notifications"]);
  await context.addInitScript(() => {
    localStorage.setItem("wxbus.sounds", JSON.stringify({ desktop: true }));
    globalThis.rang = 0;
    const start = OscillatorNode.prototype.start;
    OscillatorNode.prototype.start = function ring(...args) { globalThis.rang++; return start.apply(this, args); };
    Document.prototype.hasFocus = () => false;
  });
}

// opener returns how somebody opens the page: in a browser of their own, with nothing left over from others.
export function opener({ browser, url: home }) {
  const axe = require("axe-core").source;
  return async ({ user, width = 1440, height = 900, theme = "light", locale = "zh-CN", timezoneId = "Asia/Shanghai", notifications = false, url = home } = {}) => {
    const context = await browser.newContext({ viewport: { width, height }, locale, timezoneId, colorScheme: theme });
    if (notifications) await notified(context);
    await context.addInitScript(([t, l]) => { localStorage.setItem("wxbus.theme", t); localStorage.setItem("wxbus.locale", l); }, [theme, locale]);
    const page = await context.newPage();
    page.setDefaultTimeout(90_000); // a slow machine is no failure
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
      // a11y fails for every serious or critical finding.
      async a11y(name) {
        await page.evaluate(axe);
        const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
        const bad = found.violations.filter((v) => v.impact === "serious" || v.impact === "critical");
        assert.deepEqual(bad.map((v) => `${name}: ${v.id} ${v.nodes.map((n) => n.html.slice(0, 160)).slice(0, 3).join(" | ")}`), []);
      },
    });
  };
}
