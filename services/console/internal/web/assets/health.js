// The right-hand side and the tiles: what the status call says, and nothing more.
import { byId, el, redraw, setText, show } from "./dom.js";
import { known, number, size, t } from "./i18n.js";
import { monogram } from "./fan.js";

const busy = 1000; // a backlog beyond this is worth a colour

export function drawHealth(status) {
  const unknown = new Set(status.unknown || []);
  const streams = status.streams || [];
  drawTiles(status, unknown, streams);
  setText(byId("version"), status.version || "");
  show(byId("version"), Boolean(status.version));
  redraw(byId("services"), [document.documentElement.dataset.lang, status.services], () => serviceRows(status.services || []));
  redraw(byId("accounts"), [document.documentElement.dataset.lang, status.accounts], () => accountRows(status.accounts || []));
  setText(byId("accounts-count"), number((status.accounts || []).length));
  redraw(byId("streams"), [document.documentElement.dataset.lang, streams], () => streamRows(streams));
}

function tile(name, value, sub, tone) {
  const node = byId(`tile-${name}`);
  setText(node, value);
  node.dataset.tone = tone || "";
  const under = byId(`tile-${name}-sub`);
  if (under) setText(under, sub);
}

function drawTiles(status, unknown, streams) {
  const none = t("unknown");
  if (unknown.has("waiting")) tile("waiting", "–", none, "amber");
  else tile("waiting", number(status.waiting || 0), t("tile.waiting.unit"));

  const worst = streams.reduce((a, b) => (Number(b.pending) > Number(a.pending) ? b : a), { pending: 0, name: "" });
  const pending = Number(worst.pending);
  if (unknown.has("streams")) tile("backlog", "–", none, "amber");
  else tile("backlog", number(pending), pending ? worst.name : t("tile.backlog.none"), pending > busy ? "amber" : "");

  const dead = Number(status.dead_letters || 0);
  if (unknown.has("dead_letters")) tile("dead", "–", none, "amber");
  else tile("dead", number(dead), t(dead ? "tile.dead.some" : "tile.dead.none"), dead ? "amber" : "");

  if (unknown.has("rule_set_version")) tile("rules", "–", none, "amber");
  else tile("rules", status.rule_set_version || "–", t(status.rule_set_version ? "tile.rules.live" : "tile.rules.none"));
}

function serviceRows(services) {
  if (!services.length) return [el("li", { class: "dim" }, t("services.none"))];
  const order = services.toSorted((a, b) => Number(a.serving) - Number(b.serving)); // what is broken comes first
  return order.map((s) => el("li", { class: s.serving ? "" : "wide" },
    el("span", { class: `dot ${s.serving ? "ok" : "bad"}`, role: "img", "aria-label": t(s.serving ? "services.up" : "services.down") }),
    el("span", {}, s.name),
    el("span", { class: "grow" }),
    s.serving ? null : el("span", { class: "red-text clip", title: s.detail || undefined }, s.detail || t("services.down"))));
}

function accountRows(accounts) {
  if (!accounts.length) return [el("li", { class: "dim" }, t("accounts.none"))];
  return accounts.map((a) => el("li", {},
    monogram(a.name),
    el("span", { class: "strong clip", title: a.appid }, a.name),
    el("span", { class: "grow" }),
    a.mode === "secure" ? null : el("span", { class: "tag amber" }, known("mode", a.mode)),
    el("span", { class: "tag" }, known("kind", a.kind)),
    el("span", { class: "tag" }, known("reply", a.reply))));
}

function streamRows(streams) {
  return streams.map((s) => {
    const pending = Number(s.pending);
    return el("tr", {},
      el("td", { class: "mono" }, s.name),
      el("td", { class: "n" }, number(Number(s.messages))),
      el("td", { class: "n" }, size(s.bytes)),
      el("td", { class: pending > busy ? "n amber-text" : "n" }, number(pending)));
  });
}
