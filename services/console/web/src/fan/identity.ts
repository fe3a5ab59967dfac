// A fan has no face and no name, so both come from a hash of account and openid: the same person
// looks the same everywhere and for ever. The desk service uses the same words and the same hash.

const places = "静水 晨雾 远山 松间 微雨 暖阳 拾光 南窗 北岸 竹影 云上 月下 溪边 雪后 秋灯 春山 青石 海角 林深 晚风 朝露 夏夜 霜天 平湖".split(" ");
const things = "青鸟 海棠 柿子 云雀 白鹭 小满 书灯 风筝 茶盏 木舟 石榴 银杏 鹿鸣 蜻蜓 纸鸢 橘灯 铜铃 芦花 莲蓬 松果 砚台 瓦当 竹篮 星火".split(" ");
const placesEn = "Still Misty Far Pine Rainy Warm Bright South North Bamboo Cloud Moonlit Brook Snowy Autumn Spring Stone Cape Forest Evening Dewy Summer Frosty Lake".split(" ");
const thingsEn = "Bluebird Crabapple Persimmon Skylark Egret Barley Lamp Kite Teacup Boat Pomegranate Ginkgo Deer Dragonfly Paperkite Lantern Bell Reed Lotus Pinecone Inkstone Tile Basket Spark".split(" ");

export interface FanKey {
  account: string;
  openid: string;
}

const encoder = new TextEncoder();

// fnv1a is the 32-bit hash over UTF-8 bytes.
export function fnv1a(text: string): number {
  let h = 0x811c9dc5;
  for (const byte of encoder.encode(text)) h = Math.imul(h ^ byte, 0x01000193) >>> 0;
  return h;
}

export const fanHash = (fan: FanKey): number => fnv1a(`${fan.account}\u0000${fan.openid}`);

const pick = (list: string[], n: number): string => list[n % list.length] ?? "";

export function friendlyName(fan: FanKey, locale: "zh-CN" | "en"): string {
  const h = fanHash(fan);
  const second = Math.floor(h / places.length);
  return locale === "en" ? `${pick(placesEn, h)} ${pick(thingsEn, second)}` : pick(places, h) + pick(things, second);
}

// faceOf picks one of 12 patterns and one of 8 pairs of hues.
export function faceOf(fan: FanKey): { pattern: number; hue: number } {
  const h = fanHash(fan);
  return { pattern: Math.floor(h / 8) % 12, hue: h % 8 };
}
