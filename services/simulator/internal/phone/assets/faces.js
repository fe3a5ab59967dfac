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

// The tools under the text field, drawn as on the agent's page: a 24 grid, one stroke.
const icons = {
  image: 'M4 5h16v14H4zM8.5 10.5a1.5 1.5 0 1 0 0-.1M20 15l-4.5-4.5L7 19',
  file: 'M12 16V5M7.5 9.5 12 5l4.5 4.5M5 19h14',
  voice: 'M12 14a3 3 0 0 0 3-3V6a3 3 0 0 0-6 0v5a3 3 0 0 0 3 3zM6 11a6 6 0 0 0 12 0M12 17v3',
  location: 'M12 21c4.5-4.5 7-8 7-11a7 7 0 0 0-14 0c0 3 2.5 6.5 7 11zM12 12.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5z',
  video: 'M4 6.5h11v11H4zM15 10.5l5-3v9l-5-3z',
  link: 'M10 14a4 4 0 0 0 5.7 0l3.1-3.1a4 4 0 0 0-5.7-5.7L12 6.3M14 10a4 4 0 0 0-5.7 0l-3.1 3.1a4 4 0 0 0 5.7 5.7L12 17.7',
  scan: 'M4 8V4h4M16 4h4v4M20 16v4h-4M8 20H4v-4M4 12h16',
  consent: 'M5 12.5l4.5 4.5L19 7.5',
  enter: 'M4 12h12M11 7l5 5-5 5M20 5v14',
  card: 'M4 6h16v12H4zM4 10h16',
};
export const icon = name => svg('svg', { viewBox: '0 0 24 24', width: 18, height: 18, class: 'icon', 'aria-hidden': 'true' }, svg('path', { d: icons[name] }));
