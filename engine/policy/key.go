package policy

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/regate-dev/regate/engine/input"
)

// keyPlan says what a cached decision depends on: the parts of the input that
// the packages can read, and the enforcer, which combining reads. Protocol,
// stage, target name and bundles are fixed by the plan that it belongs to.
type keyPlan struct {
	cacheable bool

	action, actor, asserted, parameters, resource, response, detail, subject, target, unknown bool
	complete, digest, sessionID, startedAt, client, labels                                    bool

	// members are the keys of the protocol's own part that can be read, sorted,
	// where it is not read whole: statements that differ in what nobody reads,
	// such as their text, share decisions.
	members []string
}

// newKeyPlan turns a read-set into a key. What changes from one request to the
// next by its nature makes decisions uncacheable: the clock, the request's id
// and the usage counters. Approvals do not: documents that carry any are never
// served from the cache, and in all others they are the same empty list.
func newKeyPlan(r readSet) keyPlan {
	if r.all || r.clock {
		return keyPlan{}
	}
	k := keyPlan{cacheable: true}
	for path := range r.paths {
		first, second, _ := strings.Cut(path, ".")
		switch first {
		case "action":
			k.action = true
		case "actor":
			k.actor = true
		case "asserted":
			k.asserted = true
		case "parameters":
			k.parameters = true
		case "resource":
			k.resource = true
		case "response":
			k.response = true
		case "subject":
			k.subject = true
		case "target":
			k.target = true
		case "unknown":
			k.unknown = true
		case "complete":
			k.complete = true
		case "approvals", "enforcer", "protocol", "schema", "stage":
			// Fixed, or in every key.
		case "request":
			if second != "digest" {
				return keyPlan{}
			}
			k.digest = true
		case "session":
			switch second {
			case "id":
				k.sessionID = true
			case "started_at":
				k.startedAt = true
			case "client":
				k.client = true
			case "labels":
				k.labels = true
			default:
				return keyPlan{}
			}
		default:
			if !isDetail(first) {
				return keyPlan{} // time, or a key that this version does not know
			}
			if second == "" {
				k.detail = true
			} else if !slices.Contains(k.members, second) {
				k.members = append(k.members, second)
			}
		}
	}
	if k.detail {
		k.members = nil
	}
	slices.Sort(k.members)
	return k
}

func isDetail(key string) bool {
	for _, p := range input.Protocols() {
		if p.DetailKey() == key {
			return true
		}
	}
	return false
}

// appendKey appends the document's key. Every piece is of fixed length or
// carries its length, in a fixed order, so different pieces give different
// keys.
func (k *keyPlan) appendKey(b []byte, d *input.Document) []byte {
	b = appendDigest(b, d.Enforcer)
	if k.action {
		b = appendDigest(b, d.Action)
	}
	if k.actor {
		b = appendDigest(b, d.Actor)
	}
	if k.asserted {
		b = appendDigest(b, d.Asserted)
	}
	if k.parameters {
		b = appendDigest(b, d.Parameters)
	}
	if k.resource {
		b = appendDigest(b, d.Resource)
	}
	if k.response {
		b = appendDigest(b, d.Response)
	}
	if k.detail {
		b = appendDigest(b, d.Detail)
	}
	for _, key := range k.members {
		sum := d.Detail.MemberDigest(key)
		b = append(b, sum[:]...)
	}
	if k.subject {
		b = appendDigest(b, d.Subject)
	}
	if k.target {
		b = appendDigest(b, d.Target)
	}
	if k.unknown {
		b = appendDigest(b, d.Unknown)
	}
	if k.complete {
		b = appendBool(b, d.Complete)
	}
	if k.digest {
		b = appendText(b, d.Request.Digest)
	}
	if k.sessionID {
		b = appendText(b, d.Session.ID)
	}
	if k.startedAt {
		b = appendText(b, d.Session.StartedAt)
	}
	if k.client {
		b = appendText(b, d.Session.Client.Address)
		b = appendText(b, d.Session.Client.Application)
		b = appendBool(b, d.Session.Client.TLS)
	}
	if k.labels {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(d.Session.Labels)))
		for _, l := range d.Session.Labels {
			b = appendText(b, l)
		}
	}
	return b
}

func appendDigest(b []byte, p *input.Part) []byte {
	d := p.Digest()
	return append(b, d[:]...)
}

func appendText(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}
