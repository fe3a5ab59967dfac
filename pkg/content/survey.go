package content

// SurveyMenuPrefix begins the ids of the items of the desk's survey. A tap on one is an answer to the desk, so no rule answers it.
const SurveyMenuPrefix = "wxbus.survey."
