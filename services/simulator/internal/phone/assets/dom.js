// Small helpers. Nothing here takes HTML: texts become text nodes.
export function el(tag, props = {}, ...kids) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(props)) {
    if (k.startsWith('on')) e.addEventListener(k.slice(2), v);
    else if (k in e && k !== 'list') e[k] = v;
    else e.setAttribute(k, v);
  }
  e.append(...kids.filter(k => k !== null && k !== undefined));
  return e;
}

export async function call(method, path, body) {
  const r = await fetch('/sim/v1/' + path, { method, headers: body ? { 'Content-Type': 'application/json' } : {}, body: body ? JSON.stringify(body) : undefined });
  const out = await r.json();
  if (!r.ok) throw new Error(out.error);
  return out;
}

export function ask(title, value = '') {
  const d = document.getElementById('ask'), form = d.querySelector('form'), input = d.querySelector('input');
  d.querySelector('p').textContent = title;
  input.value = value;
  d.showModal();
  input.select();
  return new Promise(done => {
    const end = v => { form.onsubmit = d.oncancel = d.querySelector('button[type=button]').onclick = null; d.close(); done(v); };
    form.onsubmit = e => { e.preventDefault(); end(input.value.trim()); };
    d.oncancel = e => { e.preventDefault(); end(''); };
    d.querySelector('button[type=button]').onclick = () => end('');
  });
}

export const time = t => new Date(t).toLocaleTimeString('zh-CN', { hour12: false });
export const span = ns => ns >= 1e9 ? (ns / 1e9).toFixed(1) + ' s' : Math.round(ns / 1e6) + ' ms';
export function left(ms) {
  const s = Math.max(0, Math.floor(ms / 1000)), p = n => String(n).padStart(2, '0');
  return s >= 3600 ? `${p(Math.floor(s / 3600))}:${p(Math.floor(s / 60) % 60)}:${p(s % 60)}` : `${p(Math.floor(s / 60))}:${p(s % 60)}`;
}
