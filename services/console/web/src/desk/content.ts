import { create } from "@bufbuild/protobuf";
import { ContentSchema, type Content } from "../gen/wxbus/event/v1/content_pb";

export const textContent = (content: string): Content => create(ContentSchema, { body: { case: "text", value: { content } } });
export const imageContent = (mediaId: string): Content => create(ContentSchema, { body: { case: "image", value: { mediaId } } });
export const voiceContent = (mediaId: string): Content => create(ContentSchema, { body: { case: "voice", value: { mediaId } } });
export const videoContent = (mediaId: string, title: string): Content => create(ContentSchema, { body: { case: "video", value: { mediaId, title } } });

// kindOf names the kind of a message for icons and short texts.
export function kindOf(content: Content | undefined): "text" | "image" | "voice" | "video" | "card" | "menu" | "news" | "other" {
  switch (content?.body.case) {
    case "text": return "text";
    case "image": return "image";
    case "voice": return "voice";
    case "video": return "video";
    case "miniProgram":
    case "link": return "card";
    case "menu": return "menu";
    case "news":
    case "music": return "news";
    default: return "other";
  }
}

// What fans and rules write may hold any address. Only web addresses are ever followed.
export function safeURL(raw: string): string | undefined {
  try {
    const url = new URL(raw);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : undefined;
  } catch {
    return undefined;
  }
}

const addresses = /https?:\/\/[^\s<>"'（）《》，。！？；]+/gi;

export type Piece = string | { href: string; text: string };

// linkify finds web addresses in a text. The pieces are texts again, never markup.
export function linkify(text: string): Piece[] {
  const pieces: Piece[] = [];
  let end = 0;
  for (const m of text.matchAll(addresses)) {
    const raw = m[0].replace(/[.,;:!?)\]}]+$/, "");
    const href = safeURL(raw);
    if (!href) continue;
    if (m.index > end) pieces.push(text.slice(end, m.index));
    pieces.push({ href, text: raw });
    end = m.index + raw.length;
  }
  if (end < text.length) pieces.push(text.slice(end));
  return pieces;
}
