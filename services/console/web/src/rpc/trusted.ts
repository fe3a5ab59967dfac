// Ant Design writes its stylesheets by innerHTML of a style element. The content policy of the page
// makes the browser ask this policy for every such text: one without "<" cannot become an element, so
// it is let through; everything else is refused, whoever asks.

type Policies = { createPolicy(name: string, rules: { createHTML(text: string): string }): unknown };

export function onlyStyles(text: string): string {
  if (text.includes("<")) throw new TypeError("markup from text is not allowed");
  return text;
}

export function protect(): void {
  const policies = (globalThis as { trustedTypes?: Policies }).trustedTypes;
  policies?.createPolicy("default", { createHTML: onlyStyles });
}

// styleNonce is what the content policy of this very page load allows styles to carry.
export function styleNonce(): string | undefined {
  const meta = document.querySelector<HTMLMetaElement>("meta[property=csp-nonce]");
  const nonce = meta?.nonce || meta?.getAttribute("nonce");
  return nonce && !nonce.startsWith("{{") ? nonce : undefined;
}
