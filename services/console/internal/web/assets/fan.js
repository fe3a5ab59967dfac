// A fan has no face and no name, so both come from a hash of account and openid: the same person
// looks the same everywhere and for ever.
import { el } from "./dom.js";
import { lang } from "./i18n.js";

const first = {
  zh: "静水 晨雾 远山 松间 微雨 暖阳 拾光 南窗 北岸 竹影 云上 月下 溪边 雪后 秋灯 春山 青石 海角 林深 晚风 朝露 夏夜 霜天 平湖".split(" "),
  en: "Still Misty Far Pine Rainy Warm Bright South North Bamboo Cloud Moonlit Brook Snowy Autumn Spring Stone Cape Forest Evening Dewy Summer Frosty Lake".split(" "),
};
const second = {
  zh: "青鸟 海棠 柿子 云雀 白鹭 小满 书灯 风筝 茶盏 木舟 石榴 银杏 鹿鸣 蜻蜓 纸鸢 橘灯 铜铃 芦花 莲蓬 松果 砚台 瓦当 竹篮 星火".split(" "),
  en: "Bluebird Crabapple Persimmon Skylark Egret Barley Lamp Kite Teacup Boat Pomegranate Ginkgo Deer Dragonfly Paperkite Lantern Bell Reed Lotus Pinecone Inkstone Tile Basket Spark".split(" "),
};

function hash(text) {
  let h = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) h = Math.imul(h ^ byte, 0x01000193) >>> 0;
  return h;
}

const fanHash = (fan) => hash(`${fan.account}\u0000${fan.openid}`);

export function fanName(fan) {
  const h = fanHash(fan);
  const a = first[lang()][h % 24], b = second[lang()][Math.floor(h / 24) % 24];
  return lang() === "en" ? `${a} ${b}` : a + b;
}

export function avatar(fan, ring) {
  const h = fanHash(fan);
  const face = el("span", { class: `face hue-${h % 8} pattern-${Math.floor(h / 8) % 6}`, "aria-hidden": "true" });
  return el("span", { class: `ring ${ring}`, "data-ring": ring === "none" ? undefined : "" }, face);
}

const hues = ["acc-yun", "acc-lan", "acc-he", "acc-hui", "acc-xing"];

export function monogram(account) {
  const letter = [...account][0] || "?";
  return el("span", { class: `mono-badge ${hues[hash(account) % hues.length]}`, "aria-hidden": "true" }, letter.toUpperCase());
}
