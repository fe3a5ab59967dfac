import { describe, expect, it } from "vitest";
import { faceOf, fanHash, fnv1a } from "./identity";
import { patterns } from "./patterns";

describe("a fan without a face", () => {
  it("hashes like FNV-1a everywhere else", () => {
    expect(fnv1a("")).toBe(0x811c9dc5);
    expect(fnv1a("a")).toBe(0xe40c292c);
    expect(fnv1a("foobar")).toBe(0xbf9cf968);
    expect(fanHash({ account: "shop", openid: "oA" })).toBe(fnv1a("shop\0oA"));
  });

  it("keeps the same face for ever", () => {
    expect(faceOf({ account: "shop", openid: "fan-1" })).toEqual(faceOf({ account: "shop", openid: "fan-1" }));
    expect(faceOf({ account: "shop", openid: "oA" })).toEqual({ pattern: Math.floor(fnv1a("shop\0oA") / 8) % 12, hue: fnv1a("shop\0oA") % 8 });
  });

  it("uses every pattern and every pair of hues", () => {
    const seen = new Set<string>();
    for (let i = 0; i < 4000; i++) {
      const f = faceOf({ account: "shop", openid: `o${i}` });
      seen.add(`${f.pattern}/${f.hue}`);
    }
    expect(patterns).toHaveLength(12);
    expect(seen.size).toBe(96);
  });
});
