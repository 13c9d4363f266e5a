package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	dir := flag.String("dir", "build/demo", "folder for everything that the demo makes; it is emptied")
	regate := flag.String("regate", "bin/regate", "the regate binary")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	os.Exit(run(ctx, newScreen(os.Stdout), *dir, *regate, os.Getenv("KEEP") != "" && os.Getenv("KEEP") != "0"))
}

// run is the whole demo; it returns the exit status.
func run(ctx context.Context, out *screen, dir, regate string, keep bool) (status int) {
	began := time.Now()
	s, err := newStage(dir, regate, out)
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
		err = play(ctx, s)
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
	out.line("KEEP=1 make demo leaves it running, for you to try.")
	return 0
}
