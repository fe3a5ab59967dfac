import { el } from './dom.js';
import { map, wave } from './faces.js';

const link = (url, ...kids) => /^https?:\/\//i.test(url || '') ? el('a', { href: url, target: '_blank', rel: 'noopener noreferrer' }, ...kids) : el('span', {}, ...kids);

// text keeps the links that WeChat allows in texts and shows everything else as it is.
function text(s, tap) {
  const out = [], anchor = /<a\s[^>]*?href="([^"]*)"[^>]*>([^<]*)<\/a>/gi;
  let at = 0;
  for (const m of (s || '').matchAll(anchor)) {
    out.push(s.slice(at, m.index));
    at = m.index + m[0].length;
    const menu = /^weixin:\/\/bizmsgmenu\?(.*)$/i.exec(m[1]), q = menu && new URLSearchParams(menu[1]);
    out.push(menu ? el('button', { className: 'link', onclick: () => tap(q.get('msgmenuid'), q.get('msgmenucontent') || m[2]) }, m[2]) : link(m[1], m[2]));
  }
  return [...out, (s || '').slice(at)];
}

function picture(id, t) {
  const img = el('img', { src: '/sim/v1/media/' + encodeURIComponent(id), alt: t('image') });
  img.addEventListener('error', () => img.replaceWith(t('gone')));
  return img;
}

// voice plays when it is tapped; what no browser can play says so.
function voice(c, t) {
  const b = el('button', { type: 'button', className: 'voice', 'aria-label': t('voice') }, '▷', wave(c.media_id));
  b.addEventListener('click', () => new Audio(address(c)).play().catch(() => { b.title = t('unplayable'); b.classList.add('off'); }));
  return b;
}

function film(c, t) {
  const v = el('video', { controls: true, preload: 'metadata', src: address(c), 'aria-label': c.title || t('video') });
  v.addEventListener('error', () => v.replaceWith('▷ ' + t('video')));
  return v;
}

const address = c => '/sim/v1/media/' + encodeURIComponent(c.media_id || '');

const article = (title, description, url, pic) => {
  const a = link(url, pic ? el('span', { className: 'pic' }, pic) : null, el('b', {}, title || ''), el('br'), el('span', { className: 'dim' }, description || ''));
  a.className = 'art';
  return a;
};

// bubble returns the parts of a message's bubble. Contents are written by others: they only become text nodes,
// and links only with http and https.
export function bubble(c, t, tap) {
  switch (c.type) {
    case 'text': return text(c.text, tap);
    case 'image': return [c.media_id ? picture(c.media_id, t) : t('image')];
    case 'voice': return [voice(c, t), c.text ? el('span', { className: 'said' }, c.text) : ''];
    case 'video': case 'shortvideo': case 'mpvideo': return c.media_id ? [film(c, t)] : ['▷ ', t('video'), c.title ? ' ' + c.title : ''];
    case 'location': return [el('span', { className: 'place' }, map(), el('span', {}, c.text || t('location')))];
    case 'music': return ['♪ ', link(c.url, c.title || t('music')), c.description ? '\n' + c.description : ''];
    case 'news': return (c.articles || []).map(a => article(a.title, a.description, a.url, a.pic_url));
    case 'link': return [article(c.title, c.description, c.url, c.pic_url)];
    case 'miniprogrampage': return [el('small', { className: 'dim' }, t('page') + ' ' + (c.appid || '')), el('br'), el('b', {}, c.title || ''), el('br'), el('span', { className: 'dim' }, c.page_path || '')];
    case 'msgmenu': return [c.menu.head, ...c.menu.items.map(i => el('button', { className: 'tap', onclick: () => tap(i.id, i.text) }, i.text)), c.menu.tail];
    case 'template': case 'subscribe': return [el('b', {}, c.title || ''), '\n', c.text || ''];
    default: return [`${t('unknown')} ${c.type} ${c.title || c.media_id || ''}`];
  }
}
