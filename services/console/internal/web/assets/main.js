// One loop asks every two seconds, one ticker moves the clocks. The page says how old its data is
// and never shows an old number as a new one.
import { byId, el, setText, show } from "./dom.js";
import { applyWords, known, loadWords, setLang, store, stored, t } from "./i18n.js";
import { get, hasKey, setKey } from "./api.js";
import { drawHealth } from "./health.js";
import { drawInbox, fanKey, tick } from "./inbox.js";
import * as thread from "./thread.js";

const every = 2000, patience = 3000;
const root = document.documentElement;
const state = { status: null, desk: null, tab: "waiting", skew: 0, at: 0, tookMs: 0, failures: 0, since: 0, problem: null, rounds: 0 };
let timer = 0;

async function round() {
  clearTimeout(timer);
  const begun = performance.now();
  try {
    const agent = encodeURIComponent(byId("agent").value.trim());
    const [status, desk] = await Promise.all([get("/api/v1/status"), get(`/api/v1/desk?agent=${agent}`)]);
    Object.assign(state, { status, desk, tookMs: performance.now() - begun, at: Date.now(), failures: 0, since: 0, problem: null });
    state.skew = Number(desk.at_unix_ms) - Date.now();
    if (state.rounds++ % 5 === 0) thread.refreshQuota();
    await thread.refreshSent();
  } catch (e) {
    state.failures++;
    state.since ||= Date.now();
    state.problem = e;
    if (e.kind === "key") askKey();
  }
  draw();
  timer = setTimeout(round, document.hidden ? every * 5 : every);
}

function draw() {
  if (state.status) drawHealth(state.status);
  if (state.desk) {
    drawInbox(state.desk, state.tab, thread.selectedKey(), state.skew);
    thread.update([...(state.desk.waiting || []), ...(state.desk.serving || [])]);
    const n = state.desk.waiting_total || 0;
    document.title = n ? `(${n}) wxbus` : "wxbus";
  }
  drawConnection();
}

function drawConnection() {
  const dot = byId("conn-dot");
  const age = state.at ? Math.floor((Date.now() - state.at) / 1000) : 0;
  const lost = state.since && Date.now() - state.since > patience;
  const slow = state.tookMs > 1000;
  dot.className = `dot ${!state.at && !state.failures ? "" : state.failures ? (lost ? "bad" : "warn") : slow ? "warn" : "ok"}`;
  const s = state.since ? Math.floor((Date.now() - state.since) / 1000) : 0;
  if (state.failures) setText(byId("conn"), t("conn.lost", { s, n: state.failures }));
  else setText(byId("conn"), state.at ? `${t(slow ? "conn.slow" : "conn.ok")} ${Math.round(state.tookMs)} ms` : t("conn.wait"));
  setText(byId("age"), state.at ? t("age", { s: age }) : "");
  document.body.classList.toggle("stale", Boolean(lost));
  drawBanner(lost, age);
}

function drawBanner(lost, age) {
  const unknown = (state.status && state.status.unknown) || [];
  let text = "", tone = "";
  if (state.problem && state.problem.kind === "refused") { text = t("conn.refused", { reason: state.problem.message }); tone = "red"; }
  else if (lost && state.at) { text = t("conn.lost.banner", { s: age }); tone = "red"; }
  else if (lost) { text = t("conn.lost", { s: Math.floor((Date.now() - state.since) / 1000), n: state.failures }); tone = "red"; }
  else if (unknown.length) { text = t("conn.partial", { list: unknown.map((u) => known("part", u)).join(", ") }); tone = "amber"; }
  setText(byId("banner"), text);
  byId("banner").dataset.tone = tone;
  show(byId("banner"), Boolean(text));
}

function askKey() {
  const dialog = byId("key-dialog");
  if (dialog.open) return;
  const wrong = dialog.querySelector(".wrong");
  if (wrong) wrong.remove();
  if (hasKey()) byId("key-form").querySelector("p").after(el("p", { class: "wrong red-text" }, t("key.wrong")));
  byId("key").value = "";
  dialog.showModal();
}

function fans() {
  const desk = state.desk || {};
  return (state.tab === "waiting" ? desk.waiting : desk.serving) || [];
}

function select(key) {
  const all = [...((state.desk || {}).waiting || []), ...((state.desk || {}).serving || [])];
  const fan = all.find((f) => fanKey(f) === key);
  if (fan && key !== thread.selectedKey()) thread.open(fan);
  draw();
}

function move(by) {
  const list = fans();
  if (!list.length) return;
  const at = list.findIndex((f) => fanKey(f) === thread.selectedKey());
  const next = list[Math.min(list.length - 1, Math.max(0, at + by))];
  select(fanKey(next));
  const row = byId("rows").querySelector("[aria-selected=true]");
  if (row) row.scrollIntoView({ block: "nearest" });
}

function setTab(tab) { state.tab = tab; draw(); }

function setTheme(to) {
  root.dataset.theme = to;
  store("wxbus.theme", to);
  drawTheme();
}

function drawTheme() {
  for (const b of document.querySelectorAll("[data-theme-to]")) b.setAttribute("aria-pressed", String(b.dataset.themeTo === root.dataset.theme));
}

function keys(e) {
  if (e.isComposing || e.ctrlKey || e.metaKey || e.altKey || byId("key-dialog").open) return;
  const typing = ["INPUT", "TEXTAREA"].includes(e.target.tagName);
  if (e.key === "Escape" && typing) { e.target.blur(); return; }
  if (typing) return;
  const does = {
    j: () => move(1), k: () => move(-1), ArrowDown: () => move(1), ArrowUp: () => move(-1),
    r: () => byId("text").focus(), e: () => thread.close(), Escape: () => thread.open(null),
  }[e.key];
  if (!does) return;
  e.preventDefault();
  does();
}

function wire() {
  byId("agent").value = stored("wxbus.agent") || t("agent.default");
  byId("agent").addEventListener("change", () => { store("wxbus.agent", byId("agent").value.trim()); round(); });
  for (const b of document.querySelectorAll("button[data-lang]")) b.addEventListener("click", () => { setLang(b.dataset.lang); draw(); thread.draw(); });
  for (const b of document.querySelectorAll("[data-theme-to]")) b.addEventListener("click", () => setTheme(b.dataset.themeTo));
  byId("tab-waiting").addEventListener("click", () => setTab("waiting"));
  byId("tab-serving").addEventListener("click", () => setTab("serving"));
  byId("rows").addEventListener("click", (e) => { const row = e.target.closest("[data-key]"); if (row) select(row.dataset.key); });
  byId("back").addEventListener("click", () => thread.open(null));
  byId("close").addEventListener("click", () => thread.close());
  byId("composer").addEventListener("submit", (e) => { e.preventDefault(); thread.send(); });
  byId("text").addEventListener("input", () => thread.draw());
  byId("text").addEventListener("keydown", (e) => {
    if (e.key === "Enter" && !e.shiftKey && !e.isComposing) { e.preventDefault(); thread.send(); }
  });
  byId("key-form").addEventListener("submit", () => { setKey(byId("key").value.trim()); round(); });
  document.addEventListener("keydown", keys);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) round(); });
  thread.onChange((what) => {
    if (what === "served") state.tab = "serving";
    round();
  });
  drawTheme();
}

await loadWords();
applyWords();
wire();
setInterval(() => { if (state.desk) tick(state.skew); thread.draw(); drawConnection(); }, 1000);
round();
