// Ant Design writes its stylesheets by innerHTML of a style element. The content policy of the page
// makes the browser ask this policy for every such text: one without "<" cannot become an element, so
// it is let through; everything else is refused, whoever asks.

type Policies = { createPolicy(name: string, rules: { createHTML(text: string): string; createScriptURL(url: string): string }): unknown };

export function onlyStyles(text: string): string {
  if (text.includes("<")) throw new TypeError("markup from text is not allowed");
  return text;
}

// onlyWorker lets the page start its one worker, and no other script by its address.
export function onlyWorker(url: string): string {
  if (url !== "/worker.js") throw new TypeError("a script from an address is not allowed");
  return url;
}

export function protect(): void {
  const policies = (globalThis as { trustedTypes?: Policies }).trustedTypes;
  policies?.createPolicy("default", { createHTML: onlyStyles, createScriptURL: onlyWorker });
  const nonce = styleNonce();
  if (nonce) giveStyles(nonce);
}

// giveStyles puts the nonce on every style element that the page's own scripts make. Parts of the component library
// write some without asking for one, for example to keep a page from scrolling behind a dialogue.
export function giveStyles(nonce: string): void {
  const make = document.createElement.bind(document);
  document.createElement = ((name: string, options?: ElementCreationOptions) => {
    const el = make(name, options);
    if (el instanceof HTMLStyleElement) el.nonce = nonce;
    return el;
  }) as typeof document.createElement;
}

// styleNonce is what the content policy of this very page load allows styles to carry.
export function styleNonce(): string | undefined {
  const meta = document.querySelector<HTMLMetaElement>("meta[property=csp-nonce]");
  const nonce = meta?.nonce || meta?.getAttribute("nonce");
  return nonce && !nonce.startsWith("{{") ? nonce : undefined;
}
