// WeChat takes 2048 bytes of text in one message. Longer texts become several, each of which costs one
// of the window, so the composer shows the border before anything is sent.

export const messageBytes = 2048;

const encoder = new TextEncoder();
export const bytesOf = (text: string): number => encoder.encode(text).length;

// Where a reader would pause, best first.
const borders = [/\n{2,}/g, /\n/g, /[。！？!?…]+["”』」）)]*/g, /[；;，,、]/g, /\s/g];

// splitText cuts a text into parts of at most limit bytes, at the last good border that leaves a part
// at least half full, and never within a character.
export function splitText(text: string, limit = messageBytes): string[] {
  const parts: string[] = [];
  let rest = text.trim();
  while (bytesOf(rest) > limit) {
    const most = prefixOf(rest, limit);
    let cut = most.length;
    for (const border of borders) {
      let best = 0;
      for (const m of most.matchAll(border)) best = m.index + m[0].length;
      if (best > 0 && bytesOf(most.slice(0, best)) >= limit / 2) {
        cut = best;
        break;
      }
    }
    parts.push(rest.slice(0, cut).trimEnd());
    rest = rest.slice(cut).trimStart();
  }
  if (rest) parts.push(rest);
  return parts;
}

const segments = typeof Intl.Segmenter === "function" ? new Intl.Segmenter("zh", { granularity: "grapheme" }) : undefined;

function prefixOf(text: string, limit: number): string {
  let bytes = 0;
  let end = 0;
  const characters = segments ? (function* () { for (const s of segments.segment(text)) yield s.segment; })() : text;
  for (const ch of characters) {
    bytes += bytesOf(ch);
    if (bytes > limit) break;
    end += ch.length;
  }
  if (end > 0) return text.slice(0, end);
  for (const ch of text) { // one huge cluster: cut between code points
    bytes = end === 0 ? 0 : bytes;
    bytes += bytesOf(ch);
    if (bytes > limit) break;
    end += ch.length;
  }
  return text.slice(0, end);
}
