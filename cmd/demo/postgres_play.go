package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func (p *postgresShow) steps() []step {
	return []step{
		{"The agent reads customers. It logs in with its token, and sees what policy lets it see", p.read},
		{"The agent tries to drop a table", p.drop},
		{"The agent changes production. Somebody else has to approve", p.change},
		{"The same change again is a new request", p.again},
		{"The agent's token is revoked while it is connected", p.revoke},
		{"What happened can be seen again, and proved", p.replay},
	}
}

func (p *postgresShow) read(ctx context.Context) error {
	var err error
	if p.token, err = p.stage.token(ctx, agent); err != nil {
		return err
	}
	p.out.act("agent", p.connecting())
	if p.client, err = p.connect(ctx, p.token); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	const sql = `SELECT id, name, email, card, plan FROM customers ORDER BY id`
	p.out.act("agent", sql)
	rows, err := p.client.Query(ctx, sql)
	if err != nil {
		return fmt.Errorf("select: %w", err)
	}
	var got []customer
	for rows.Next() {
		var c customer
		if err := rows.Scan(&c.id, &c.name, &c.email, &c.card, &c.plan); err != nil {
			return fmt.Errorf("read a row: %w", err)
		}
		got = append(got, c)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("select: %w", err)
	}
	if len(got) != len(customers) {
		return fmt.Errorf("%d customers, want %d", len(got), len(customers))
	}
	for i, want := range customers {
		c := got[i]
		if c.name != want.name || c.plan != want.plan || c.email != want.maskedEmail || c.card != want.maskedCard {
			return fmt.Errorf("customer %d: got %q, %q, %q, %q", want.id, c.name, c.email, c.card, c.plan)
		}
	}
	var email, card string
	if err := p.direct(ctx, `SELECT email, card FROM customers WHERE id = 1`, &email, &card); err != nil {
		return err
	}
	if email != customers[0].email || card != customers[0].card {
		return fmt.Errorf("the database itself holds %q and %q", email, card)
	}
	p.out.check("e-mail addresses and cards are masked; the database holds %s and %s", email, card)
	return nil
}

// connecting tells how the agent connects.
func (p *postgresShow) connecting() string {
	return fmt.Sprintf("connect %s, with the output of `regate token` as the password", p.dsn())
}

// direct asks the database itself, past the gateway.
func (p *postgresShow) direct(ctx context.Context, sql string, to ...any) error {
	conn, err := pgx.Connect(ctx, p.cluster.DSN("shop", "postgres"))
	if err != nil {
		return fmt.Errorf("connect to the database itself: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := conn.QueryRow(ctx, sql).Scan(to...); err != nil {
		return fmt.Errorf("ask the database itself: %w", err)
	}
	return nil
}

func (p *postgresShow) drop(ctx context.Context) error {
	const sql = `DROP TABLE orders`
	p.out.act("agent", sql)
	_, err := p.client.Exec(ctx, sql)
	var refused *pgconn.PgError
	switch {
	case err == nil:
		return errors.New("the DROP was not refused")
	case !errors.As(err, &refused):
		return fmt.Errorf("drop: %w", err)
	case refused.Code != "42501" || !strings.Contains(refused.Detail, "acme.shop/drop"):
		return fmt.Errorf("refused for another reason: %w (%s)", err, refused.Detail)
	}
	var n int
	if err := p.direct(ctx, `SELECT count(*) FROM orders`, &n); err != nil {
		return err
	}
	if err := p.client.QueryRow(ctx, `SELECT 1`).Scan(new(int)); err != nil {
		return fmt.Errorf("the connection is not usable after a refusal: %w", err)
	}
	p.out.check("refused with the reason; the table and its %d rows are there, the connection is still usable", n)
	return nil
}

// credit is the change that the agent asks for: what it did can be counted.
const credit = `UPDATE customers SET credit = credit + 10 WHERE id = 2`

// ask sends the change and returns the id of its approval and, later, how it
// ended.
func (p *postgresShow) ask(ctx context.Context) (string, <-chan error, error) {
	for len(p.client.held) > 0 {
		<-p.client.held
	}
	p.out.act("agent", credit)
	done := make(chan error, 1)
	go func() {
		tag, err := p.client.Exec(ctx, credit)
		if err == nil && tag.RowsAffected() != 1 {
			err = fmt.Errorf("%d rows were changed", tag.RowsAffected())
		}
		done <- err
	}()
	select {
	case id := <-p.client.held:
		return id, done, nil
	case err := <-done:
		if err == nil {
			err = errors.New("it ran without approval")
		}
		return "", nil, fmt.Errorf("the change was not held: %w", err)
	case <-time.After(patience):
		return "", nil, errors.New("the change was not held: no notice came")
	}
}

// credited is the credit of the customer, from the database itself.
func (p *postgresShow) credited(ctx context.Context, want int) error {
	var n int
	if err := p.direct(ctx, `SELECT credit FROM customers WHERE id = 2`, &n); err != nil {
		return err
	}
	if n != want {
		return fmt.Errorf("the customer's credit is %d, want %d", n, want)
	}
	return nil
}

func (p *postgresShow) change(ctx context.Context) error {
	id, done, err := p.ask(ctx)
	if err != nil {
		return err
	}
	p.first = id
	if err := p.credited(ctx, 0); err != nil {
		return err
	}
	p.out.say("It waits. Nothing has reached the database. The agent tries to approve its own request:")
	out, err := p.as(ctx, agent, "approvals", "approve", id)
	if err == nil || !strings.Contains(out, "its own request") {
		return fmt.Errorf("the requester was not kept from approving its own request: %s", out)
	}
	if err := p.credited(ctx, 0); err != nil {
		return err
	}
	p.out.check("the requester cannot approve")
	p.out.say("Carol, a database administrator, looks at it and approves:")
	if _, err := p.as(ctx, approver, "approvals", "show", id); err != nil {
		return err
	}
	if _, err := p.as(ctx, approver, "approvals", "approve", id); err != nil {
		return err
	}
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("the approved change: %w", err)
		}
	case <-time.After(patience):
		return errors.New("the approved change did not run")
	}
	if err := p.credited(ctx, 10); err != nil {
		return err
	}
	p.out.check("approved by another identity, and run exactly once")
	return nil
}

func (p *postgresShow) again(ctx context.Context) error {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	id, done, err := p.ask(waiting)
	if err != nil {
		return err
	}
	if id == p.first {
		return fmt.Errorf("the approval %s was used again", id)
	}
	p.out.say("Held anew: an approval is for one run. The agent gives up waiting.")
	cancel()
	select {
	case err := <-done:
		if err == nil {
			return errors.New("the change ran without a new approval")
		}
	case <-time.After(patience):
		return errors.New("the cancelled change did not end")
	}
	if err := p.credited(ctx, 10); err != nil {
		return err
	}
	p.out.check("not run a second time")
	return nil
}

// reconnect makes the connection anew: the driver closes one whose statement
// was cancelled.
func (p *postgresShow) reconnect(ctx context.Context) error {
	_ = p.client.Close(ctx)
	var err error
	p.client, err = p.connect(ctx, p.token)
	return err
}

func (p *postgresShow) revoke(ctx context.Context) error {
	if p.client.IsClosed() {
		if err := p.reconnect(ctx); err != nil {
			return fmt.Errorf("connect: %w", err)
		}
	}
	if err := p.client.QueryRow(ctx, `SELECT count(*) FROM orders`).Scan(new(int)); err != nil {
		return fmt.Errorf("the connection before: %w", err)
	}
	id, err := tokenID(p.token)
	if err != nil {
		return err
	}
	type end struct {
		err error
		at  time.Time
	}
	cut := make(chan end, 1)
	go func() {
		// The connection is idle: nothing but its end can arrive.
		err := p.client.PgConn().WaitForNotification(ctx)
		cut <- end{err, time.Now()}
	}()
	if _, err := p.as(ctx, operator, "revoke", "token", id, "--reason", "demo"); err != nil {
		return err
	}
	revoked := time.Now()
	select {
	case e := <-cut:
		after := max(e.at.Sub(revoked), 0)
		if e.err == nil || ctx.Err() != nil {
			return errors.Join(errors.New("the connection was not cut"), e.err, ctx.Err())
		}
		if after > time.Second {
			return fmt.Errorf("the connection was cut only after %v", after)
		}
		when := "before the command had returned"
		if after > 0 {
			when = fmt.Sprintf("%d ms after the command returned", after.Milliseconds())
		}
		p.out.check("the live connection was cut %s", when)
	case <-time.After(patience):
		return errors.New("the connection was not cut")
	}
	p.out.act("agent", p.connecting())
	again, err := p.connect(ctx, p.token)
	if err == nil {
		_ = again.Close(ctx)
		return errors.New("the revoked token was accepted again")
	}
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code[:2] != "28" {
		return fmt.Errorf("refused for another reason: %w", err)
	}
	p.out.output(fmt.Sprintf("%s:  %s [%s]\nDETAIL:  %s", refused.Severity, refused.Message, refused.Code, refused.Detail))
	p.out.check("and a new connection with it is refused")
	return nil
}

func (p *postgresShow) replay(ctx context.Context) error {
	id, err := p.archived(ctx, agent, func(s session) bool { return s.Denials > 0 && s.Holds > 0 })
	if err != nil {
		return err
	}
	out, err := p.run(ctx, operator, "sessions", "replay", id)
	if err != nil {
		return err
	}
	for _, want := range []string{"SELECT id, name, email, card, plan", customers[0].maskedEmail, customers[0].maskedCard, "acme.shop/drop", p.first, "UPDATE 1"} {
		if !strings.Contains(out, want) {
			return fmt.Errorf("the replay does not show %q", want)
		}
	}
	for _, c := range customers {
		if strings.Contains(out, c.email) || strings.Contains(out, c.card) {
			return fmt.Errorf("the replay shows what was masked: %s", c.email)
		}
	}
	p.out.check("the recording shows what the agent saw, masked")
	if _, err := p.run(ctx, operator, "verify"); err != nil {
		return err
	}
	p.out.check("nothing in it was changed, removed or added since")
	return nil
}
