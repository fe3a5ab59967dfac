import { el, call } from './dom.js';

const send = '/cgi-bin/message/custom/send';
// Each switch is one rule of the fault script.
const switches = {
  drop: { on: 'push', kind: 'drop', when: 'answered', attempts: [1] },
  dup: { on: 'push', kind: 'duplicate', attempts: [1] },
  hang: { on: 'api', path: send, kind: 'hang', when: 'after' },
  reset: { on: 'api', kind: 'reset', when: 'after', rate: 0.05 },
  truncate: { on: 'api', path: send, kind: 'truncate' },
};

// panel fills the fault pane from the script that is in force; accounts are those whose token another system can refresh.
export async function panel(root, t, accounts) {
  const rules = (await call('GET', 'faults')).rules.map(({ matched, hits, ...rule }) => rule), named = n => rules.find(r => r.name === n);
  const error = el('div', { className: 'err' }), json = el('textarea', { spellcheck: false, 'aria-label': t('script') });
  const code = el('select', { 'aria-label': t('errcode') }, ...[0, 45009, 45011, 45015, 45047, 40001, 42001, -1].map(c => el('option', { value: c }, c ? String(c) : '–')));
  const count = el('input', { type: 'number', min: 1, 'aria-label': t('times'), value: named('errcode')?.count || 10 });
  const boxes = Object.keys(switches).map(k => el('input', { type: 'checkbox', name: k, checked: !!named(k), onchange: apply }));
  const sliders = ['push', 'api'].map(side => el('input', { type: 'range', name: side, min: 0, max: 6000, step: 100, value: ms(named(side + ' delay')), oninput: e => { e.target.nextSibling.textContent = e.target.value + ' ms'; }, onchange: apply }));
  code.value = named('errcode')?.errcode || 0;
  code.onchange = count.onchange = apply;
  const show = list => { json.value = JSON.stringify({ rules: list }, null, 1); };
  show(rules);

  async function put(script) {
    error.textContent = '';
    try { await call('PUT', 'faults', script); } catch (e) { error.textContent = e.message; }
  }
  function apply() {
    const list = boxes.filter(b => b.checked).map(b => ({ name: b.name, ...switches[b.name] }));
    for (const s of sliders) if (+s.value) list.push({ name: s.name + ' delay', on: s.name, kind: 'delay', delay: s.value + 'ms' });
    if (+code.value) list.push({ name: 'errcode', on: 'api', path: send, kind: 'errcode', errcode: +code.value, count: +count.value || 1 });
    show(list);
    put({ rules: list });
  }
  const own = () => { try { put(JSON.parse(json.value)); } catch (e) { error.textContent = e.message; } };
  root.replaceChildren(
    ...sliders.map(s => el('label', {}, el('span', {}, t(s.name + 'delay')), s, el('span', {}, s.value + ' ms'))),
    ...boxes.map(b => el('label', {}, el('span', {}, t(b.name)), b)),
    el('div', { className: 'row' }, el('span', {}, t('errcode')), code, count, t('times')),
    ...accounts.map(a => el('div', { className: 'row' }, el('span', {}, t('refresh') + ' · ' + a), el('button', { className: 'btn sm', onclick: () => call('POST', `accounts/${a}/invalidate`, { errcode: 40001 }) }, t('once')))),
    el('details', {}, el('summary', {}, t('script')), json, el('button', { className: 'btn sm', onclick: own }, t('apply'))), error);
  document.getElementById('alloff').onclick = async () => { await call('DELETE', 'faults'); panel(root, t, accounts); };
}

const ms = rule => !rule ? 0 : parseFloat(rule.delay) * (rule.delay.endsWith('ms') ? 1 : 1000);
