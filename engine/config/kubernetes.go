package config

// Kubernetes is the front for the Kubernetes API.
type Kubernetes struct {
	Listeners   []KubernetesListener `key:"listeners" doc:"addresses that speak the Kubernetes API"`
	MaxSessions int                  `key:"max_sessions" default:"10000" min:"1" doc:"open sessions: one for each token, address and cluster"`
}

// KubernetesListener is one address for agents.
type KubernetesListener struct {
	Address   string    `key:"address" required:"true" is:"listen" doc:"host:port"`
	TLS       ServerTLS `key:"tls" doc:"certificate that agents see; needed beyond loopback, and for clients such as kubectl, which send no token without TLS"`
	Targets   []string  `key:"targets" doc:"names of the targets behind this address; default: every kubernetes target"`
	Plaintext bool      `key:"plaintext" doc:"accept connections without TLS; default: only on loopback"`
}

// Cluster is an API server and how the gateway logs in to it: by a kubeconfig,
// by the service account of the pod it runs in, or by the settings here.
type Cluster struct {
	Kubeconfig  string        `key:"kubeconfig" is:"file" doc:"kubeconfig file with the gateway's own credential; its exec plugin is run"`
	Context     string        `key:"context" doc:"context of the kubeconfig; default: its current one"`
	InCluster   bool          `key:"in_cluster" doc:"the cluster that the gateway runs in, by its service account"`
	Server      string        `key:"server" is:"url:https,http" doc:"URL of the API server"`
	CAFile      string        `key:"ca_file" is:"file" doc:"PEM file; default: the system's authorities"`
	ServerName  string        `key:"server_name" doc:"name in the server's certificate; default: the host of server"`
	TokenFile   string        `key:"token_file" is:"file" doc:"file with the gateway's bearer token, read again when it changes"`
	CertFile    string        `key:"cert_file" is:"file" doc:"client certificate"`
	KeyFile     string        `key:"key_file" is:"file" doc:"its private key"`
	Hosts       []string      `key:"hosts" doc:"host names by which agents reach this cluster; it is always at /clusters/<name>, too"`
	Impersonate Impersonation `key:"impersonate" doc:"make the API server decide by the agent's own rights, too"`
}

// Impersonation says as whom requests are made.
type Impersonation struct {
	Enabled     bool     `key:"enabled" doc:"impersonate the agent; the gateway's credential must be allowed to"`
	UserPrefix  string   `key:"user_prefix" default:"regate:" doc:"in front of the subject's id"`
	GroupPrefix string   `key:"group_prefix" default:"regate:" doc:"in front of each of its groups"`
	Groups      []string `key:"groups" doc:"groups that every agent has"`
}
