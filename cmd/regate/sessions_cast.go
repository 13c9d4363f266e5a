package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine/record"
	"github.com/regate-dev/regate/proxies/kubernetes/replay"
)

func newSessionsCastCmd() *cobra.Command {
	var where archiveFlags
	var turn uint64
	var output string
	cmd := &cobra.Command{
		Use:   "cast SESSION",
		Short: "Write a recorded exec or attach as asciicast v2, for asciinema",
		Long: `Write what an exec or attach showed and what was typed, each in its time, as an
asciicast v2 file: 'asciinema play' shows it, and the players for web pages do.
Output is as the agent saw it, masked. --turn says which request of the session is
meant, by the number that 'regate sessions replay' shows, where there are several.`,
		Example: `  regate sessions cast 01JQ3Z5V8W7T6S5R4Q3P2N1M0K -o shell.cast
  regate sessions cast 01JQ3Z5V8W7T6S5R4Q3P2N1M0K --turn 7 | asciinema play -`,
		Args: wantOneSession,
		RunE: func(cmd *cobra.Command, args []string) error {
			session, err := openSession(cmd.Context(), &where, args[0])
			if err != nil {
				return err
			}
			defer session.close()
			found := &castable{transcript: record.NewTranscript(session.session.String()), by: map[uint64]*castTurn{}}
			if _, err := session.read(cmd.Context(), found.look); err != nil {
				return err
			}
			if turn, err = found.choose(turn); err != nil {
				return err
			}
			var out io.Writer = cmd.OutOrStdout()
			if output != "" && output != "-" {
				f, err := os.OpenFile(output, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
				if err != nil {
					return err
				}
				defer f.Close()
				out = f
			}
			cast, err := replay.NewCast(out, found.by[turn].Header)
			if err != nil {
				return err
			}
			var last time.Time
			problems, err := session.read(cmd.Context(), func(e record.Event) error {
				if e.Kind != record.KindChunk {
					return nil
				}
				c, err := record.DecodeChunk(e.Body)
				if err != nil || c.Turn != turn {
					return err
				}
				last = e.At()
				return cast.Add(last, c.Format, c.Data)
			})
			if err != nil {
				return err
			}
			if err := cast.Close(last); err != nil {
				return err
			}
			for _, p := range problems {
				fmt.Fprintf(cmd.ErrOrStderr(), "regate: %s\n", plainText(fmt.Sprint(p)))
			}
			if len(problems) > 0 {
				return errReported
			}
			return nil
		},
	}
	where.add(cmd)
	cmd.Flags().Uint64Var(&turn, "turn", 0, "the request's number in the session")
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write; standard output without")
	return cmd
}

// castable finds the requests of a session that can be written as a cast.
type castable struct {
	transcript *record.Transcript
	by         map[uint64]*castTurn
}

type castTurn struct {
	replay.Header
	text  string
	shown bool // something was recorded of its streams
}

func (c *castable) look(e record.Event) error {
	view := c.transcript.Add(e)
	if view == nil {
		return nil
	}
	switch e.Kind {
	case record.KindRequest:
		r, err := record.DecodeRequest(e.Body)
		if err != nil || r.Stage != "request" {
			return err
		}
		doc, err := c.transcript.Document(r)
		if err != nil {
			return nil // the reader reports it
		}
		var w struct {
			Kubernetes struct {
				Exec *struct {
					Command []string
					TTY     bool
				}
			}
		}
		if json.Unmarshal(doc, &w) == nil && w.Kubernetes.Exec != nil {
			c.by[r.Turn] = &castTurn{text: view.Text, Header: replay.Header{
				Began: view.Time, Title: view.Text, Command: w.Kubernetes.Exec.Command, Terminal: w.Kubernetes.Exec.TTY,
			}}
		}
	case record.KindChunk:
		chunk, err := record.DecodeChunk(e.Body)
		if err != nil {
			return err
		}
		t := c.by[chunk.Turn]
		if t == nil || !slices.Contains(replay.Formats, chunk.Format) {
			return nil
		}
		t.shown = true
		if t.Width == 0 && chunk.Format == replay.Resize {
			t.Width, t.Height, _ = replay.Size(chunk.Data)
		}
	}
	return nil
}

func (c *castable) choose(turn uint64) (uint64, error) {
	var all []uint64
	for n, t := range c.by {
		if t.shown {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	switch {
	case turn != 0 && slices.Contains(all, turn):
		return turn, nil
	case turn != 0:
		return 0, fmt.Errorf("request %d of the session is no exec or attach that was carried", turn)
	case len(all) == 1:
		return all[0], nil
	case len(all) == 0:
		return 0, errors.New("the session has no exec or attach that was carried")
	}
	var b strings.Builder
	for _, n := range all {
		fmt.Fprintf(&b, "\n  --turn %d  %s", n, plainText(c.by[n].text))
	}
	return 0, &usageError{errors.New("the session has several: choose one" + b.String())}
}
