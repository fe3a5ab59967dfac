// Whether somebody wants to go online with the log-in is a habit, kept on this machine.
const storage = "wxbus.online";

export function wantsOnline(): boolean {
  try {
    return localStorage.getItem(storage) !== "no";
  } catch {
    return true;
  }
}

export function rememberOnline(yes: boolean): void {
  try {
    localStorage.setItem(storage, yes ? "yes" : "no");
  } catch {
    // without storage the default holds
  }
}
