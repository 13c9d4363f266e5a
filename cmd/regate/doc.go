// Command regate is a policy gateway for AI agents: agents connect through it
// with a token, every request is decided by Rego policies, masked, held for
// approval where a policy asks for it, and recorded.
//
// There is one file for each subcommand. They own flags, configuration and the
// log; what they start lives in the engine and the proxies.
package main
