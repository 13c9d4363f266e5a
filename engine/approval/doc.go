// Package approval keeps requests that wait for a person's decision.
//
// A held request is a Ticket, bound to the digest of all that it consists of:
// subject, actor, target, the canonical request with its parameters, and the
// masks and limits that the approver is shown. Its life:
//
//	           Approve, until every requirement is met
//	pending ──────────────────────────────▶ approved ──Consume──▶ consumed
//	   │  │                                   │   │
//	   │  └──Deny──▶ denied ◀──Deny───────────┘   │
//	   ├─────Cancel─▶ cancelled ◀──Cancel─────────┤
//	   └─────time───▶ expired ◀────time───────────┘
//
// Holding is idempotent: the same digest sent again while its ticket is
// pending or approved finds that ticket; after that it gets a new one. An
// approval is used once: Consume changes approved to consumed by
// compare-and-set, whatever number of gateways try. It never resumes an old
// decision: the gate evaluates policy again with the approvals filled in and
// consumes the ticket only where the ruling says so.
//
// Tickets live in a NATS key-value bucket, shared by all gateways. Every
// change is a compare-and-set on a key's revision. Reads that decide something
// go to the bucket; a local copy, kept by one watcher, serves lists and wakes
// those who wait.
//
// Of regate's rooms this package imports engine/input alone.
package approval
