// What tests and pictures do at the desk: the group, its people, and the first hand on the page.
export const group = "aftersales";
export const say = "我要退货"; // the demo's rule that hands over to the group
export const talk = "wxbus.agentrouting.v1.ConversationService";

// groupWith sets what a test needs of the group, and everything else as it is by default.
export async function groupWith(admin, fields) {
  const { groups = [] } = await admin.call("wxbus.agentrouting.v1.AgentService/ListGroups");
  const g = groups.find((x) => x.id === group) ?? { id: group, name: "售后" };
  await admin.call("wxbus.agentrouting.v1.AgentService/PutGroup", { group: { ...g, offerTimeoutS: 600, idleTimeoutS: 0, idleWarningS: 0, survey: true, surveyMax: 5, method: "ROUTING_METHOD_LEAST_LOAD", hours: undefined, firstResponseS: 0, nextResponseS: 0, closeS: 0, ...fields } });
}

// desk makes sure that the group exists and that the given people work in it.
export async function desk({ admin, users }, ...people) {
  await groupWith(admin, {});
  // What earlier tests left open would be offered to the people of this one.
  const { conversations = [] } = await admin.call(`${talk}/ListConversations`, { pageSize: 200 });
  for (const c of conversations) {
    const ref = { account: c.account, conversation: c.id };
    if (c.state === "CONVERSATION_STATE_ACTIVE" || c.state === "CONVERSATION_STATE_ON_HOLD") await admin.call(`${talk}/TakeOver`, ref);
    await admin.call(`${talk}/Close`, { ...ref, openid: c.openid, noSurvey: true });
  }
  const { agents = [] } = await admin.call("wxbus.agentrouting.v1.AgentService/ListAgents");
  for (const u of users.all) {
    const works = people.some((p) => p.name === u.name);
    const known = agents.find((a) => a.id === u.name);
    if (works) await admin.call("wxbus.agentrouting.v1.AgentService/PutAgent", { agent: { ...known, id: u.name, name: known?.name || u.name, groups: [group], capacity: 5, autoAccept: false } });
    if (known || works) await admin.call("wxbus.agentrouting.v1.AgentService/SetPresence", { agent: u.name, presence: works ? "PRESENCE_ONLINE" : "PRESENCE_OFFLINE" });
  }
}

// join adds somebody to the group while it works.
export async function join({ admin }, person) {
  const { agents = [] } = await admin.call("wxbus.agentrouting.v1.AgentService/ListAgents");
  const known = agents.find((a) => a.id === person.name);
  await admin.call("wxbus.agentrouting.v1.AgentService/PutAgent", { agent: { ...known, id: person.name, name: known?.name || person.name, groups: [group], capacity: 5, autoAccept: false } });
  await admin.call("wxbus.agentrouting.v1.AgentService/SetPresence", { agent: person.name, presence: "PRESENCE_ONLINE" });
}

export const composer = (page) => page.locator(".composer textarea");
export const bubble = (page, text) => page.locator(".msg", { hasText: text });

export async function write(page, text) {
  await composer(page).fill(text);
  await page.keyboard.press("Enter");
}

// acceptOffer takes what is offered, by its key. What stands below the thread then may be something else than the composer.
export async function acceptOffer(page, instead) {
  await page.getByTestId("offer").waitFor();
  await page.locator("body").press("a");
  const send = page.getByTestId("send"); // a note may be written without owning the fan, an answer not
  await (instead ? send.or(instead) : send).first().waitFor();
}
