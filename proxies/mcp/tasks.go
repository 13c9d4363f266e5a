package mcp

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/proxies/mcp/message"
)

// taskTime is how long it is known whose a task is.
const taskTime = 7 * 24 * time.Hour

// TaskBucket is how the bucket for tasks is made.
func TaskBucket() jetstream.KeyValueConfig {
	return jetstream.KeyValueConfig{Bucket: "mcp_tasks", Description: "whose the tasks of MCP servers are", History: 1, TTL: taskTime, MaxValueSize: 256 << 10}
}

// taskRecord is what is known of a task: whose it is, and how its result is
// masked, which somebody else may fetch, later, and elsewhere.
type taskRecord struct {
	Owner owner         `json:"owner"`
	Tool  string        `json:"tool,omitempty"`
	Masks []policy.Mask `json:"masks,omitempty"`
}

// tasks are those of one server.
type tasks struct {
	kv     jetstream.KeyValue
	server string
}

func (t *tasks) key(id string) string {
	sum := sha256.Sum256([]byte(t.server + "\x00" + id))
	return base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])
}

// note keeps whose a task is that a server has begun.
func (t *tasks) note(ctx context.Context, id string, r taskRecord) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := t.kv.Create(ctx, t.key(id), raw); !errors.Is(err, jetstream.ErrKeyExists) {
		return err
	}
	// The server tells of a task again: it stays whose it is.
	_, err = t.of(ctx, id, r.Owner)
	return err
}

// of returns what is known of a task that is o's. The error is a
// *message.Refusal or a *engine.Denial.
func (t *tasks) of(ctx context.Context, id string, o owner) (*taskRecord, error) {
	entry, err := t.kv.Get(ctx, t.key(id))
	foreign := message.Refuse(message.ReasonTask, "there is no such task")
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, foreign
	}
	if err != nil {
		return nil, &engine.Denial{Reasons: []string{engine.ReasonHoldFailed}, Message: "it cannot be found out whose the task is at present", Hint: "Try again in a few seconds."}
	}
	r := &taskRecord{}
	if err := json.Unmarshal(entry.Value(), r); err != nil || r.Owner != o {
		return nil, foreign
	}
	return r, nil
}

// taskOf is the id of the task that a result tells of: of the task itself, as
// up to 2025-11-25, or of the result, as after it.
func taskOf(result map[string][]byte) string {
	var id string
	if raw := result["task"]; raw != nil {
		if inner, err := message.Members(raw); err == nil && json.Unmarshal(inner["taskId"], &id) == nil {
			return id
		}
	}
	if raw := result["taskId"]; raw != nil && string(result["resultType"]) == `"task"` && json.Unmarshal(raw, &id) == nil {
		return id
	}
	return ""
}
