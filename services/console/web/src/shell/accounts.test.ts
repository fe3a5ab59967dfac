import { expect, test } from "vitest";
import { searched } from "./accounts";

test("who may see every account, or one, asks once", () => {
  expect(searched(["*"], ["a", "b"])).toEqual([""]);
  expect(searched(["a"], ["a"])).toEqual([""]);
});

test("who may see some asks for each of them, and for no other", () => {
  expect(searched(["a", "c"], ["a", "b", "c"])).toEqual(["a", "c"]);
});

test("many accounts are not all asked", () => {
  const many = Array.from({ length: 20 }, (_, i) => `a${i}`);
  expect(searched(many, many)).toHaveLength(8);
});
