package message

// method is what regate knows of a method.
type method struct {
	verb     string
	kind     string // of the resource
	name     string // the parameter that names it, "" where there is none
	writes   bool
	toClient bool // a server asks it of a client
	notice   bool
}

// methods are those of every revision.
var methods = map[string]method{
	"initialize":      {verb: "initialize", kind: "server"},
	"server/discover": {verb: "discover", kind: "server"},
	"ping":            {verb: "ping", kind: "server"},

	"tools/list":               {verb: "list", kind: "tool"},
	"tools/call":               {verb: "call", kind: "tool", name: "name", writes: true},
	"resources/list":           {verb: "list", kind: "resource"},
	"resources/templates/list": {verb: "list", kind: "resource"},
	"resources/read":           {verb: "read", kind: "resource", name: "uri"},
	"resources/subscribe":      {verb: "subscribe", kind: "resource", name: "uri"},
	"resources/unsubscribe":    {verb: "unsubscribe", kind: "resource", name: "uri"},
	"prompts/list":             {verb: "list", kind: "prompt"},
	"prompts/get":              {verb: "get", kind: "prompt", name: "name"},
	"completion/complete":      {verb: "complete", kind: "server"},
	"logging/setLevel":         {verb: "log", kind: "server"},
	"subscriptions/listen":     {verb: "subscribe", kind: "server"},

	"tasks/list":   {verb: "list", kind: "task"},
	"tasks/get":    {verb: "task", kind: "task", name: "taskId"},
	"tasks/result": {verb: "task", kind: "task", name: "taskId"},
	"tasks/update": {verb: "task", kind: "task", name: "taskId", writes: true},
	"tasks/cancel": {verb: "task", kind: "task", name: "taskId", writes: true},

	"sampling/createMessage": {verb: "sample", kind: "server", toClient: true, writes: true},
	"elicitation/create":     {verb: "elicit", kind: "server", toClient: true, writes: true},
	"roots/list":             {verb: "roots", kind: "server", toClient: true},

	"notifications/initialized":                {verb: "notify", kind: "server", notice: true},
	"notifications/cancelled":                  {verb: "cancel", kind: "server", notice: true},
	"notifications/progress":                   {verb: "notify", kind: "server", notice: true},
	"notifications/roots/list_changed":         {verb: "notify", kind: "server", notice: true},
	"notifications/message":                    {verb: "notify", kind: "server", notice: true, toClient: true},
	"notifications/tools/list_changed":         {verb: "notify", kind: "server", notice: true, toClient: true},
	"notifications/prompts/list_changed":       {verb: "notify", kind: "server", notice: true, toClient: true},
	"notifications/resources/list_changed":     {verb: "notify", kind: "server", notice: true, toClient: true},
	"notifications/resources/updated":          {verb: "notify", kind: "server", notice: true, toClient: true},
	"notifications/elicitation/complete":       {verb: "notify", kind: "server", notice: true, toClient: true},
	"notifications/subscriptions/acknowledged": {verb: "notify", kind: "server", notice: true, toClient: true},
	"notifications/tasks/status":               {verb: "notify", kind: "server", notice: true, toClient: true},
}

// Lists maps the methods whose results are lists to the list's name and to the
// member that names an item.
var Lists = map[string]struct{ Items, Name string }{
	"tools/list":               {"tools", "name"},
	"resources/list":           {"resources", "uri"},
	"resources/templates/list": {"resourceTemplates", "uriTemplate"},
	"prompts/list":             {"prompts", "name"},
	"tasks/list":               {"tasks", "taskId"},
}
