package prove

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regate-dev/regate/engine/policy"
)

const repo = "../../.."

func TestTry(t *testing.T) {
	set, err := policy.LoadSet(t.Context(), policy.SetOptions{Paths: []string{repo + "/policies", repo + "/bundles/demo"}})
	if err != nil {
		t.Fatal(err)
	}
	rep, err := Test(t.Context(), set, TestOptions{Coverage: true})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(rep.Counts())
	fmt.Println(rep.Coverage.Coverage)
	c, err := Capture(t.Context(), set, TestOptions{})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(len(c.Cases), c.Mocked)
	per := map[string]int{}
	for _, k := range c.Cases {
		per[strings.Split(k.From, ":")[0]]++
	}
	fmt.Println(per)
	ctx, cancel := context.WithTimeout(t.Context(), 160*time.Second)
	defer cancel()
	m, err := Mutate(ctx, set, slices.Values(c.Cases), MutationOptions{})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(m.Inputs, m.Mutations, m.Fields, len(m.Findings))
	for _, f := range m.Findings {
		fmt.Printf("%s:%d %s %s %v: %s -> %s  guard %v (%s, %d)\n", f.Rule.File, f.Rule.Line, f.Rule.ID, f.Field, f.Mutations, f.Before, f.After, f.Guard, f.From, f.Count)
	}
	d, err := Differential(t.Context(), set, slices.Values(c.Cases))
	fmt.Println(d.Inputs, len(d.Disagreements), err)
}
