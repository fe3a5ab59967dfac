import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import "virtual:tokens.css";
import "./styles/base.css";
import "./styles/shell.css";
import "./styles/desk.css";
import "./styles/pages.css";
import { App } from "./app";
import { protect } from "./rpc/trusted";
import { transport } from "./rpc/transport";

protect();
const root = document.getElementById("root");
if (!root) throw new Error("the page has no root");
createRoot(root).render(<StrictMode><App transport={transport} /></StrictMode>);
