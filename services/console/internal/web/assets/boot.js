// Runs before the first paint, so that a dark page never flashes light.
(() => {
  const root = document.documentElement;
  const stored = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = stored("wxbus.theme") || (dark ? "dark" : "light");
  const english = (navigator.language || "").toLowerCase().startsWith("en");
  root.dataset.lang = stored("wxbus.lang") || (english ? "en" : "zh");
  root.lang = root.dataset.lang === "en" ? "en" : "zh-CN";
})();
