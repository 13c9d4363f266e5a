package lint

// CheckInfo describes one check. Its id is stable: it is in ignore comments, in
// reports and in the code of other people.
type CheckInfo struct {
	ID       string   `json:"id"`
	Severity Severity `json:"severity"` // of most of its findings
	Refused  bool     `json:"refused"`  // the gateway refuses or denies it: it can neither be disabled nor ignored
	What     string   `json:"what"`
	Why      string   `json:"why"`
	Fix      string   `json:"fix"`
	Example  string   `json:"example"` // of what it finds, Rego in one line
}

// The ids of the checks.
const (
	idSyntax        = "compile/syntax"
	idType          = "compile/type"
	idUnsafe        = "compile/unsafe"
	idRecursion     = "compile/recursion"
	idCompile       = "compile/error"
	idTest          = "compile/test"
	idCapability    = "capabilities/removed"
	idLoad          = "bundle/load"
	idEmpty         = "bundle/empty"
	idPackage       = "contract/package"
	idMetadata      = "contract/metadata"
	idElement       = "contract/element"
	idEntry         = "contract/entry"
	idUnused        = "contract/unused"
	idField         = "schema/field"
	idValue         = "schema/value"
	idName          = "schema/name"
	idDynamic       = "id/dynamic"
	idDuplicate     = "id/duplicate"
	idPrefix        = "id/prefix"
	idImplicit      = "id/implicit"
	idContradiction = "reach/contradiction"
	idConstant      = "reach/constant"
	idStage         = "reach/stage"
	idProtocol      = "reach/protocol"
	idDenied        = "reach/denied"
	idElse          = "reach/else"
	idIndex         = "index/not-indexed"
	idAsserted      = "trust/asserted"
	idAnyone        = "trust/anyone"
	idIncomplete    = "trust/incomplete"
	idMissingNot    = "missing/not"
	idNullTrue      = "null/true"
	idNullCompare   = "null/compare"

	idMissingHoisted  = "missing/not-argument"
	idMissingNotEqual = "missing/not-equal"
	idNullNotEqual    = "null/not-equal"
	idSomeNotEqual    = "quantifier/some-not-equal"
	idOneIsEnough     = "quantifier/one-is-enough"
	idEveryNone       = "quantifier/every-of-none"
	idClock           = "determinism/clock"
	idUncached        = "determinism/uncached"
	idNoMetadata      = "metadata/missing"
	idNoSchema        = "metadata/schema"
	idTitle           = "metadata/title"
	idAllProtocols    = "metadata/protocols"
	idShadow          = "metadata/shadow"
	idIgnoreReason    = "ignore/reason"
	idIgnoreUnknown   = "ignore/unknown"
	idIgnoreUnused    = "ignore/unused"
)

// Checks returns all checks, in the order of the documentation.
func Checks() []CheckInfo {
	return []CheckInfo{
		{idSyntax, Error, true, "Rego that cannot be parsed", "a bundle with it is not activated", "mend it; all errors of all files are listed at once", `allow contains {"id": "acme.sql/x" if true`},
		{idUnsafe, Error, true, "a variable that nothing gives a value", "a bundle with it is not activated", "bind it, or import what it names", `deny contains {"id": "acme.sql/x"} if nobody.knows`},
		{idRecursion, Error, true, "rules that lead back to themselves", "a bundle with it is not activated", "break the circle", `a if b` + "; " + `b if a`},
		{idType, Error, true, "a type error, or a function that does not exist", "a bundle with it is not activated", "compare like with like; for null write is_null(x)", `input.action.limit == "ten"`},
		{idCompile, Error, true, "anything else that OPA refuses in strict mode", "a bundle with it is not activated", "as OPA says", `import data.regate.lib.sql  # and not used`},
		{idTest, Error, false, "a test that does not compile", "it cannot be run", "as OPA says", `test_x if shop.alow`},
		{idCapability, Error, true, "a built-in function that policies may not call", "a decision must be a function of bundles and input, so that it can be replayed", "read input.time, or put what it fetches into data", `http.send({"method": "get", "url": "…"})`},
		{idLoad, Error, true, "files that the gateway would not load: roots that overlap, text that is not UTF-8, links out of the folder, a broken manifest or archive", "a bundle with it is not activated", "as the message says", `{"roots": ["regate", "regate/policies"]}`},
		{idEmpty, Warning, false, "a path without any Rego", "nothing was checked", "name a bundle, a folder or a .rego file", `regate policy check empty/`},
		{idPackage, Error, true, "a policy package with a name that is not regate.policies.<owner>.<name>, without any entry, or with an entry that is not a set", "a bundle with it is not activated", "as the message says; helpers belong outside of regate.policies", `deny := {"id": "acme.sql/x"}`},
		{idMetadata, Error, true, "custom.regate in METADATA with an unknown key or a value of the wrong kind", "a bundle with it is not activated", "protocols, targets and mode are known", `custom: {regate: {mode: shdaow}}`},
		{idElement, Error, true, "a decision that does not have the contract's shape: an unknown key, a wrong type, a duration that is none, a method or a kind that does not exist, a field that is not schema.table.column", "when it is said, the request is denied with engine/error", "as the message says", `mask contains {"id": "acme.pii/x", "field": "email", "method": "hide"}`},
		{idEntry, Warning, false, "a set that looks like allow, deny, require_approval, mask, limit or record and is none of them", "nobody asks for it: it decides nothing", "write the name right", `denny contains {"id": "acme.sql/x"} if input.action.writes == true`},
		{idUnused, Info, false, "a helper of a policy package that nothing uses", "it decides nothing; often something was meant to use it", "use it or remove it", `is_prod if input.target.labels.env == "prod"`},
		{idField, Error, true, "a field that the input does not have", "a bundle with it is not activated", "one of the fields that are listed", `input.action.verbb == "drop"`},
		{idValue, Error, false, "a value that the input never has in this place, compared in any way, also through helpers", "the condition never holds, or always does; OPA does not check it", "one of the values that exist", `input.action.verb == "drpo"`},
		{idName, Warning, false, "a name that is not written as names are in this list", "it never matches", "write the whole name", `"users" in input.resource.table_names`},
		{idDynamic, Warning, false, "an id that is made of the input", "ids are what people search for, count and compare: they must be few and stable", "write a literal id, and put what varies into msg", `deny contains {"id": sprintf("acme.sql/%s", [t])} if some t in input.resource.table_names`},
		{idDuplicate, Warning, false, "one id for different things: in two packages, in two entries, or with two messages", "nobody can tell which of them it was", "give each its own id; several bodies of one rule with one message may share it", `allow contains {"id": "acme.sql/x"} … deny contains {"id": "acme.sql/x"}`},
		{idPrefix, Warning, false, "an id that does not begin with <owner>.<name>/ of its package", "people cannot find the rule by it, and two owners may choose the same", "begin it with the package's name", `allow contains {"id": "read"} if sql.reads_only`},
		{idImplicit, Info, false, "a boolean allow, or a deny that is a string", "all of them share one id", "write an object with an id", `deny contains "no" if input.action.writes == true`},
		{idContradiction, Warning, false, "conditions that exclude each other", "the rule never holds", "remove one of them, or make two rules", `input.action.verb == "drop"` + "; " + `input.action.verb == "alter"`},
		{idConstant, Warning, false, "a condition that is never true, whatever the input", "the rule never holds", "remove the rule", `deny contains {"id": "acme.sql/x"} if false`},
		{idStage, Warning, false, "a rule for a stage at which it is not asked, or where what it looks at does not exist", "the rule never holds", "ask for another stage; see the table of stages", `mask contains {…} if input.stage == "session"`},
		{idProtocol, Warning, false, "a rule for a protocol that its package is not asked about", "the rule never holds", "add the protocol to custom.regate.protocols", `input.protocol == "http"`},
		{idDenied, Warning, false, "an allow that is denied whenever it holds", "it never counts", "remove it, or narrow the deny", `deny contains {"id": "acme.sql/off"} if true`},
		{idElse, Warning, false, "an else after a branch that always holds", "it is never taken", "put the condition on the first branch", `x := 1 if true else := 2`},
		{idIndex, Info, false, "a rule that OPA's index cannot leave out although another form of its condition could be indexed; a warning where one set has 20 of them", "it is evaluated for every request; 300 of them cost 13 to 25 times more", "compare a scalar or a flat list with a literal", `some t in input.resource.tables` + "; " + `t.kind == "view"`},
		{idAsserted, Warning, false, "an allow that rests on what the agent says of itself (asserted, client.application, labels) and on nothing verified", "an agent can say anything", "ask for a group or an id of input.subject, too", `allow contains {"id": "acme.sql/x"} if input.asserted.purpose == "report"`},
		{idAnyone, Info, false, "an allow that does not ask who it is", "it holds for whoever has a token", "ask for a group of input.subject, if that is not meant", `allow contains {"id": "acme.sql/x"} if sql.reads_only`},
		{idIncomplete, Warning, false, "an allow that does not look at complete, opaque or unknown, where no other package denies what is not complete", "it also allows what regate could not resolve", "input.complete == true, or deploy the pack `complete`", `allow contains {"id": "acme.sql/x"} if input.action.verb == "select"`},
		{idMissingNot, Warning, false, "in an allow: `not` over something that may be missing", "where it is missing the `not` holds, and the rule allows", "compare with the value that it must have", `not input.subject.claims.suspended`},
		{idMissingHoisted, Warning, false, "in a rule that restricts: `not` over a call or `in` whose argument may be missing", "OPA evaluates arguments before the `not`: where one is missing the whole rule does not hold", "put the condition into a helper rule and negate that, or use object.get", `not input.target.labels.env in {"dev"}`},
		{idMissingNotEqual, Warning, false, "in a rule that restricts: `!=` on something that may be missing", "where it is missing the rule does not hold", "`not x == y`, which holds then", `input.target.labels.env != "dev"`},
		{idNullTrue, Warning, false, "in an allow: a boolean that may be null as a condition by itself", "null counts as true", "== true", `input.action.has_where`},
		{idNullNotEqual, Warning, false, "in an allow: `!=` on something that may be null", "null is not equal to anything: the rule allows", "compare with the value that it must have, or ask is_null", `input.action.has_where != false`},
		{idNullCompare, Warning, false, "a comparison by size of something that may be null", "null comes before every number: `<` allows, `>` does not restrict", "ask is_null or is_number, too", `deny contains {…} if input.action.limit > 1000`},
		{idSomeNotEqual, Warning, false, "`!=` with some element of a list", "it holds as soon as one element is another", "not x in list", `input.subject.groups[_] != "admin"`},
		{idOneIsEnough, Warning, false, "an allow for which one table, column, verb … of the request is enough", "the request may touch anything else beside it", "every x in list { … }", `allow contains {…} if "public.faq" in input.resource.table_names`},
		{idEveryNone, Info, false, "in an allow: `every` over a list that may be empty", "it holds for nothing at all, too", "count(list) > 0 beside it, if that is not meant", `every t in input.resource.table_names { t in tables }`},
		{idClock, Warning, false, "a built-in that reads the clock", "decisions cannot be cached or replayed", "input.time", `time.now_ns()`},
		{idUncached, Info, false, "input.time, input.request.id or usage", "no decision of the package is cached: each is evaluated", "keep such rules in a package of few targets", `time.weekday(time.parse_rfc3339_ns(input.time))`},
		{idNoMetadata, Warning, false, "a policy package without METADATA, or with keys that mean nothing", "nobody knows what it is for, or for which protocols", "write # METADATA above the package", `package regate.policies.acme.sql`},
		{idNoSchema, Warning, false, "METADATA that does not name the schema of the input, or names another protocol's", "opa check and editors cannot check fields; regate does", "schemas: [input: schema.postgres]", `# METADATA` + "; " + `# title: x`},
		{idTitle, Info, false, "METADATA without title or description", "people see them in the console and in reports", "title and description", `# METADATA` + "; " + `# scope: package`},
		{idAllProtocols, Info, false, "a policy package that does not say its protocols", "it is asked about all of them", "custom: {regate: {protocols: [postgres]}}", `custom: {regate: {mode: enforce}}`},
		{idShadow, Info, false, "a package in shadow", "what it says is counted and changes nothing", "mode: enforce, once it is to decide", `custom: {regate: {mode: shadow}}`},
		{idIgnoreReason, Warning, false, "a regate-ignore comment without a reason", "nobody knows why", "# regate-ignore: id why", `# regate-ignore: id/prefix`},
		{idIgnoreUnknown, Warning, false, "a regate-ignore comment for a check that does not exist or cannot be ignored", "it ignores nothing", "an id of --list", `# regate-ignore: id/prefx old`},
		{idIgnoreUnused, Info, false, "a regate-ignore comment that ignores nothing", "it would hide the next finding", "remove it", `# regate-ignore: id/prefix old`},
	}
}
