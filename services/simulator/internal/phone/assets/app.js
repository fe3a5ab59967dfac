import { el, call, ask, time, span, left } from './dom.js';
import { avatar, icon } from './faces.js';
import { bubble } from './content.js';
import { panel } from './faults.js';
import { words } from './words.js';

const $ = id => document.getElementById(id);
let lang = localStorage.getItem('lang') || (navigator.language.startsWith('zh') ? 'zh' : 'en');
const t = (k, ...a) => { const w = words[lang][k]; return typeof w === 'function' ? w(...a) : w ?? k; };
let accounts = [], fans = [], open = [], phones = new Map(), source, skew = 0;
const key = f => f.account + '/' + f.openid;

const push = (f, type, fields = {}) => call('POST', 'push', { account: f.account, openid: f.openid, type, fields, async: true }).catch(e => notice(f, e.message));
const notice = (f, text) => phones.get(key(f))?.flow.append(el('div', { className: 'prompt' }, text));

async function reload() {
  accounts = await call('GET', 'accounts');
  fans = (await Promise.all(accounts.map(async a => (await call('GET', `accounts/${a.name}/fans`)).fans))).flat();
  // Followers of accounts come first: their phones show the most.
  const first = [...accounts].sort((a, b) => (a.kind === 'miniprogram') - (b.kind === 'miniprogram'));
  if (!open.length) open = first.flatMap(a => fans.filter(f => f.account === a.name).sort((x, y) => y.following - x.following).slice(0, 2)).slice(0, innerWidth > 1300 ? 3 : 2).map(key);
  draw();
}

function draw() {
  document.documentElement.lang = lang === 'zh' ? 'zh-CN' : 'en';
  $('lang').textContent = lang === 'zh' ? 'EN' : '中文';
  for (const e of document.querySelectorAll('[data-t]')) e.textContent = t(e.dataset.t);
  $('phones').dataset.empty = t('empty');
  for (const e of document.querySelectorAll('[data-label]')) e.setAttribute('aria-label', t(e.dataset.label));
  panel($('faults'), t, accounts.map(a => a.name));
  screens();
}

// screens builds the open phones anew; their contents come with the stream.
function screens() {
  drawFans();
  phones = new Map(open.map(k => [k, phone(fans.find(f => key(f) === k))]));
  $('phones').replaceChildren(...[...phones.values()].map(p => p.root));
  $('log').replaceChildren();
  listen();
}

const status = f => mini(f) ? t('mini') : t(f.following ? 'following' : 'notfollowing');
const mini = f => accounts.find(a => a.name === f.account)?.kind === 'miniprogram';

function drawFans() {
  $('fans').replaceChildren(...fans.slice(0, 60).map(f => el('button', { className: 'fan', 'aria-pressed': String(open.includes(key(f))), onclick: () => toggle(f) },
    avatar(f), el('span', {}, el('b', {}, f.name), el('small', {}, f.account + ' · ' + status(f))))),
  ...accounts.map(a => el('button', { className: 'more', onclick: () => add(a.name) }, '＋ ' + t('add') + ' · ' + a.name)));
}

function toggle(f) {
  open = open.includes(key(f)) ? open.filter(k => k !== key(f)) : [...open, key(f)].slice(-3);
  screens();
}

async function add(account) {
  const f = await call('POST', `accounts/${account}/fans`, { following: false });
  open = [...open, key(f)].slice(-3);
  await reload();
}

// phone builds the screen of one fan and returns its parts that change.
function phone(f) {
  const flow = el('div', { className: 'flow', role: 'log', tabIndex: 0, 'aria-label': f.name }), chips = el('div', { className: 'chips' }), cap = el('span'), body = el('div', { className: 'scr' });
  const hue = 'h' + accounts.findIndex(a => a.name === f.account) % 5, sign = big => el('span', { className: `mono ${hue} ${big}` }, f.account[0].toUpperCase());
  const p = { f, flow, chips, following: undefined, hue, timer: el('span') };
  const input = el('input', { placeholder: t('say'), maxLength: 4096, 'aria-label': t('say') });
  const submit = e => { e.preventDefault(); if (input.value) { push(f, 'text', { Content: input.value }); input.value = ''; } };
  p.root = el('section', { className: 'phone' }, el('div', { className: 'cap' }, avatar(f, 16), el('span', {}, f.name), cap), body);
  p.update = s => {
    Object.assign(f, s);
    cap.textContent = status(f);
    drawChips(p);
    const reachable = s.following || mini(f);
    if (p.following === reachable) return;
    if (p.following !== undefined) drawFans();
    p.following = reachable;
    const title = el('div', { className: 'bar' }, el('span', { className: 'back', 'aria-hidden': 'true' }, '‹'), sign(''), el('b', {}, f.account), reachable && !mini(f) ? el('button', { className: 'btn sm', onclick: () => push(f, 'unsubscribe') }, t('unfollow')) : null);
    if (!reachable) body.replaceChildren(title, outside(f, sign('big')));
    else body.replaceChildren(title, chips, flow, menu(f), el('form', { className: 'send', onsubmit: submit }, input, el('button', { className: 'btn pri' }, t('send'))), tools(f));
    flow.scrollTop = flow.scrollHeight;
  };
  return p;
}

const outside = (f, sign) => el('div', { className: 'none' }, sign, el('b', {}, f.account), el('span', { className: 'dim' }, t('nofollow')),
  el('button', { className: 'btn pri', onclick: () => push(f, 'subscribe') }, t('follow')),
  el('button', { className: 'btn', onclick: async () => { const s = await ask(t('scene'), '1001'); if (s) push(f, 'subscribe', { EventKey: 'qrscene_' + s, Ticket: 'gQSCAN' }); } }, t('scanfollow')));

function tools(f) {
  const file = el('input', { type: 'file', accept: mini(f) ? 'image/*' : 'image/*,audio/*,video/mp4', hidden: true, onchange: () => upload(f, file) });
  const b = (k, fn) => el('button', { type: 'button', className: 'tool', onclick: fn }, icon(k), el('span', {}, t(k)));
  const common = [b('image', () => push(f, 'image')), b('file', () => file.click()), file];
  if (mini(f)) return el('div', { className: 'tools' }, b('enter', () => push(f, 'user_enter_tempsession', { SessionFrom: 'phone' })), ...common, b('card', () => push(f, 'miniprogrampage')), b('consent', () => consent(f)));
  return el('div', { className: 'tools' }, ...common, b('voice', async () => { const s = await ask(t('recognised'), '你好'); if (s) push(f, 'voice', { Recognition: s }); }), b('location', async () => { const s = await ask(t('where'), '虹桥国际机场 T2'); if (s) push(f, 'location', { Label: s }); }), b('video', () => push(f, 'video')),
    b('link', () => push(f, 'link')), b('scan', async () => { const s = await ask(t('scene'), '1001'); if (s) push(f, 'SCAN', { EventKey: s, Ticket: 'gQSCAN' }); }), b('consent', () => consent(f)));
}

async function consent(f) {
  const id = await ask(t('template'), 'template');
  if (id) push(f, 'subscribe_msg_popup_event', { TemplateId: id, SubscribeStatusString: 'accept' });
}

async function upload(f, file) {
  const chosen = file.files[0], type = { audio: 'voice', video: 'video' }[chosen.type.split('/')[0]] || 'image';
  const r = await fetch(`/sim/v1/accounts/${f.account}/media?type=${type}`, { method: 'POST', body: chosen }), m = await r.json();
  file.value = '';
  if (r.ok) push(f, type, type === 'image' ? { MediaId: m.media_id, PicUrl: m.url } : { MediaId: m.media_id }); else notice(f, m.error);
}

function menu(f) {
  const buttons = accounts.find(a => a.name === f.account)?.menu?.button || [], root = el('div', { className: 'menu' });
  const tap = b => push(f, { click: 'CLICK', view: 'VIEW', miniprogram: 'view_miniprogram' }[b.type] || b.type, { EventKey: b.key || b.url || b.pagepath || '' });
  for (const b of buttons) {
    const box = el('div'), sub = el('div', { className: 'sub', hidden: true }, ...(b.sub_button || []).map(s => el('button', { onclick: () => { sub.hidden = true; tap(s); } }, s.name)));
    box.append(el('button', { onclick: () => { if (b.sub_button?.length) sub.hidden = !sub.hidden; else tap(b); } }, b.name), sub);
    root.append(box);
  }
  return root;
}

function tick(p) {
  const ms = new Date(p.f.grant?.deadline || 0) - (Date.now() + skew);
  p.timer.textContent = ms > 0 ? left(ms) : t('nowindow');
  p.timer.className = ms > 0 ? '' : 'warn';
  return ms;
}

// drawChips shows window, what is left of it, and the native agent; only the time changes in between.
function drawChips(p) {
  const f = p.f, session = f.session || {}, ms = tick(p), parts = [p.timer];
  if (ms > 0) parts.push(el('span', { className: f.grant.remaining ? '' : 'warn' }, t('left', f.grant.remaining)));
  const native = (d, text) => call('POST', `accounts/${f.account}/native`, { do: d, openid: f.openid, text });
  if (session.state === 'waiting') parts.push(t('waiting'), el('button', { className: 'link', onclick: () => native('accept') }, t('accept')));
  if (session.state === 'active') parts.push(t('active'), el('button', { className: 'link', onclick: async () => { const s = await ask(t('replytext')); if (s) native('say', s); } }, t('reply')), el('button', { className: 'link', onclick: () => native('close') }, t('close')));
  p.chips.replaceChildren(...parts);
}

function entry(p, e) {
  const c = e.content, me = e.way === 'push', add = (...n) => p.flow.append(...n), tap = (id, text) => push(p.f, 'text', { Content: text, bizmsgmenuid: id || '' });
  if (c.type === 'action') add(el('div', { className: 'act' }, `${time(e.at)} ${words[lang].did[c.title.toLowerCase()] || c.title} ${c.text || ''}`));
  else if (c.type === 'fault_prompt') add(el('div', { className: 'prompt' }, t(mini(p.f) ? 'promptmini' : 'prompt')));
  else if (e.way === 'notice') add(el('div', { className: 'act' }, t('transferred') + (c.kf_account ? ' ' + c.kf_account : '')));
  else {
    add(el('div', { className: me ? 'msg me' : 'msg' }, me ? null : el('span', { className: 'mono ' + p.hue }, p.f.account[0].toUpperCase()), el('div', { className: 'bub' }, ...bubble(c, t, tap))));
    const way = e.way === 'template' ? 'template_way' : e.way;
    if (!me) add(el('div', { className: 'meta' }, [t(way), e.attempt ? t('attempt', e.attempt) : '', e.latency_ns ? span(e.latency_ns) : '', c.kf_account || ''].filter(Boolean).join(' · ')));
  }
  while (p.flow.childElementCount > 300) p.flow.firstChild.remove();
  p.flow.scrollTop = p.flow.scrollHeight;
}

const fine = l => l.push ? ['success', 'reply', 'transfer'].includes(l.outcome) : !l.errcode && !l.outcome;
function line(l) {
  const level = fine(l) ? '' : l.push || l.outcome ? 'warn' : 'bad';
  const text = l.push ? `→ ${l.name} ${t('attempt', l.attempt)} ${l.outcome} ${(l.replica || '').replace(/^https?:\/\//, '')}` : `← ${l.name.replace('/cgi-bin/', '')} ${l.outcome || ''}`;
  const row = el('div', { className: fine(l) ? 'fine' : level }, el('time', {}, time(l.at)), el('span', { title: text, className: level }, text), el('span', { className: level || 'dim' }, l.errcode ? String(l.errcode) : span(l.took_ns)));
  $('log').prepend(row);
  while ($('log').childElementCount > 200) $('log').lastChild.remove();
}

function listen() {
  source?.close();
  source = new EventSource('/sim/v1/events?' + open.map(k => 'fan=' + encodeURIComponent(k)).join('&'));
  source.addEventListener('line', e => line(JSON.parse(e.data)));
  source.addEventListener('entry', e => { const d = JSON.parse(e.data), p = phones.get(d.account + '/' + d.openid); if (p) entry(p, d.entry); });
  source.addEventListener('state', e => {
    const s = JSON.parse(e.data), sum = s.summary, dot = sum.violations ? 'dot bad' : 'dot';
    skew = new Date(s.now) - Date.now();
    for (const f of s.fans) phones.get(key(f))?.update(f);
    $('dot').className = dot;
    $('sum').replaceChildren(...[['pushes', `${sum.pushes} (${sum.retries})`], ['acked', sum.acked], ['seen', sum.seen], ['violations', sum.violations]].flatMap(([k, v]) => [el('dt', {}, t(k)), el('dd', {}, String(v))]));
  });
  source.onerror = () => { $('dot').className = 'dot off'; };
}

let theme = localStorage.getItem('theme') || (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
const paint = () => { document.documentElement.dataset.theme = theme; $('theme').textContent = theme === 'dark' ? '☀' : '☾'; };
$('theme').onclick = () => { theme = theme === 'dark' ? 'light' : 'dark'; localStorage.setItem('theme', theme); paint(); };
paint();
$('lang').onclick = () => { lang = lang === 'zh' ? 'en' : 'zh'; localStorage.setItem('lang', lang); draw(); };
$('bad').onchange = e => $('log').classList.toggle('bad-only', e.target.checked);
for (const b of document.querySelectorAll('[data-advance]')) b.onclick = () => call('POST', 'clock', { advance: b.dataset.advance });
document.addEventListener('keydown', e => {
  if (e.target.closest('input,textarea,select,dialog') || e.ctrlKey || e.metaKey || e.altKey || e.isComposing) return;
  if (/^[1-9]$/.test(e.key) && fans[e.key - 1]) toggle(fans[e.key - 1]);
  if (e.key === 'c' && accounts[0]) add(accounts[0].name);
});
setInterval(() => { $('clock').textContent = time(Date.now() + skew); for (const p of phones.values()) tick(p); }, 1000);
reload();
