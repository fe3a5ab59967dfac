import { common } from "./common";
import { desk } from "./desk";
import { login } from "./login";
import { pages } from "./pages";
import { shell } from "./shell";

export const words = { ...common, ...login, ...shell, ...desk, ...pages };

export type Key = keyof typeof words;
