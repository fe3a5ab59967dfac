// Everything on the page is built here. What fans write reaches the document as text only: this
// file knows no way to turn a text into markup, and the policy of the server forbids one.

export const byId = (id) => document.getElementById(id);

// el builds an element. Attributes come from this program, never from a fan.
export function el(tag, attrs = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attrs)) {
    if (value === undefined || value === null || value === false) continue;
    node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) {
    if (child === undefined || child === null) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

// redraw replaces the children only when the data behind them changed, so that focus, selection
// and hover survive a refresh.
const drawn = new WeakMap();
export function redraw(node, data, build) {
  const mark = JSON.stringify(data);
  if (drawn.get(node) === mark) return false;
  drawn.set(node, mark);
  node.replaceChildren(...build());
  return true;
}
