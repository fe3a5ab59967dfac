import { ConversationState, type Conversation } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { deadlineOf } from "../desk/order";
import { toneOf, type Tone } from "../ui/tone";

// Attention is what an agent should know of while the page is in the background.
export interface Attention {
  offers: number;
  // count is who waits for this person: offers, and own conversations with an unanswered message.
  count: number;
  // tone is the worst of the own deadlines and of those who wait in the own groups.
  tone: Tone;
  // red names the deadlines that are red, so that each is told once.
  red: string[];
}

export function attentionOf(all: Iterable<Conversation>, user: string, groups: readonly string[], now: number): Attention {
  const found: Attention = { offers: 0, count: 0, tone: "calm", red: [] };
  for (const c of all) {
    const offered = c.state === ConversationState.OFFERED && c.agent === user;
    const active = c.state === ConversationState.ACTIVE && c.agent === user;
    const waits = c.state === ConversationState.WAITING && groups.includes(c.group);
    if (offered) found.offers++;
    if (offered || (active && c.unanswered > 0)) found.count++;
    const deadline = offered || waits || (active && c.unanswered > 0) ? deadlineOf(c, now) : undefined;
    const tone = deadline ? toneOf(deadline, now) : "calm";
    if (tone === "red") found.red.push(`${c.account}/${c.id}/${deadline?.kind}/${deadline?.at}`);
    if (tone === "red" || (tone === "amber" && found.tone === "calm")) found.tone = tone;
  }
  return found;
}

const ground = '<rect width="32" height="32" rx="8" fill="#0C7449"/>';
const bars = '<path d="M7 12h18M7 20h18" stroke="#fff" stroke-width="2.2" stroke-linecap="round"/><circle cx="12" cy="12" r="3.4" fill="#fff"/><circle cx="20" cy="20" r="3.4" fill="#fff"/>';
const dots: Partial<Record<Tone, string>> = { amber: "#E8A33D", red: "#D64545" };

// iconOf draws the icon of the tab: the mark or the count, with a dot while something is amber or red.
export function iconOf(a: Pick<Attention, "count" | "tone">): string {
  const mark = a.count > 0 ? `<text x="16" y="23" text-anchor="middle" font-family="sans-serif" font-weight="700" font-size="${a.count > 9 ? 17 : 21}" fill="#fff">${a.count > 99 ? "99" : a.count}</text>` : bars;
  const dot = dots[a.tone];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">${ground}${mark}${dot ? `<circle cx="26" cy="6" r="6" fill="${dot}" stroke="#fff" stroke-width="1.5"/>` : ""}</svg>`;
}

let drawn: string | undefined;

// showIcon puts the icon into the tab. It is made here and kept as a blob, which the content policy allows.
export function showIcon(a: Pick<Attention, "count" | "tone">): void {
  const link = document.querySelector<HTMLLinkElement>("link[rel=icon]");
  if (!link) return;
  const before = drawn;
  drawn = a.count === 0 && a.tone === "calm" ? undefined : URL.createObjectURL(new Blob([iconOf(a)], { type: "image/svg+xml" }));
  link.href = drawn ?? "/icon.svg";
  if (before) URL.revokeObjectURL(before);
}
