import { expect, it } from "vitest";
import { everyMinute } from "./progress";

const at = Date.UTC(2026, 10, 29, 9);
const minute = (n: number, results: number) => ({ beginUnixMs: BigInt(at + n * 60_000), results });

it("minutes without a result stand in their place", () => expect(everyMinute([minute(0, 5), minute(3, 2)]).map((m) => m.value)).toEqual([5, 0, 0, 2]));
it("a pause of days is not drawn", () => expect(everyMinute([minute(0, 5), minute(5000, 2)])).toHaveLength(240));
it("nothing yet is nothing", () => expect(everyMinute([])).toEqual([]));
