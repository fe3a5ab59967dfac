// A chord is a key with its modifiers, for example "j", "shift+e", "mod+k", "alt+1". "mod" is ⌘ on a
// Mac and Ctrl elsewhere.

export const onMac = /Mac|iPhone|iPad/.test(globalThis.navigator?.userAgent ?? "");

const names: Record<string, string> = { " ": "space", escape: "esc", arrowup: "up", arrowdown: "down", arrowleft: "left", arrowright: "right" };

// Shift is part of the character for "?", "#", "@" and the like, so it counts for letters and named keys only.
const shiftCounts = (key: string) => key.length > 1 || /[a-z]/.test(key);

export function chordOf(e: Pick<KeyboardEvent, "key" | "code" | "ctrlKey" | "metaKey" | "altKey" | "shiftKey">): string {
  let key = e.key.toLowerCase();
  // Alt changes the character on a Mac, so letters and digits come from the position of the key.
  if (e.altKey && /^(Key|Digit)/.test(e.code)) key = e.code.replace(/^(Key|Digit)/, "").toLowerCase();
  key = names[key] ?? key;
  const mod = onMac ? e.metaKey : e.ctrlKey;
  return [mod && "mod", e.altKey && "alt", e.shiftKey && shiftCounts(key) && "shift", key].filter(Boolean).join("+");
}

const caps: Record<string, string> = {
  mod: onMac ? "⌘" : "Ctrl", alt: onMac ? "⌥" : "Alt", shift: "⇧", enter: "↵", esc: "Esc", up: "↑", down: "↓", left: "←", right: "→", tab: "Tab", space: "␣",
};

export const keyCaps = (chord: string): string[] => chord.split("+").map((k) => caps[k] ?? (k.length === 1 ? k.toUpperCase() : k.replace(/^f(\d+)$/, "F$1")));
