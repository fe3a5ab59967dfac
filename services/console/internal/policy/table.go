package policy

import consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"

const (
	agent      = consolev1.Role_ROLE_AGENT
	supervisor = consolev1.Role_ROLE_SUPERVISOR
	operator   = consolev1.Role_ROLE_OPERATOR
	admin      = consolev1.Role_ROLE_ADMIN
)

// The groups of roles. They do not contain each other: an administrator who also serves fans has both roles.
var (
	everybody = []consolev1.Role{agent, supervisor, operator, admin}
	desk      = []consolev1.Role{agent, supervisor}
	leads     = []consolev1.Role{supervisor}
	managers  = []consolev1.Role{supervisor, operator, admin}
	operators = []consolev1.Role{operator, admin}
	admins    = []consolev1.Role{admin}
)

// table has a line for every method of every service behind the door. A test fails for a method that has none.
var table = map[string]map[string]Access{
	"wxbus.console.v1.SessionService": {
		"GetSession":     {Open: true, Read: true, Quiet: true},
		"LogIn":          {Open: true, Target: "name"},
		"LogOut":         {Open: true},
		"ChangePassword": {Roles: everybody, FirstSteps: true},
		"ListSessions":   {Roles: everybody, Read: true, Self: "user", SelfExcept: admins},
		"RevokeSession":  {Roles: everybody, Target: "id"},
	},
	"wxbus.console.v1.UserService": {
		"ListUsers":      {Roles: admins, Global: true, Read: true},
		"ListColleagues": {Roles: everybody, Read: true},
		"CreateUser":     {Roles: admins, Global: true, Target: "name"},
		"UpdateUser":     {Roles: admins, Global: true, Target: "name"},
		"DisableUser":    {Roles: admins, Global: true, Target: "name"},
		"ResetPassword":  {Roles: admins, Global: true, Target: "name"},
	},
	"wxbus.console.v1.ApiKeyService": {
		"ListApiKeys":  {Roles: admins, Global: true, Read: true},
		"CreateApiKey": {Roles: admins, Global: true, Target: "name"},
		"RevokeApiKey": {Roles: admins, Global: true, Target: "id"},
	},
	"wxbus.console.v1.AuditService": {
		"ListAudit":  {Roles: admins, Read: true, Global: true},
		"CheckAudit": {Roles: admins, Read: true, Global: true},
	},
	"wxbus.console.v1.StatusService": {
		"GetStatus": {Roles: everybody, Scope: StatusRead, Read: true, Keep: "accounts.name", Quiet: true},
	},
	"wxbus.console.v1.FeedService": {
		"Watch": {Roles: desk, Scope: DeskRead, Read: true, Account: "account", Filters: true, Quiet: true},
	},
	"wxbus.console.v1.DeadLetterService": {
		"ListDeadLetters":    {Roles: operators, Scope: DeadLettersRead, Read: true, Account: "account", Filters: true},
		"GetDeadLetter":      {Roles: operators, Scope: DeadLettersRead, Read: true},
		"RequeueDeadLetters": {Roles: operators, Scope: DeadLettersWrite},
		"DiscardDeadLetters": {Roles: operators, Scope: DeadLettersWrite},
	},
	"wxbus.console.v1.TraceService": {
		"GetTimeline": {Roles: everybody, Scope: MessagesRead, Read: true, Account: "account"},
	},
	"wxbus.console.v1.WebhookService": {
		"ListWebhooks":           {Roles: operators, Scope: WebhooksRead, Read: true},
		"ListWebhookDeliveries":  {Roles: operators, Scope: WebhooksRead, Read: true},
		"CreateWebhook":          {Roles: operators, Scope: WebhooksWrite, Account: "accounts", Target: "name"},
		"UpdateWebhook":          {Roles: operators, Scope: WebhooksWrite, Account: "accounts", Target: "id"},
		"DeleteWebhook":          {Roles: operators, Scope: WebhooksWrite, Target: "id"},
		"RotateWebhookSecret":    {Roles: operators, Scope: WebhooksWrite, Target: "id"},
		"PauseWebhook":           {Roles: operators, Scope: WebhooksWrite, Target: "id"},
		"TestWebhook":            {Roles: operators, Scope: WebhooksWrite, Target: "id"},
		"RetryWebhookDeliveries": {Roles: operators, Scope: WebhooksWrite, Target: "webhook"},
	},
	"wxbus.rule.v1.RuleService": {
		"PublishRuleSet":  {Roles: operators, Scope: RulesWrite, Global: true},
		"GetRuleSet":      {Roles: managers, Scope: RulesRead, Read: true, Global: true},
		"ListRuleSets":    {Roles: managers, Scope: RulesRead, Read: true},
		"RollBackRuleSet": {Roles: operators, Scope: RulesWrite, Global: true, Target: "version"},
		"DryRun":          {Roles: managers, Scope: RulesRead, Read: true, Account: "account"},
		"ListRules":       {Roles: managers, Scope: RulesRead, Read: true, Account: "account"},
		"GetRule":         {Roles: managers, Scope: RulesRead, Read: true, Global: true},
		"SaveRule":        {Roles: operators, Scope: RulesWrite, Global: true, Target: "id"},
		"DeleteRule":      {Roles: operators, Scope: RulesWrite, Global: true, Target: "id"},
		"MoveRule":        {Roles: operators, Scope: RulesWrite, Global: true, Target: "id"},
		"SaveSection":     {Roles: operators, Scope: RulesWrite, Global: true, Target: "name"},
		"GetDraft":        {Roles: managers, Scope: RulesRead, Read: true, Global: true},
		"DiscardDraft":    {Roles: operators, Scope: RulesWrite, Global: true},
		"PublishDraft":    {Roles: operators, Scope: RulesWrite, Global: true},
		"DiffRuleSets":    {Roles: managers, Scope: RulesRead, Read: true, Global: true},
		"ListAudit":       {Roles: operators, Scope: RulesRead, Read: true, Global: true},
		"ImportRules":     {Roles: operators, Scope: RulesWrite, Global: true},
		"ExportRules":     {Roles: managers, Scope: RulesRead, Read: true, Global: true},
		"ShadowRun":       {Roles: operators, Scope: RulesRead, Read: true, Global: true},
		"GetCoverage":     {Roles: managers, Scope: RulesRead, Read: true, Account: "account"},
	},
	"wxbus.token.v1.AccountService": {
		"CreateAccount":      {Roles: admins, Global: true, Target: "settings.name"},
		"GetAccount":         {Roles: everybody, Scope: AccountsRead, Read: true, Account: "account"},
		"ListAccounts":       {Roles: everybody, Scope: AccountsRead, Read: true, Keep: "accounts.settings.name"},
		"UpdateAccount":      {Roles: admins, Account: "account"},
		"DisableAccount":     {Roles: admins, Account: "account"},
		"EnableAccount":      {Roles: admins, Account: "account"},
		"DeleteAccount":      {Roles: admins, Account: "account"},
		"RotateCallbackKeys": {Roles: admins, Account: "account"},
		"SetAppSecret":       {Roles: admins, Account: "account"},
		"ResealAccounts":     {Roles: admins, Global: true},
		"DoctorAccount":      {Roles: operators, Scope: AccountsRead, Account: "account"},
		"GetTokenStatus":     {Roles: managers, Scope: AccountsRead, Read: true, Account: "account"},
		"GetTicket":          {Hidden: true},
		"SignJSAPI":          {Roles: operators, Scope: AccountsRead, Read: true, Account: "account"},
		"GetCallbackIPs":     {Roles: operators, Scope: AccountsRead, Read: true, Account: "account"},
	},
	"wxbus.token.v1.TokenService": {
		"GetToken":       {Hidden: true},
		"ReportBadToken": {Hidden: true},
	},
	"wxbus.sender.v1.SenderService": {
		"Send":             {Roles: operators, Scope: MessagesWrite, Account: "account"},
		"SendBatch":        {Roles: operators, Scope: MessagesWrite, Account: "requests.account"},
		"GetSend":          {Roles: everybody, Scope: MessagesRead, Read: true, Account: "account"},
		"GetQuota":         {Roles: everybody, Scope: MessagesRead, Read: true, Account: "account"},
		"GetSendingStatus": {Roles: everybody, Scope: MessagesRead, Read: true, Account: "account"},
		"ListTemplates":    {Roles: everybody, Scope: MessagesRead, Read: true, Account: "account"},
		"GetTemplate":      {Roles: everybody, Scope: MessagesRead, Read: true, Account: "account"},
		"SendMass":         {Roles: operators, Scope: CampaignsWrite, Account: "account"},
		"PreviewMass":      {Roles: operators, Scope: CampaignsWrite, Account: "account"},
		"SetMassSpeed":     {Roles: operators, Scope: CampaignsWrite, Account: "account"},
		"DeleteMass":       {Roles: operators, Scope: CampaignsWrite, Account: "account", Target: "id"},
		"GetMassStatus":    {Roles: managers, Scope: CampaignsRead, Read: true, Account: "account"},
		"GetMassSpeed":     {Roles: managers, Scope: CampaignsRead, Read: true, Account: "account"},
		"UploadMedia":      {Roles: everybody, Scope: MessagesWrite, Account: "account"},
	},
	"wxbus.sender.v1.CampaignService": {
		"CreateCampaign":   {Roles: operators, Scope: CampaignsWrite, Account: "account", Self: "actor", Target: "id"},
		"StartCampaign":    {Roles: operators, Scope: CampaignsWrite, Account: "account", Self: "actor", Target: "id"},
		"PauseCampaign":    {Roles: operators, Scope: CampaignsWrite, Account: "account", Self: "actor", Target: "id"},
		"ResumeCampaign":   {Roles: operators, Scope: CampaignsWrite, Account: "account", Self: "actor", Target: "id"},
		"CancelCampaign":   {Roles: operators, Scope: CampaignsWrite, Account: "account", Self: "actor", Target: "id"},
		"ReplayFailures":   {Roles: operators, Scope: CampaignsWrite, Account: "account", Self: "actor", Target: "id"},
		"SetAudience":      {Roles: operators, Scope: CampaignsWrite, Account: "account", Target: "id"},
		"UploadAudience":   {Hidden: true},
		"DryCount":         {Roles: operators, Scope: CampaignsRead, Read: true, Account: "account"},
		"GetCampaign":      {Roles: managers, Scope: CampaignsRead, Read: true, Account: "account"},
		"ListCampaigns":    {Roles: managers, Scope: CampaignsRead, Read: true, Account: "account"},
		"ListRecipients":   {Roles: managers, Scope: CampaignsRead, Read: true, Account: "account"},
		"CountReplay":      {Roles: managers, Scope: CampaignsRead, Read: true, Account: "account"},
		"WatchCampaign":    {Roles: managers, Scope: CampaignsRead, Read: true, Account: "account"},
		"ExportRecipients": {Roles: operators, Scope: CampaignsRead, Account: "account", Target: "id"},
	},
	"wxbus.agentrouting.v1.AgentService": {
		"ListGroups":        {Roles: everybody, Scope: DeskRead, Read: true},
		"PutGroup":          {Roles: leads, Self: "actor", Target: "group.id"},
		"DeleteGroup":       {Roles: leads, Self: "actor", Target: "id"},
		"GetDefaultTexts":   {Roles: everybody, Read: true},
		"ListAgents":        {Roles: everybody, Scope: DeskRead, Read: true},
		"PutAgent":          {Roles: leads, Self: "actor", Target: "agent.id"},
		"DeleteAgent":       {Roles: leads, Self: "actor", Target: "id"},
		"SetPresence":       {Roles: desk, Self: "agent", SelfExcept: leads},
		"Heartbeat":         {Roles: desk, Read: true, Self: "agent", Quiet: true},
		"ListCannedReplies": {Roles: everybody, Read: true, Account: "account", Self: "agent", SelfExcept: leads},
		"PutCannedReply":    {Roles: desk, Self: "actor", Account: "reply.account", Target: "reply.id"},
		"DeleteCannedReply": {Roles: desk, Self: "actor", Target: "id"},
		"RenderCannedReply": {Roles: desk, Read: true, Account: "account", Self: "agent"},
	},
	"wxbus.agentrouting.v1.ConversationService": {
		"ListWaiting":       {Roles: everybody, Scope: DeskRead, Read: true, Account: "account"},
		"ListServing":       {Roles: desk, Scope: DeskRead, Read: true, Account: "account", Self: "agent", SelfExcept: leads},
		"GetOwner":          {Roles: everybody, Scope: DeskRead, Read: true, Account: "account"},
		"Accept":            {Roles: desk, Scope: DeskWrite, Account: "account", Self: "agent", Target: "conversation"},
		"Reply":             {Roles: desk, Scope: DeskWrite, Account: "account", Self: "agent", Target: "conversation"},
		"Close":             {Roles: desk, Scope: DeskWrite, Account: "account", Self: "agent", Target: "conversation"},
		"ListConversations": {Roles: desk, Scope: DeskRead, Read: true, Account: "account"},
		"ListQueue":         {Roles: everybody, Scope: DeskRead, Read: true, Account: "account"},
		"GetConversation":   {Roles: desk, Scope: DeskRead, Read: true, Logged: true, Account: "account", Self: "actor", Target: "conversation"},
		"ListMessages":      {Roles: desk, Scope: DeskRead, Read: true, Logged: true, Account: "account", Target: "conversation"},
		"Search":            {Roles: desk, Scope: DeskRead, Read: true, Logged: true, Account: "account"},
		"Decline":           {Roles: desk, Account: "account", Self: "actor", Target: "conversation"},
		"Take":              {Roles: desk, Account: "account", Self: "actor", Target: "conversation"},
		"AddNote":           {Roles: desk, Account: "account", Self: "actor", Target: "conversation"},
		"Transfer":          {Roles: desk, Account: "account", Self: "actor", Target: "conversation"},
		"Hold":              {Roles: desk, Account: "account", Self: "actor", Target: "conversation"},
		"Unhold":            {Roles: desk, Account: "account", Self: "actor", Target: "conversation"},
		"Reopen":            {Roles: desk, Account: "account", Self: "actor", Target: "conversation"},
		"Renew":             {Roles: desk, Account: "account", Self: "actor", Target: "conversation"},
		"TakeOver":          {Roles: leads, Account: "account", Self: "actor", Target: "conversation"},
		"Whisper":           {Roles: leads, Account: "account", Self: "actor", Target: "conversation"},
		"Watch":             {Roles: leads, Account: "account", Self: "actor", Target: "conversation"},
		"SetTyping":         {Roles: desk, Read: true, Account: "account", Self: "actor"},
		"GetFan":            {Roles: desk, Scope: DeskRead, Read: true, Account: "account"},
		"RenameFan":         {Roles: desk, Account: "account", Self: "actor"},
		"TagFan":            {Roles: desk, Account: "account", Self: "actor"},
		"GetMedia":          {Roles: desk, Scope: DeskRead, Read: true, Logged: true, Account: "account", Target: "id"},
	},
	"wxbus.agentrouting.v1.KfService": {
		"ListKfAccounts":  {Roles: managers, Read: true, Account: "account"},
		"GetKfSession":    {Roles: managers, Read: true, Account: "account"},
		"ListKfSessions":  {Roles: managers, Read: true, Account: "account"},
		"ListKfWaiting":   {Roles: managers, Read: true, Account: "account"},
		"AddKfAccount":    {Roles: operators, Account: "account", Target: "kf_account"},
		"UpdateKfAccount": {Roles: operators, Account: "account", Target: "kf_account"},
		"InviteKfWorker":  {Roles: operators, Account: "account", Target: "kf_account"},
		"DeleteKfAccount": {Roles: operators, Account: "account", Target: "kf_account"},
		"CreateKfSession": {Roles: leads, Account: "account", Target: "kf_account"},
		"CloseKfSession":  {Roles: leads, Account: "account", Target: "kf_account"},
	},
	"wxbus.agentrouting.v1.PrivacyService": {
		"ExportFan":    {Roles: admins, Account: "account", Self: "actor"},
		"EraseFan":     {Roles: admins, Account: "account", Self: "actor"},
		"ListErasures": {Roles: admins, Read: true, Account: "account"},
	},
	"wxbus.agentrouting.v1.ReportService": {
		"GetReport":           {Roles: managers, Scope: ReportsRead, Read: true, Account: "filter.account"},
		"ListDefinitions":     {Roles: everybody, Scope: ReportsRead, Read: true},
		"ExportReport":        {Roles: managers, Scope: ReportsRead, Read: true, Account: "filter.account"},
		"ExportConversations": {Roles: managers, Scope: ReportsRead, Account: "filter.account"},
	},
}
