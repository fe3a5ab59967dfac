import { common } from "./common";
import { desk } from "./desk";
import { login } from "./login";
import { pages } from "./pages";
import { said } from "./said";
import { shell } from "./shell";

export const words = { ...common, ...login, ...shell, ...desk, ...pages, ...said };

export type Key = keyof typeof words;
