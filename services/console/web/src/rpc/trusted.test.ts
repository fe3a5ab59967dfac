import { describe, expect, it } from "vitest";
import { giveStyles, onlyStyles, onlyWorker, styleNonce } from "./trusted";

describe("what the page lets become markup", () => {
  it("is a stylesheet and nothing else", () => {
    expect(onlyStyles(".a > .b { color: red }")).toBe(".a > .b { color: red }");
    for (const text of ["<img src=x onerror=alert(1)>", "a{}</style><script>1</script>", "<"]) expect(() => onlyStyles(text)).toThrow(TypeError);
  });

  it("starts one worker and no other script by its address", () => {
    expect(onlyWorker("/worker.js")).toBe("/worker.js");
    for (const url of ["/worker.js?x", "//evil.example/worker.js", "https://evil.example/a.js", "data:text/javascript,1", ""]) expect(() => onlyWorker(url)).toThrow(TypeError);
  });

  it("carries the nonce of this load on every style element", () => {
    expect(styleNonce()).toBeUndefined();
    document.head.insertAdjacentHTML("beforeend", '<meta property="csp-nonce" nonce="abc">');
    expect(styleNonce()).toBe("abc");
    giveStyles("abc");
    expect(document.createElement("style").nonce).toBe("abc");
    expect(document.createElement("div").nonce).not.toBe("abc");
  });
});
