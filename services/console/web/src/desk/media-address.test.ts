import { describe, expect, it } from "vitest";
import { addressOf, bounded } from "./media-address";

describe("the address of a file", () => {
  it("asks for the version that browsers play only when there is one", () => {
    expect(addressOf("shop", { id: "f1", playableType: "" })).toBe("/api/media/shop/f1");
    expect(addressOf("shop", { id: "f1", playableType: "audio/mpeg" })).toBe("/api/media/shop/f1?playable=1");
  });

  it("stays on its path whatever the id is", () => {
    expect(addressOf("a/b", { id: "../x?y#z", playableType: "" })).toBe("/api/media/a%2Fb/..%2Fx%3Fy%23z");
  });
});

it("what is known of files is bounded, and the oldest goes first", () => {
  const known = bounded<number>(2);
  known.set("a", 1);
  known.set("b", 2);
  known.set("a", 3);
  known.set("c", 4);
  expect([known.get("a"), known.get("b"), known.get("c")]).toEqual([3, undefined, 4]);
});
