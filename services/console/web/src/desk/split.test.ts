import { describe, expect, it } from "vitest";
import { bytesOf, messageBytes, splitText } from "./split";

describe("splitting a long text", () => {
  it("leaves a short one whole", () => {
    expect(splitText("好的")).toEqual(["好的"]);
    expect(splitText("  ")).toEqual([]);
    expect(splitText("a".repeat(messageBytes))).toHaveLength(1);
  });

  it("cuts at the end of a sentence", () => {
    const parts = splitText(`${"改签办妥。".repeat(130)}最后一句`);
    expect(parts).toHaveLength(1);
    const two = splitText(`${"改签办妥。".repeat(140)}最后一句`);
    expect(two).toHaveLength(2);
    expect(two[0]?.endsWith("。")).toBe(true);
  });

  it("never loses a character and never cuts one", () => {
    for (const unit of ["好", "a", "🙂", "👨‍👩‍👧", "é"]) {
      const text = unit.repeat(1500);
      const parts = splitText(text);
      expect(parts.join("")).toBe(text);
      for (const p of parts) {
        expect(bytesOf(p)).toBeLessThanOrEqual(messageBytes);
        expect(p.length % unit.length).toBe(0);
      }
    }
  });

  it("ends also for one cluster that is longer than a message", () => {
    const parts = splitText(`a${"\u0301".repeat(3000)}`);
    expect(parts.length).toBeGreaterThan(1);
    for (const p of parts) expect(bytesOf(p)).toBeLessThanOrEqual(messageBytes);
  });
});
