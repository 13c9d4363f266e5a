package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"time"
)

// opaServer is stock `opa run -s` with a bundle, asked over loopback.
type opaServer struct {
	cmd    *exec.Cmd
	url    string
	client *http.Client
}

func startOPA(ctx context.Context, o options, dir string) (*opaServer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, o.opa, "run", "--server", "--disable-telemetry", "--log-level", "error", "--addr", address, "--bundle", dir)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s (make build/tools/opa builds it): %w", o.opa, err)
	}
	s := &opaServer{cmd: cmd, url: "http://" + address, client: &http.Client{}}
	for deadline := time.Now().Add(time.Minute); ; {
		res, err := s.client.Get(s.url + "/health?bundles")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return s, nil
			}
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			s.stop()
			return nil, fmt.Errorf("opa does not answer: %w", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (s *opaServer) pid() int { return s.cmd.Process.Pid }

func (s *opaServer) ask(ctx context.Context, doc []byte) error {
	body := make([]byte, 0, len(doc)+12)
	body = append(append(append(body, `{"input":`...), doc...), '}')
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/v1/data/regate/policies/bench/rules", bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || !bytes.Contains(answer, []byte("bench/read")) {
		return fmt.Errorf("opa: status %d, %.200s, %w", res.StatusCode, answer, err)
	}
	return nil
}

func (s *opaServer) stop() {
	_ = s.cmd.Process.Kill() // it is over either way
	_ = s.cmd.Wait()
}
