package input

import "strings"

// KubernetesAction is `input.action` for a Kubernetes API request: flat scalars
// at fixed paths, so that rules on them are indexed.
type KubernetesAction struct {
	// Verb is the API server's own: "get", "list", "watch", "create", "update",
	// "patch", "delete", "deletecollection"; for a path that is no resource the
	// HTTP method in lower case; "connect" at stage session; "unknown" where the
	// request could not be read.
	Verb string `json:"verb"`
	// Writes: the request changes something, or may: any verb but get, list and
	// watch, and whatever reaches into a container, a node or a service (exec,
	// attach, portforward, proxy). A dry run counts as a write: its answer holds
	// objects, too.
	Writes bool `json:"writes"`
	// DryRun: the API server will store nothing, and says so for this request.
	// Never true where the query asks for it and the body decides.
	DryRun bool `json:"dry_run"`
	// Stream is how the answer comes, where it is no single document: "watch",
	// "log", "exec", "attach", "portforward" or "proxy", else "".
	Stream string `json:"stream"`
	// Upgrade is the protocol that the connection would change to: "", "websocket"
	// or "spdy".
	Upgrade string `json:"upgrade"`
	// Named: one object is asked for by name, in the path.
	Named bool `json:"named"`
	// Force: an apply takes fields from other managers, or a delete does not wait
	// for the pod to end.
	Force bool `json:"force"`
	// Opaque: what will happen is not in the request (a shell on stdin, attach,
	// portforward, proxy).
	Opaque bool `json:"opaque"`
}

// KubernetesResource is `input.resource` for a Kubernetes API request. Group to
// name are as the API server resolves them from the path.
type KubernetesResource struct {
	Kind        string   `json:"kind"`        // what Names are: "object", "collection", "path"; "cluster" at stage session; "unknown"
	Names       []string `json:"names"`       // "namespace/name" or "name" of the objects, from path, field selector and body, sorted; the path where it is no resource
	Type        string   `json:"type"`        // resource, group and subresource in one: "pods", "pods/exec", "deployments.apps", "deployments.apps/scale"; "" for a path that is no resource
	Group       string   `json:"group"`       // "" for the core group
	Version     string   `json:"version"`     // "v1"
	Resource    string   `json:"resource"`    // plural, lower case: "pods"
	Subresource string   `json:"subresource"` // "exec", "status", …; "" where there is none
	Namespace   string   `json:"namespace"`   // "" for all namespaces or for what is in none
	Name        string   `json:"name"`        // "" where the path names no object
	Path        string   `json:"path"`        // decoded

	// What follows is found anywhere in the body: in an object, a patch, a custom
	// resource that holds pod templates. Names of Secrets, ConfigMaps and service
	// accounts are "namespace/name".
	ObjectKind          string                   `json:"object_kind"`           // the body's own kind: "Deployment"; "" where there is none
	Namespaces          []string                 `json:"namespaces"`            // of path and body, sorted
	Images              []string                 `json:"images"`                // sorted
	SecretNames         []string                 `json:"secret_names"`          // Secrets that the body refers to, sorted
	ConfigMapNames      []string                 `json:"config_map_names"`      // sorted
	ServiceAccountNames []string                 `json:"service_account_names"` // sorted
	HostPaths           []string                 `json:"host_paths"`            // folders of the node that pods see, sorted
	Capabilities        []string                 `json:"capabilities"`          // added to containers, sorted
	Privileged          bool                     `json:"privileged"`            // some container is
	HostNamespaces      []string                 `json:"host_namespaces"`       // of "network", "pid", "ipc", sorted
	PodPaths            []string                 `json:"pod_paths"`             // keys of Pods, sorted
	Pods                map[string]KubernetesPod `json:"pods"`                  // pod specs in the body, by their place in it: "spec", "spec.template.spec"
}

// KubernetesPod is a pod spec, or what a patch says of one.
type KubernetesPod struct {
	ServiceAccount string                         `json:"service_account"` // "" where the body names none
	NodeName       string                         `json:"node_name"`
	HostNetwork    bool                           `json:"host_network"`
	HostPID        bool                           `json:"host_pid"`
	HostIPC        bool                           `json:"host_ipc"`
	Volumes        []string                       `json:"volumes"` // kinds of its volumes: "secret", "hostPath", …, sorted
	Containers     map[string]KubernetesContainer `json:"containers"`
	ContainerNames []string                       `json:"container_names"` // keys of Containers, sorted
}

// KubernetesContainer is one container of a pod, whatever kind it is.
type KubernetesContainer struct {
	Role         string   `json:"role"` // "container", "init" or "ephemeral"
	Image        string   `json:"image"`
	Command      []string `json:"command"` // command and args
	Privileged   bool     `json:"privileged"`
	Capabilities []string `json:"capabilities"` // added, sorted
	RunAsRoot    bool     `json:"run_as_root"`  // runAsUser is 0
	EnvNames     []string `json:"env_names"`    // sorted
	HostPorts    []int64  `json:"host_ports"`
}

// KubernetesRequest is `input.kubernetes`.
type KubernetesRequest struct {
	Text    string              `json:"text"` // one line for people: "delete pods default/p1"
	Method  string              `json:"method"`
	Path    string              `json:"path"`    // decoded, as it is sent on
	Query   map[string][]string `json:"query"`   // decoded, as it is sent on
	Subpath string              `json:"subpath"` // what follows the subresource, e.g. behind proxy
	Accept  []string            `json:"accept"`  // media types that the agent asks for, in its order
	Options KubernetesOptions   `json:"options"`
	Body    KubernetesBody      `json:"body"`
	// Object is the object in the body, as JSON; null where there is none. Values
	// of a Secret are replaced by a fingerprint.
	Object any `json:"object"`
	// Patch is the patch in the body, as JSON: an object, or a list of operations;
	// null where there is none. Values for a Secret are replaced by a fingerprint.
	Patch any `json:"patch"`
	// Outcome is the object as a patch will leave it, by the API server's own dry
	// run of it; the patch is sent on so that it fails where the object has changed
	// since. Null for everything but a patch. It is looked for where a policy reads
	// it, and what cannot be resolved is refused where policies would allow it.
	// Values are replaced by a fingerprint in Secrets, in ConfigMaps and in env.
	Outcome any `json:"outcome"`
	// Current is what is there before the request, where regate has looked: for a
	// patch with an outcome, and for a request that is held, whose approval holds for
	// that object alone. Else null.
	Current *KubernetesCurrent `json:"current"`
	Exec    *KubernetesExec    `json:"exec"`  // null but for exec and attach
	Proxy   *KubernetesProxy   `json:"proxy"` // null but for the proxy subresource
	Ports   []int64            `json:"ports"` // of portforward; empty where they are named later
}

// KubernetesCurrent is the object that a request is about, as it is.
type KubernetesCurrent struct {
	UID             string `json:"uid"`
	ResourceVersion string `json:"resource_version"` // "" where it does not matter: to exec, a pod is the same when its status has changed
	Spec            string `json:"spec"`             // its fingerprint; "" where the resource version says it
}

// KubernetesBody describes a request's body.
type KubernetesBody struct {
	ContentType string `json:"content_type"` // as sent, without parameters; "" where there is none
	Format      string `json:"format"`       // how it was read
	Patch       string `json:"patch"`        // the kind of patch
	Bytes       int64  `json:"bytes"`
	Digest      string `json:"digest"` // keyed: equal for equal bodies, and says nothing else; "" where there is none
}

// KubernetesOptions are those that decide what the request does. They come from
// the query, for delete from the body where it has one.
type KubernetesOptions struct {
	DryRun           []string `json:"dry_run"`
	FieldManager     string   `json:"field_manager"`
	FieldValidation  string   `json:"field_validation"`
	LabelSelector    string   `json:"label_selector"`
	FieldSelector    string   `json:"field_selector"`
	Limit            *int64   `json:"limit"`            // null where none is asked for
	ResourceVersion  string   `json:"resource_version"` // of a read
	InitialEvents    bool     `json:"initial_events"`   // a watch that begins with a list
	GracePeriod      *int64   `json:"grace_period"`     // seconds; of a delete
	Propagation      string   `json:"propagation"`      // of a delete: "Orphan", "Background", "Foreground"; "" the server's own
	PreconditionUID  string   `json:"precondition_uid"` // of a delete
	PreconditionRV   string   `json:"precondition_resource_version"`
	IgnoreReadErrors bool     `json:"ignore_read_errors"` // a delete of what cannot be read
	Container        string   `json:"container"`          // of log, exec and attach
	Follow           bool     `json:"follow"`             // of log
	Previous         bool     `json:"previous"`           // of log
	InsecureBackend  bool     `json:"insecure_backend"`   // of log
}

// KubernetesExec is what exec runs, or attach attaches to.
type KubernetesExec struct {
	Command   []string `json:"command"`
	Container string   `json:"container"` // "" for the pod's first
	Stdin     bool     `json:"stdin"`
	Stdout    bool     `json:"stdout"`
	Stderr    bool     `json:"stderr"`
	TTY       bool     `json:"tty"`
}

// KubernetesProxy is where the proxy subresource leads.
type KubernetesProxy struct {
	Scheme string `json:"scheme"` // "", "http" or "https"
	Name   string `json:"name"`   // of the node, pod or service
	Port   string `json:"port"`   // number or name, "" for the default
	Path   string `json:"path"`
}

// KubernetesField reports whether a mask's field has the form of one: the type
// of a resource, a colon and a path with slashes in its objects
// ("secrets:/data", "deployments.apps:/spec/template"), or the path alone, for
// every type. A path masks all that is below it.
func KubernetesField(field string) bool {
	kind, path, ok := strings.Cut(field, ":/")
	if !ok {
		return strings.HasPrefix(field, "/") && len(field) > 1 && !strings.HasSuffix(field, "/") && !strings.Contains(field, "//")
	}
	return kind != "" && !strings.HasPrefix(path, "/") && kind == strings.ToLower(kind) && !strings.ContainsAny(kind, " :") && !strings.HasPrefix(kind, "/") && !strings.HasSuffix(path, "/") && !strings.Contains(path, "//")
}
