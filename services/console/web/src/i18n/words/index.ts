import { common } from "./common";
import { login } from "./login";

export const words = { ...common, ...login };

export type Key = keyof typeof words;
