package reply

// LastDecision is the constant.
const LastDecision = lastDecision
