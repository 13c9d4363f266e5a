package explain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	opametrics "github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/regate-dev/regate/engine/policy"
)

// queryTimeout bounds one query of some conditions.
const queryTimeout = 5 * time.Second

// evaluator asks about parts of rules.
type evaluator struct {
	compiler *ast.Compiler
	store    storage.Store
	txn      storage.Transaction
	input    *ast.Term
	now      time.Time
}

func newEvaluator(ctx context.Context, set *policy.Set, in *ast.Term) (*evaluator, error) {
	txn, err := set.Store().NewTransaction(ctx)
	if err != nil {
		return nil, fmt.Errorf("explain: open the policies' data: %w", err)
	}
	e := &evaluator{compiler: set.Compiler(), store: set.Store(), txn: txn, input: in}
	if t, ok := stringAt(in.Value, "time"); ok {
		e.now, _ = time.Parse(time.RFC3339Nano, t) // else the zero time, as the rulings have it
	}
	return e, nil
}

func (e *evaluator) close(ctx context.Context) { e.store.Abort(context.WithoutCancel(ctx), e.txn) }

// errEnough ends a query that has given what was asked for.
var errEnough = errors.New("enough")

// solutions returns up to limit bindings with which all of body holds. The body
// is of a compiled rule: its order is one that can be evaluated.
func (e *evaluator) solutions(ctx context.Context, body ast.Body, limit int) ([]topdown.QueryResult, error) {
	if len(body) == 0 {
		return []topdown.QueryResult{{}}, nil
	}
	cancel := topdown.NewCancel()
	timer := time.AfterFunc(queryTimeout, cancel.Cancel)
	defer timer.Stop()
	defer context.AfterFunc(ctx, cancel.Cancel)()
	var out []topdown.QueryResult
	err := topdown.NewQuery(body).
		WithCompiler(e.compiler).
		WithStore(e.store).
		WithTransaction(e.txn).
		WithInput(e.input).
		WithCancel(cancel).
		WithMetrics(opametrics.NoOp()).
		WithStrictBuiltinErrors(true).
		WithTime(e.now).
		Iter(ctx, func(r topdown.QueryResult) error {
			out = append(out, r)
			if len(out) >= limit {
				return errEnough
			}
			return nil
		})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return out, err
}
