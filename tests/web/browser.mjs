// A browser for the tests of the page: Debian's Chromium, driven by the Playwright that the page pins.
import { existsSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(new URL("../../services/console/web/package.json", import.meta.url));
const { chromium } = require("playwright-core");

export const axeSource = () => require("axe-core").source;

const path = process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);

export function launch() {
  if (!path) throw new Error("no Chromium found: install the package chromium, or set CHROMIUM");
  return chromium.launch({
    executablePath: path,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"],
  });
}
