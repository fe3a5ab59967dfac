import { describe, expect, it } from "vitest";
import tokens from "./tokens.json";
import { themeOf } from "./theme";

describe("the theme", () => {
  it("takes every colour of Ant Design from the design tokens", () => {
    const light = themeOf("light");
    expect(light.token?.colorPrimary).toBe(tokens.color.brand.light);
    expect(themeOf("dark").token?.colorPrimary).toBe(tokens.color.brand.dark);
    expect(light.token?.boxShadowSecondary).toBe(tokens.shadow["sh-2"].light);
    expect(light.components?.Input?.activeShadow).toBe(`0 0 0 2px ${tokens.color["brand-soft"].light}`);
  });

  it("leaves no name unresolved", () => {
    for (const mode of ["light", "dark"] as const) {
      expect(JSON.stringify(themeOf(mode))).not.toMatch(/(color|shadow|type)\.[a-z]/);
    }
  });

  // WCAG AA: texts 4.5, marks 3.
  it.each(["light", "dark"] as const)("keeps its contrast in %s", (mode) => {
    const c = tokens.color as Record<string, Record<string, string>>;
    const of = (name: string) => c[name]?.[mode] ?? "";
    const pairs: [string, string, number][] = [
      ["text", "surface", 4.5], ["text-2", "surface", 4.5], ["text-3", "surface", 4.5], ["text-3", "app", 4.5], ["text-3", "fill", 4.5],
      ["brand-text", "surface", 4.5], ["on-brand", "brand", 4.5], ["amber-text", "amber-soft", 4.5], ["red-text", "red-soft", 4.5],
      ["note-text", "note", 4.5], ["amber", "surface", 3], ["red", "surface", 3], ["line-ctl", "surface", 3], ["ring", "surface", 3],
    ];
    for (const [a, b, least] of pairs) expect(contrast(of(a), of(b)), `${a} on ${b}`).toBeGreaterThanOrEqual(least);
  });
});

function contrast(a: string, b: string): number {
  const luminance = (hex: string) => {
    const [r, g, bl] = [1, 3, 5].map((i) => {
      const v = parseInt(hex.slice(i, i + 2), 16) / 255;
      return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    }) as [number, number, number];
    return 0.2126 * r + 0.7152 * g + 0.0722 * bl;
  };
  const [hi, lo] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number];
  return (hi + 0.05) / (lo + 0.05);
}
