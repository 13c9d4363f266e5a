package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	dir := flag.String("dir", "", "folder for everything that the demo makes; it is emptied (default build/demo/NAME)")
	regate := flag.String("regate", "bin/regate", "the regate binary")
	flag.Parse()
	name := cmp.Or(flag.Arg(0), "postgres")
	made, ok := shows[name]
	if !ok || flag.NArg() > 1 {
		fmt.Fprintf(os.Stderr, "usage: demo [-dir DIR] [-regate FILE] [%s]\n", strings.Join(slices.Sorted(maps.Keys(shows)), "|"))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	os.Exit(run(ctx, newScreen(os.Stdout), made(), cmp.Or(*dir, filepath.Join("build", "demo", name)), *regate, os.Getenv("KEEP") != "" && os.Getenv("KEEP") != "0"))
}

// run is the whole demo; it returns the exit status.
func run(ctx context.Context, out *screen, show show, dir, regate string, keep bool) (status int) {
	began := time.Now()
	s, err := newStage(dir, regate, out, show)
	if err != nil {
		out.failed(err)
		return 1
	}
	defer func() {
		if err := s.stop(); err != nil {
			out.failed(fmt.Errorf("stop: %w", err))
			status = 1
		}
	}()
	if err = s.start(ctx); err == nil {
		err = s.play(ctx)
	}
	switch {
	case ctx.Err() != nil:
		out.line("stopped")
		return 130
	case err != nil:
		out.failed(err)
		s.showLogs()
		return 1
	}
	out.passed(fmt.Sprintf("Every step did what it says (%.0f seconds).", time.Since(began).Seconds()))
	if keep {
		s.invite()
		err := s.wait(ctx)
		if err != nil && !errors.Is(err, context.Canceled) {
			out.failed(err)
			return 1
		}
		return 0
	}
	out.line("With KEEP=1 it stays running, for you to try.")
	return 0
}
