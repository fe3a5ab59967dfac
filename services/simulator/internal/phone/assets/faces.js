// A fan has the same face here as on the agent's screen: 12 tilings of a 2×2 field in 8 pairs of hues, chosen by
// the same hash of account and openid.
const patterns = [
  'M0 0H24A24 24 0 0 1 0 24zM48 0V24A24 24 0 0 1 24 0zM0 48V24A24 24 0 0 1 24 48zM48 48H24A24 24 0 0 1 48 24z',
  'M24 24H0A24 24 0 0 1 24 0zM24 24V0A24 24 0 0 1 48 24zM24 24V48A24 24 0 0 1 0 24zM24 24H48A24 24 0 0 1 24 48z',
  'M24 0V24A24 24 0 0 1 0 0zM48 0V24A24 24 0 0 1 24 0zM0 48V24A24 24 0 0 1 24 48zM24 48V24A24 24 0 0 1 48 48z',
  'M0 0H24A24 24 0 0 1 0 24zM48 24H24A24 24 0 0 1 48 0zM24 48H0A24 24 0 0 1 24 24zM24 24H48A24 24 0 0 1 24 48z',
  'M0 24V0A24 24 0 0 1 24 24zM24 0H48A24 24 0 0 1 24 24zM24 48H0A24 24 0 0 1 24 24zM48 24V48A24 24 0 0 1 24 24z',
  'M12 4.8a7.2 7.2 0 1 1 0 14.4a7.2 7.2 0 1 1 0 -14.4zM24 0H48A24 24 0 0 1 24 24zM24 48H0A24 24 0 0 1 24 24zM36 28.8a7.2 7.2 0 1 1 0 14.4a7.2 7.2 0 1 1 0 -14.4z',
  'M0 0L24 0L0 24zM48 24L24 24L48 0zM24 48L0 48L24 24zM24 24L48 24L24 48z',
  'M0 0H24A24 24 0 0 1 0 24zM48 0V24A24 24 0 0 1 24 0zM24 24V48A24 24 0 0 1 0 24zM24 48V24A24 24 0 0 1 48 48z',
  'M0 0H24V24H0zM48 24H24A24 24 0 0 1 48 0zM0 24H24A24 24 0 0 1 0 48zM36 28.8a7.2 7.2 0 1 1 0 14.4a7.2 7.2 0 1 1 0 -14.4z',
  'M24 24H0A24 24 0 0 1 24 0zM36 4.8a7.2 7.2 0 1 1 0 14.4a7.2 7.2 0 1 1 0 -14.4zM12 28.8a7.2 7.2 0 1 1 0 14.4a7.2 7.2 0 1 1 0 -14.4zM24 24H48A24 24 0 0 1 24 48z',
  'M24 0V24A24 24 0 0 1 0 0zM24 24V0A24 24 0 0 1 48 24zM0 24H24A24 24 0 0 1 0 48zM48 48H24A24 24 0 0 1 48 24z',
  'M24 24L0 24L24 0zM24 24V0A24 24 0 0 1 48 24zM24 24V48A24 24 0 0 1 0 24zM24 24L48 24L24 48z',
];
const ns = 'http://www.w3.org/2000/svg';

export function svg(name, attrs, ...kids) {
  const e = document.createElementNS(ns, name);
  for (const [k, v] of Object.entries(attrs)) e.setAttribute(k, v);
  e.append(...kids);
  return e;
}

function hash(account, openid) {
  let h = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(account + '\u0000' + openid)) h = Math.imul(h ^ byte, 0x01000193) >>> 0;
  return h;
}

export function avatar({ account, openid }, size = 32) {
  const h = hash(account, openid);
  return svg('svg', { viewBox: '0 0 48 48', width: size, height: size, class: 'av face' + h % 8, 'aria-hidden': 'true' },
    svg('rect', { width: 48, height: 48, class: 'ground' }), svg('path', { d: patterns[Math.floor(h / 8) % 12], class: 'figure' }));
}

// wave draws a voice: the bars come from its id, so the same voice looks the same.
export function wave(id) {
  let h = hash('wave', id || '');
  const bars = [];
  for (let i = 0; i < 20; i++) {
    h = Math.imul(h ^ h >>> 13, 0x5bd1e995) >>> 0;
    const height = 4 + h % 16;
    bars.push(svg('rect', { x: i * 4, y: 12 - height / 2, width: 2, height, rx: 1 }));
  }
  return svg('svg', { width: 80, height: 24, class: 'wave', 'aria-hidden': 'true' }, ...bars);
}

export const map = () => svg('svg', { viewBox: '0 0 240 96', class: 'map', preserveAspectRatio: 'xMidYMid slice', 'aria-hidden': 'true' },
  svg('rect', { width: 240, height: 96, class: 'land' }), svg('path', { d: 'M0 66C50 60 70 84 130 76s80-26 110-20V96H0z', class: 'water' }),
  svg('path', { d: 'M-4 30 90 18l60 30 94-16M40-4l18 104M120-4 104 100M196-4l-22 104', class: 'road' }),
  svg('path', { d: 'M124 56c8-9 12-14 12-20a12 12 0 0 0-24 0c0 6 4 11 12 20z', class: 'pin' }));
