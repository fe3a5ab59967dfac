// A fan has no face, so one comes from a hash of account and openid: the same person looks the same
// everywhere and for ever. Their name comes from the desk service in the same way.

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

// faceOf picks one of 12 patterns and one of 8 pairs of hues.
export function faceOf(fan: FanKey): { pattern: number; hue: number } {
  const h = fanHash(fan);
  return { pattern: Math.floor(h / 8) % 12, hue: h % 8 };
}
