// The list on the left: who waits, longest first, and who is being served.
import { byId, el, redraw, setText } from "./dom.js";
import { clock, known, lang, number, t } from "./i18n.js";
import { avatar, fanName, monogram } from "./fan.js";

const target = 180_000; // first reply, milliseconds

export const fanKey = (fan) => `${fan.account}/${fan.openid}`;
const newest = (fan) => (fan.messages || []).at(-1);

export function preview(message) {
  if (!message) return "";
  return message.text || `[${known("type", message.msg_type)}]`;
}

export function drawInbox(desk, tab, selected, skew) {
  const waiting = desk.waiting || [], serving = desk.serving || [];
  setText(byId("count-waiting"), number(desk.waiting_total || 0));
  setText(byId("count-serving"), number(desk.serving_total || 0));
  for (const name of ["waiting", "serving"]) byId(`tab-${name}`).setAttribute("aria-selected", String(tab === name));
  const fans = tab === "waiting" ? waiting : serving;
  const more = (tab === "waiting" ? desk.waiting_total : desk.serving_total) - fans.length;
  const rows = byId("rows");
  redraw(rows, [lang(), tab, selected, fans, more], () => build(fans, tab, selected, more));
  const on = rows.querySelector("[aria-selected=true]");
  if (on) rows.setAttribute("aria-activedescendant", on.id); else rows.removeAttribute("aria-activedescendant");
  const oldest = waiting[0];
  byId("tile-oldest").dataset.since = oldest ? oldest.owner.since_unix_ms : "";
  tick(skew);
}

function build(fans, tab, selected, more) {
  if (!fans.length) {
    return [el("div", { class: "empty small" }, el("p", {}, t(`inbox.empty.${tab}`)), el("p", { class: "dim" }, t("inbox.empty.sub")))];
  }
  const rows = fans.map((fan, i) => row(fan, tab, fanKey(fan) === selected, i));
  if (more > 0) rows.push(el("div", { class: "more dim" }, t("inbox.more", { n: number(more) })));
  return rows;
}

function row(fan, tab, on, i) {
  const since = tab === "waiting" ? fan.owner.since_unix_ms : fan.active_unix_ms;
  return el("div", { class: "row", id: `row-${i}`, role: "option", "aria-selected": String(on), "data-key": fanKey(fan), "data-since": since, "data-tab": tab },
    avatar(fan, tab === "waiting" ? "calm" : "none"),
    el("div", { class: "row-text" },
      el("div", { class: "line" }, el("span", { class: "strong clip" }, fanName(fan)), monogram(fan.account), el("span", { class: "grow" }),
        el("span", { class: "dim" }, t(tab === "waiting" ? "row.waited" : "row.silent"), " "), el("span", { class: "timer" }, "")),
      el("div", { class: "line dim" }, el("span", { class: "clip" }, preview(newest(fan))), el("span", { class: "grow" }),
        el("span", { class: "tag clip queue" }, fan.owner.name))));
}

// tick moves every clock of the page by one step; skew is the server's clock minus ours.
export function tick(skew) {
  const now = Date.now() + skew;
  const oldest = byId("tile-oldest");
  const since = Number(oldest.dataset.since);
  setText(oldest, since ? clock(now - since) : "–");
  oldest.dataset.tone = since ? tone(now - since) : "";
  for (const row of byId("rows").querySelectorAll("[data-since]")) {
    const waited = now - Number(row.dataset.since);
    setText(row.querySelector(".timer"), clock(waited));
    if (row.dataset.tab !== "waiting") continue;
    const ring = row.querySelector(".ring");
    ring.style.setProperty("--left", String(Math.max(0, 1 - waited / target)));
    row.dataset.tone = tone(waited);
  }
}

function tone(waited) {
  const left = 1 - waited / target;
  if (left < 0.25) return "red";
  return left < 0.33 ? "amber" : "";
}
