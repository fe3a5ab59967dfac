// The conversation with one fan, and the box that answers. A bubble says what is known about it.
import { byId, el, redraw, setText, show } from "./dom.js";
import { clock, known, lang, t, timeOfDay } from "./i18n.js";
import { fanName, monogram } from "./fan.js";
import { fanPath, get, messagePath, newKey, post, quotaPath } from "./api.js";
import { fanKey, preview } from "./inbox.js";

const final = new Set(["sent", "failed", "ambiguous", "refused"]);
const keptFans = 50, keptSent = 50;

let fan = null;     // the fan on the screen, as last listed
let listed = false; // whether the last answer of the server still listed them
let quota = null;
let changed = () => {}; // told "served" when the agent owns the fan now
const sent = new Map();   // fanKey -> bubbles of this tab
const drafts = new Map(); // fanKey -> text

export const onChange = (f) => { changed = f; };
export const selectedKey = () => (fan ? fanKey(fan) : "");
const agent = () => byId("agent").value.trim();

export function open(next) {
  if (fan) keep(drafts, fanKey(fan), byId("text").value);
  fan = next;
  listed = Boolean(next);
  quota = null;
  show(byId("notice"), false);
  document.body.classList.toggle("reading", Boolean(next));
  if (fan) {
    byId("text").value = drafts.get(fanKey(fan)) || "";
    refreshQuota();
  }
  draw();
}

// update takes the newest lists; a fan who is gone stays on the screen with the draft.
export function update(fans) {
  if (!fan) return;
  const now = fans.find((f) => fanKey(f) === fanKey(fan));
  listed = Boolean(now);
  if (now) fan = now;
  draw();
}

export function draw() {
  show(byId("thread-empty"), !fan);
  for (const id of ["thread-head", "log", "composer"]) show(byId(id), Boolean(fan));
  if (!fan) return;
  redraw(byId("thread-fan"), [lang(), fanKey(fan), fan.owner.name], () => [
    el("span", { class: "strong" }, fanName(fan)), monogram(fan.account),
    el("span", { class: "dim clip" }, `${fan.account} · ${fan.owner.name || ""}`)]);
  const bubbles = sent.get(fanKey(fan)) || [];
  const log = byId("log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  if (redraw(log, [lang(), fanKey(fan), fan.messages, bubbles], () => lines(bubbles)) && atEnd) log.scrollTop = log.scrollHeight;
  drawComposer();
}

function lines(bubbles) {
  const all = [
    ...(fan.messages || []).map((m) => ({ at: Number(m.at_unix_ms), node: () => fanBubble(m) })),
    ...bubbles.map((b) => ({ at: b.at, node: () => ownBubble(b) })),
  ].sort((a, b) => a.at - b.at);
  if (!all.length) return [el("p", { class: "dim center" }, t("thread.nomessages"))];
  return all.map((x) => x.node());
}

function fanBubble(m) {
  return el("div", { class: "say" },
    el("div", { class: m.text ? "bubble" : "bubble dim" }, preview(m)),
    el("span", { class: "state dim" }, timeOfDay(Number(m.at_unix_ms))));
}

function ownBubble(b) {
  const reason = b.reason ? ` · ${b.reason}` : "";
  const code = b.errcode ? ` ${b.errcode}` : "";
  const state = el("span", { class: `state ${b.state}` }, known("state", b.state) + reason + code, el("br"), timeOfDay(b.at));
  if (b.state === "ambiguous" && !b.id) {
    const again = el("button", { type: "button", class: "link" }, t("state.retry"));
    again.addEventListener("click", () => deliver(b));
    state.append(el("br"), again);
  }
  return el("div", { class: "say mine" }, state, el("div", { class: `bubble ${b.state}` }, b.text));
}

function drawComposer() {
  const closed = quota && !quota.error && quota.remaining <= 0;
  redraw(byId("chips"), [lang(), quota, Math.floor(Date.now() / 1000)], () => chips());
  const text = byId("text");
  const notice = byId("notice");
  let problem = "";
  if (!listed) problem = t("thread.gone");
  else if (closed) problem = `${t("quota.closed", { reason: quota.reason || "" })} ${t("quota.reopen")}`;
  else if (!agent()) problem = t("composer.needagent");
  if (problem) { setText(notice, problem); show(notice, true); notice.dataset.why = "state"; }
  else if (notice.dataset.why === "state") show(notice, false);
  byId("send").disabled = Boolean(problem) || !text.value.trim();
  byId("close").disabled = !listed || !agent();
}

function chips() {
  if (!quota) return [];
  if (quota.error) return [el("span", { class: "chip amber" }, t("quota.unknown"))];
  const left = Number(quota.deadline_unix_ms) - Date.now();
  const out = [el("span", { class: quota.remaining <= 1 ? "chip amber" : "chip" }, t("quota.left", { n: quota.remaining }))];
  if (left > 0) out.push(el("span", { class: left < 7_200_000 ? "chip amber" : "chip" }, t("quota.window"), " ", el("b", {}, clock(left))));
  return out;
}

export async function refreshQuota() {
  const asked = fan;
  if (!asked) return;
  let answer;
  try { answer = await get(quotaPath(asked)); } catch { answer = { error: true }; }
  if (fan && fanKey(fan) === fanKey(asked)) { quota = answer; drawComposer(); }
}

export async function refreshSent() {
  if (!fan) return;
  const asked = fan;
  const open = (sent.get(fanKey(asked)) || []).filter((b) => b.id && !final.has(b.state)).slice(-5);
  await Promise.all(open.map(async (b) => {
    try {
      const now = await get(messagePath(asked, b.id));
      Object.assign(b, { state: now.state, reason: now.reason, errcode: now.errcode });
    } catch { /* the next round asks again */ }
  }));
  if (open.length) draw();
}

function warn(text) {
  const notice = byId("notice");
  notice.dataset.why = "error";
  setText(notice, text);
  show(notice, true);
}

export async function send() {
  const box = byId("text");
  const text = box.value.trim();
  if (!fan || !text || byId("send").disabled) return;
  show(byId("notice"), false);
  const bubble = { fan, text, agent: agent(), key: newKey(), state: "sending", reason: "", at: Date.now() };
  const bubbles = [...(sent.get(fanKey(fan)) || []), bubble].slice(-keptSent);
  keep(sent, fanKey(fan), bubbles);
  box.value = "";
  await deliver(bubble);
}

// deliver may be repeated: the key makes a second copy impossible.
async function deliver(bubble) {
  Object.assign(bubble, { state: "sending", reason: "" });
  draw();
  try {
    const done = await post(`${fanPath(bubble.fan)}/reply`, { agent: bubble.agent, text: bubble.text }, bubble.key);
    Object.assign(bubble, { id: done.id, state: done.state || "queued" });
    changed("served");
  } catch (e) {
    const lost = e.kind === "offline";
    Object.assign(bubble, { state: lost ? "ambiguous" : "refused", reason: e.message });
    if (!lost) restore(bubble);
    changed();
  }
  draw();
  refreshQuota();
}

function restore(bubble) {
  if (fan && fanKey(fan) === fanKey(bubble.fan) && !byId("text").value) byId("text").value = bubble.text;
  warn(t("error.reason", { reason: bubble.reason }));
}

export async function close() {
  if (!fan || byId("close").disabled) return;
  const asked = fan;
  try {
    await post(`${fanPath(asked)}/close`, { agent: agent() });
    drafts.delete(fanKey(asked));
    byId("text").value = "";
    open(null);
  } catch (e) {
    warn(t("error.reason", { reason: e.message }));
  }
  changed();
}

function keep(map, key, value) {
  map.delete(key);
  if (value && value.length) map.set(key, value);
  while (map.size > keptFans) map.delete(map.keys().next().value);
}
