// Words of the page. Both languages are complete; a test of the server keeps them so.
import { byId } from "./dom.js";

let words = {};
const root = document.documentElement;

export const lang = () => (root.dataset.lang === "en" ? "en" : "zh");

export async function loadWords() {
  const answer = await fetch("/assets/strings.json");
  words = await answer.json();
}

export function t(key, values = {}) {
  const text = (words[lang()] || {})[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (all, name) => (name in values ? String(values[name]) : all));
}

// known returns the word for a value of the server, or the value itself when it is new to the page.
export const known = (prefix, value) => ((words[lang()] || {})[`${prefix}.${value}`] ?? value);

export function applyWords() {
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll("[data-t-label]")) node.setAttribute("aria-label", t(node.dataset.tLabel));
  for (const node of document.querySelectorAll("[data-lang]")) {
    if (node !== root) node.setAttribute("aria-pressed", String(node.dataset.lang === lang()));
  }
  byId("agent").setAttribute("placeholder", t("agent.default"));
}

export function setLang(to) {
  root.dataset.lang = to;
  root.lang = to === "en" ? "en" : "zh-CN";
  store("wxbus.lang", to);
  applyWords();
}

// Storage may be forbidden; the page works without it.
export function store(key, value) { try { localStorage.setItem(key, value); } catch { /* not kept */ } }
export function stored(key) { try { return localStorage.getItem(key); } catch { return null; } }

export const number = (n) => new Intl.NumberFormat(lang() === "en" ? "en" : "zh-CN").format(n);

export function size(bytes) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let n = Number(bytes), u = 0;
  while (n >= 1000 && u < units.length - 1) { n /= 1000; u++; }
  return `${n >= 100 || u === 0 ? Math.round(n) : n.toFixed(1)} ${units[u]}`;
}

// clock writes a duration: mm:ss under one hour, hh:mm:ss above.
export function clock(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  const two = (n) => String(n).padStart(2, "0");
  const head = s >= 3600 ? `${two(Math.floor(s / 3600))}:` : "";
  return `${head}${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}

export const timeOfDay = (ms) =>
  new Date(ms).toLocaleTimeString(lang() === "en" ? "en-GB" : "zh-CN", { hour: "2-digit", minute: "2-digit", hour12: false });
