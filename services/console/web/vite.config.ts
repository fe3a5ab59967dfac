import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";
import type { Plugin } from "vite";

// The design tokens have one home, tokens.json; stylesheets read them as custom properties.
function tokens(): Plugin {
  const file = fileURLToPath(new URL("src/theme/tokens.json", import.meta.url));
  const id = "virtual:tokens.css";
  return {
    name: "wxbus-tokens",
    resolveId: (source) => (source === id ? `\0${id}` : undefined),
    load(source) {
      if (source !== `\0${id}`) return undefined;
      this.addWatchFile(file);
      return stylesheet(JSON.parse(readFileSync(file, "utf8")));
    },
  };
}

type Shade = { light: string; dark: string };

function stylesheet(t: { color: Record<string, Shade>; shadow: Record<string, Shade>; type: { family: string; mono: string } }): string {
  const shades = Object.entries({ ...t.color, ...t.shadow });
  const block = (mode: keyof Shade) => shades.map(([name, s]) => `--${name}:${s[mode]};`).join("");
  return [
    `:root{color-scheme:light;--font:${t.type.family};--mono:${t.type.mono};${block("light")}}`,
    `:root[data-theme=dark]{color-scheme:dark;${block("dark")}}`,
  ].join("\n");
}

export default defineConfig({
  plugins: [tokens(), react()],
  base: "/",
  build: {
    outDir: "../internal/web/dist",
    emptyOutDir: false, // scripts/web.sh removes what the last build left
    assetsInlineLimit: 0, // the content policy allows no data: scripts or styles
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1600,
    reportCompressedSize: false,
    sourcemap: false,
  },
  server: {
    proxy: { "/api": { target: process.env["WXBUS_CONSOLE"] ?? "http://127.0.0.1:8081", changeOrigin: false } },
  },
  test: { environment: "happy-dom", include: ["src/**/*.test.{ts,tsx}"], globals: false, css: false },
});
