package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/regate-dev/regate/engine/config"
	"github.com/regate-dev/regate/engine/policy"
)

// errRemoteBundle says that what is configured is not on this machine.
var errRemoteBundle = errors.New("a configured bundle is not on this machine")

// policySettings are the configuration's, where there is one: whose allow
// counts, and which bundles are in force. Whatever else is wrong with the
// configuration does not matter here.
func policySettings(file string) (policy.Config, error) {
	if file = configFile(file); file == "" {
		return policy.Config{}, nil
	}
	cfg, _ := config.Load(config.Options{File: file, Env: os.Environ(), SkipSecrets: true})
	out, err := policyConfig(cfg)
	if err != nil {
		return out, fmt.Errorf("%s: policy: %w", file, err)
	}
	return out, nil
}

// loadPolicies loads bundles that a flag names, under the configuration's
// settings. Several paths that each have a manifest are one bundle, as in the
// configuration: the digest is then that of the bundle in force.
func loadPolicies(ctx context.Context, settings policy.Config, paths []string) (*policy.Set, error) {
	o := policy.SetOptions{AllowFrom: settings.AllowFrom, DetectKinds: settings.DetectKinds, SkipTests: true}
	if len(paths) > 1 {
		together := o
		together.Bundles = []policy.Bundle{{Name: "bundle", Paths: paths}}
		if set, err := policy.LoadSet(ctx, together); err == nil {
			return set, nil
		}
	}
	o.Paths = paths
	return policy.LoadSet(ctx, o)
}

// loadConfigured loads the bundles that the configuration names. The error is
// errRemoteBundle where one of them is not on this machine; the Set is nil where
// none is named.
func loadConfigured(ctx context.Context, settings policy.Config) (*policy.Set, error) {
	if len(settings.Bundles) == 0 {
		return nil, nil
	}
	for _, b := range settings.Bundles {
		if !b.IsLocal() && !b.Shadow {
			return nil, fmt.Errorf("%w: %s", errRemoteBundle, b.Name)
		}
	}
	return policy.LoadSet(ctx, policy.SetOptions{
		Bundles: settings.Bundles, AllowFrom: settings.AllowFrom, DetectKinds: settings.DetectKinds, SkipTests: true,
	})
}
