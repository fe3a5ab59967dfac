import { createRoot } from "react-dom/client";
import "virtual:tokens.css";
import "../src/styles/base.css";
import "../src/styles/shell.css";
import "../src/styles/desk.css";
import "../src/styles/pages.css";
import { App } from "../src/app";
import { fakeServer } from "./server";

// The real page over a server that lives in the page itself: what is measured is the page alone.
const root = document.getElementById("root");
if (root) createRoot(root).render(<App transport={fakeServer({ conversations: 10_000, messages: 10_000 })} />);
