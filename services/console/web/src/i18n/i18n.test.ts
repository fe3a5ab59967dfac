import { describe, expect, it } from "vitest";
import { translate } from ".";
import { words, type Key } from "./words";

const all = Object.entries(words) as [Key, readonly [string, string]][];

describe("the dictionaries", () => {
  it.each(all)("%s is complete and has the same holes in both languages", (_, [zh, en]) => {
    const holes = (text: string) => [...text.matchAll(/\{\w+\}/g)].map((m) => m[0]).sort();
    expect(zh.trim()).not.toBe("");
    expect(en.trim()).not.toBe("");
    expect(holes(zh)).toEqual(holes(en));
  });

  it("has no Chinese in English and no exclamation marks", () => {
    for (const [key, [zh, en]] of all) {
      expect(en, key).not.toMatch(/\p{Script=Han}/u);
      expect(zh + en, key).not.toMatch(/[!！]/);
    }
  });

  it("fills holes with text and leaves unknown ones", () => {
    expect(translate("en", "conn.down", { seconds: 8 })).toBe("Offline for 8 s");
    expect(translate("zh-CN", "conn.down", {})).toBe("连接中断 {seconds} s");
  });
});
