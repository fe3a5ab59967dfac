import { common } from "./common";
import { desk } from "./desk";
import { login } from "./login";
import { shell } from "./shell";

export const words = { ...common, ...login, ...shell, ...desk };

export type Key = keyof typeof words;
