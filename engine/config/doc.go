// Package config reads regate's configuration: one YAML file, environment
// variables named REGATE_… and command-line flags, in rising order of
// precedence.
//
// Load returns one typed [Config] and every [Problem] at once, each with its
// file and line, so that nobody repairs a configuration one error at a time.
// A setting that could never take effect is a problem too: somebody wrote it
// because they believe it protects something.
//
// Secrets are references (`env:NAME`, `file:/path`), resolved at load and
// never printed; see [Secret].
//
// This package and cmd are the only ones that know viper or YAML. It may
// import nothing else of regate: cmd translates a Config into the options of
// the other rooms.
package config
