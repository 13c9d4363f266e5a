package postgres

import (
	"strconv"
	"strings"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/proxies/postgres/analyze"
	"github.com/regate-dev/regate/proxies/postgres/wire"
)

// Reason ids of this proxy. They are API.
const (
	ReasonMessageTooLarge  = "postgres/message-too-large"
	ReasonBatchTooLarge    = "postgres/batch-too-large"
	ReasonProtocol         = "postgres/protocol-violation"
	ReasonTargetLost       = "postgres/target-lost"
	ReasonUnknownStatement = "postgres/unknown-statement"
	ReasonUnknownPortal    = "postgres/unknown-portal"
	ReasonRebind           = "postgres/rebind"
	ReasonSetting          = "postgres/guarded-setting"
	ReasonCatalogWrite     = "postgres/catalog-write"
	ReasonUnmaskable       = "postgres/unmaskable-result"
	ReasonRowLimit         = "limit/rows"
	ReasonByteLimit        = "limit/bytes"
	ReasonTimeLimit        = "limit/seconds"
	ReasonSessionChanged   = "postgres/session-changed"
	ReasonNoTarget         = "postgres/unknown-target"
	ReasonNoRole           = "postgres/no-role"
	ReasonTooMany          = "postgres/too-many-connections"
	ReasonNoCatalog        = "postgres/catalog-unavailable"
)

// sqlstates are the SQLSTATEs of reasons that are not a plain 42501
// (insufficient_privilege).
var sqlstates = map[string]string{
	string(analyze.ReasonParse):       "42601",
	string(analyze.ReasonTooLong):     "54000",
	string(analyze.ReasonTooDeep):     "54001",
	string(analyze.ReasonNUL):         "08P01",
	string(analyze.ReasonInvalidUTF8): "22021",
	ReasonMessageTooLarge:             "54000",
	ReasonBatchTooLarge:               "54000",
	ReasonProtocol:                    "08P01",
	ReasonTargetLost:                  "08006",
	ReasonUnknownStatement:            "26000",
	ReasonUnknownPortal:               "34000",
	ReasonRebind:                      "24000",
	ReasonRowLimit:                    "54000",
	ReasonByteLimit:                   "54000",
	ReasonTimeLimit:                   "57014",
	ReasonNoTarget:                    "3D000",
	ReasonTooMany:                     "53300",
	ReasonNoCatalog:                   "58000",
	engine.ReasonCancelled:            "57014",
	engine.ReasonRecordDown:           "58030",
	engine.ReasonRecordTooLarge:       "54000",
	engine.ReasonInternal:             "XX000",
	engine.ReasonDraining:             "57P01",
}

func sqlstate(reason string) string {
	if code, ok := sqlstates[reason]; ok {
		return code
	}
	if strings.HasPrefix(reason, "identity/") {
		return "28000"
	}
	return "42501"
}

// denialReport renders a denial in PostgreSQL's form: ids in DETAIL, what to
// do in HINT.
func denialReport(d *engine.Denial, ends bool) wire.Report {
	severity := "ERROR"
	if ends || d.Fatal {
		severity = "FATAL"
	}
	detail := "reason: " + strings.Join(d.Reasons, ", ")
	if len(d.Reasons) == 0 {
		detail = "reason: " + engine.ReasonInternal
	}
	if d.ApprovalID != "" {
		detail += "; approval: " + d.ApprovalID
	}
	if d.DecisionID != "" {
		detail += "; decision: " + d.DecisionID
	}
	return wire.Report{Severity: severity, Code: sqlstate(d.Reason()), Message: d.Message, Detail: detail, Hint: d.Hint}
}

// counted is a number of things, in words.
func counted(n int64, what string) string {
	if n != 1 {
		what += "s"
	}
	return strconv.FormatInt(n, 10) + " " + what
}

func seconds(n float64) string {
	if n == 1 {
		return "1 second"
	}
	return strconv.FormatFloat(n, 'g', -1, 64) + " seconds"
}
