import { fanKey } from "../feed/store";

// A draft survives a reload, a crash and a log-out. It remembers how far the thread was when its first
// key was pressed, so that the guard can tell what came in between.
export interface Draft {
  text: string;
  note: boolean;
  sinceSeq: bigint;
  startedAt: number;
}

type Fan = { account: string; openid: string };
const prefix = "wxbus.draft.";

export function loadDraft(fan: Fan): Draft | undefined {
  try {
    const raw = localStorage.getItem(prefix + fanKey(fan));
    if (!raw) return undefined;
    const d = JSON.parse(raw) as { text: string; note: boolean; sinceSeq: string; startedAt: number };
    return typeof d.text === "string" ? { text: d.text, note: d.note === true, sinceSeq: BigInt(d.sinceSeq), startedAt: Number(d.startedAt) } : undefined;
  } catch {
    return undefined;
  }
}

export function saveDraft(fan: Fan, draft: Draft | undefined): void {
  try {
    if (!draft?.text) localStorage.removeItem(prefix + fanKey(fan));
    else localStorage.setItem(prefix + fanKey(fan), JSON.stringify({ ...draft, sinceSeq: String(draft.sinceSeq) }));
  } catch {
    // a full storage keeps the draft on the screen
  }
}
