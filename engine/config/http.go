package config

// HTTP is the proxy for HTTP APIs.
type HTTP struct {
	Listeners []HTTPListener `key:"listeners" doc:"addresses for agents"`
	Targets   []HTTPTarget   `key:"targets" doc:"HTTP APIs behind the gateway, for listeners that are no forward proxy"`
	Forward   HTTPForward    `key:"forward" doc:"the forward proxy (HTTPS_PROXY)"`
}

// HTTPListener is one address.
type HTTPListener struct {
	Address   string    `key:"address" required:"true" is:"listen" doc:"host:port"`
	TLS       ServerTLS `key:"tls" doc:"certificate that agents see; needed beyond loopback"`
	Plaintext bool      `key:"plaintext" doc:"accept connections without TLS; default: only on loopback"`
	Forward   bool      `key:"forward" doc:"this address is the forward proxy"`
	Targets   []string  `key:"targets" doc:"names of the HTTP targets behind this address; default: all"`
}

// HTTPTarget is one HTTP API.
type HTTPTarget struct {
	Name       string            `key:"name" required:"true" is:"name" doc:"name in policies, records and revocations"`
	Labels     map[string]string `key:"labels" doc:"input.target.labels"`
	Upstream   string            `key:"upstream" required:"true" doc:"where requests go: https://api.example.com/v1"`
	Hosts      []string          `key:"hosts" doc:"host names that agents ask for"`
	Prefix     string            `key:"prefix" doc:"path that agents ask below, /u/billing; the upstream does not see it"`
	TLS        HTTPClientTLS     `key:"tls" doc:"TLS towards the upstream"`
	Request    HTTPRequest       `key:"request" doc:"how requests are read"`
	Credential HTTPCredential    `key:"credential" doc:"what the gateway adds to allowed requests"`
	Networks   []string          `key:"networks" doc:"networks that the upstream's address may be in, beside public and private ones"`
}

// HTTPForward is the forward proxy.
type HTTPForward struct {
	Name        string            `key:"name" default:"internet" is:"name" doc:"the target's name in policies, records and revocations"`
	Labels      map[string]string `key:"labels" doc:"input.target.labels"`
	CACert      string            `key:"ca_cert" is:"file" doc:"PEM file that 'regate ca create' wrote: the authority for intercepted TLS; without it CONNECT is refused"`
	CAKey       string            `key:"ca_key" is:"file" doc:"its private key"`
	TLS         HTTPClientTLS     `key:"tls" doc:"TLS towards upstreams"`
	Request     HTTPRequest       `key:"request" doc:"how requests are read"`
	Networks    []string          `key:"networks" doc:"networks that agents may get to beside public ones"`
	Ports       []int             `key:"ports" doc:"ports that agents may get to; default: 80 and 443"`
	Credentials []HTTPForOrigin   `key:"credentials" doc:"what the gateway adds to allowed requests, by where they go"`
}

// HTTPForOrigin is a credential for one origin.
type HTTPForOrigin struct {
	Origin     string         `key:"origin" required:"true" doc:"https://api.example.com"`
	Credential HTTPCredential `key:"credential" doc:"what is added"`
}

// HTTPClientTLS is TLS towards an upstream, whose certificate is always
// checked.
type HTTPClientTLS struct {
	CAFile   string `key:"ca_file" is:"file" doc:"PEM file; default: the system's authorities"`
	CertFile string `key:"cert_file" is:"file" doc:"client certificate"`
	KeyFile  string `key:"key_file" is:"file" doc:"its private key"`
}

// HTTPRequest is how requests are read. The defaults are strict.
type HTTPRequest struct {
	OpenAPI        string   `key:"openapi" is:"file" doc:"OpenAPI 3 document: policies see templates and ids of operations"`
	OpenAPIBase    string   `key:"openapi_base" doc:"path of the API's root; default: that of the document's servers"`
	Methods        []string `key:"methods" doc:"methods let through; default: GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE"`
	Headers        []string `key:"headers" doc:"headers whose values policies see; default: those that change what a request does"`
	Lists          []string `key:"lists" doc:"parameters and form fields that may repeat, * for all; those of the OpenAPI document and names that end in [] may anyhow"`
	GraphQL        []string `key:"graphql" doc:"paths whose requests are GraphQL; default: those that end in /graphql"`
	EncodedSlash   bool     `key:"encoded_slash" doc:"%2F in the path is part of a segment"`
	PathParameters bool     `key:"path_parameters" doc:"; in the path is part of a segment"`
	WebSocket      bool     `key:"websocket" doc:"WebSockets may be opened: each message of the agent is decided as a request of its own"`
	MaxBody        Size     `key:"max_body" default:"1MiB" min:"1024" max:"67108864" doc:"largest body that is read for policies and approvals"`
}

// HTTPCredential is how the gateway shows an upstream who it is.
type HTTPCredential struct {
	Header     string            `key:"header" doc:"name of a header that gets prefix and secret"`
	Prefix     string            `key:"prefix" doc:"before the secret in the header, e.g. \"Bearer \""`
	Query      string            `key:"query" doc:"name of a parameter that gets the secret"`
	User       string            `key:"user" doc:"user of Basic authentication; the secret is its password"`
	Secret     Secret            `key:"secret" doc:"the secret"`
	Path       string            `key:"path" doc:"path prefix that the credential is for; other paths are refused; default: all"`
	CertFile   string            `key:"cert_file" is:"file" doc:"client certificate for this upstream; alone, or beside another way"`
	KeyFile    string            `key:"key_file" is:"file" doc:"its private key"`
	AWSService string            `key:"aws_service" doc:"AWS Signature Version 4: the service, e.g. s3; the secret is the secret access key"`
	AWSRegion  string            `key:"aws_region" doc:"AWS: the region"`
	AWSKeyID   string            `key:"aws_access_key_id" doc:"AWS: the access key's id"`
	AWSSession Secret            `key:"aws_session_token" doc:"AWS: the session token of a temporary key"`
	TokenURL   string            `key:"token_url" doc:"OAuth client credentials: the token endpoint; the secret is the client's"`
	ClientID   string            `key:"client_id" doc:"OAuth client credentials: the client"`
	Scopes     []string          `key:"scopes" doc:"OAuth client credentials: scopes"`
	Parameters map[string]string `key:"parameters" doc:"OAuth client credentials: more of the token request, e.g. audience"`
}

// IsSet reports whether there is a credential.
func (c HTTPCredential) IsSet() bool {
	return c.Header != "" || c.Query != "" || c.User != "" || c.TokenURL != "" || c.AWSService != "" || c.CertFile != "" || c.KeyFile != "" || c.Secret.IsSet()
}
