package request

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/regate-dev/regate/engine/input"
)

// Pod templates sit in many kinds, and in custom resources nobody here has
// heard of. So a body is searched as a whole: whatever looks like a pod spec is
// taken for one, and whatever looks like a reference to a Secret, too. A policy
// that restricts sees more than there may be, never less.

// findings are what was found in a body.
type findings struct {
	namespace string // of references that name none

	images, secrets, configMaps, accounts, hostPaths, capabilities, hosts map[string]bool

	namespaces map[string]bool
	privileged bool
	pods       map[string]input.KubernetesPod
}

func newFindings(namespace string) *findings {
	return &findings{
		namespace: namespace,
		images:    map[string]bool{}, secrets: map[string]bool{}, configMaps: map[string]bool{}, accounts: map[string]bool{},
		hostPaths: map[string]bool{}, capabilities: map[string]bool{}, hosts: map[string]bool{}, namespaces: map[string]bool{},
		pods: map[string]input.KubernetesPod{},
	}
}

// containerLists are the keys of a pod spec that hold containers, and the role
// of those.
var containerLists = map[string]string{"containers": "container", "initContainers": "init", "ephemeralContainers": "ephemeral"}

// specKeys are keys that only a pod spec has.
var specKeys = []string{
	"containers", "initContainers", "ephemeralContainers", "hostNetwork", "hostPID", "hostIPC", "serviceAccountName", "serviceAccount",
	"automountServiceAccountToken", "imagePullSecrets", "nodeName", "runtimeClassName", "shareProcessNamespace",
}

// walk searches v, which is at path in the body.
func (f *findings) walk(path string, v any) {
	switch v := v.(type) {
	case []any:
		for i, e := range v {
			f.walk(path+"["+strconv.Itoa(i)+"]", e)
		}
	case map[string]any:
		f.references(v)
		if slices.ContainsFunc(specKeys, func(k string) bool { _, there := v[k]; return there }) {
			f.pods[path] = f.pod(v)
		}
		for key, e := range v {
			at := key
			if path != "" {
				at = path + "." + key
			}
			f.walk(at, e)
		}
	}
}

// references notes what the fields of one object refer to.
func (f *findings) references(m map[string]any) {
	namespace := text(m["namespace"])
	if namespace == "" {
		namespace = f.namespace
	}
	named := func(set map[string]bool, v any, keys ...string) {
		ref, _ := v.(map[string]any)
		in := namespace
		if own := text(ref["namespace"]); own != "" {
			in = own
		}
		for _, key := range keys {
			if name := text(ref[key]); name != "" {
				set[join(in, name)] = true
			}
		}
	}
	// By name alone, as Ingress, CSI drivers and custom resources do it.
	for key, v := range m {
		switch {
		case key == "image":
			if name := text(v); name != "" {
				f.images[name] = true
			} else if o, ok := v.(map[string]any); ok && text(o["reference"]) != "" {
				f.images[text(o["reference"])] = true // an image volume
			}
		case key == "secretName" || key == "secretRef" || key == "secretKeyRef" || key == "secret" || strings.HasSuffix(key, "SecretRef") || strings.HasSuffix(key, "SecretName"):
			if name := text(v); name != "" {
				f.secrets[join(namespace, name)] = true
			}
			named(f.secrets, v, "name", "secretName")
		case key == "configMapRef" || key == "configMapKeyRef" || key == "configMap" || key == "configMapName":
			if name := text(v); name != "" {
				f.configMaps[join(namespace, name)] = true
			}
			named(f.configMaps, v, "name")
		case key == "imagePullSecrets" || key == "secrets":
			list, _ := v.([]any)
			for _, e := range list {
				named(f.secrets, e, "name")
			}
		case key == "serviceAccountName" || key == "serviceAccount":
			if name := text(v); name != "" {
				f.accounts[join(namespace, name)] = true
			}
		case key == "hostPath":
			if o, ok := v.(map[string]any); ok && text(o["path"]) != "" {
				f.hostPaths[text(o["path"])] = true
			}
		case key == "hostNetwork" && v == true:
			f.hosts["network"] = true
		case key == "hostPID" && v == true:
			f.hosts["pid"] = true
		case key == "hostIPC" && v == true:
			f.hosts["ipc"] = true
		case key == "privileged" && v == true:
			f.privileged = true
		case key == "capabilities":
			o, _ := v.(map[string]any)
			for _, c := range texts(o["add"]) {
				f.capabilities[c] = true
			}
		case key == "metadata":
			if o, ok := v.(map[string]any); ok && text(o["namespace"]) != "" {
				f.namespaces[text(o["namespace"])] = true
			}
		}
	}
}

func (f *findings) pod(m map[string]any) input.KubernetesPod {
	p := input.KubernetesPod{
		ServiceAccount: text(m["serviceAccountName"]), NodeName: text(m["nodeName"]),
		HostNetwork: m["hostNetwork"] == true, HostPID: m["hostPID"] == true, HostIPC: m["hostIPC"] == true,
		Volumes: []string{}, Containers: map[string]input.KubernetesContainer{}, ContainerNames: []string{},
	}
	if p.ServiceAccount == "" {
		p.ServiceAccount = text(m["serviceAccount"]) // the older name of it
	}
	volumes, _ := m["volumes"].([]any)
	kinds := map[string]bool{}
	for _, v := range volumes {
		o, _ := v.(map[string]any)
		for key := range o {
			if key != "name" && !strings.HasPrefix(key, "$") {
				kinds[key] = true
			}
		}
	}
	p.Volumes = sorted(kinds)
	for key, role := range containerLists {
		list, _ := m[key].([]any)
		for i, e := range list {
			o, _ := e.(map[string]any)
			name := text(o["name"])
			if _, twice := p.Containers[name]; name == "" || twice {
				name = key + "[" + strconv.Itoa(i) + "]"
			}
			p.Containers[name] = container(o, role)
		}
	}
	p.ContainerNames = append(p.ContainerNames, slices.Sorted(maps.Keys(p.Containers))...)
	return p
}

func container(m map[string]any, role string) input.KubernetesContainer {
	c := input.KubernetesContainer{
		Role: role, Image: text(m["image"]), Command: append(texts(m["command"]), texts(m["args"])...),
		EnvNames: []string{}, HostPorts: []int64{}, Capabilities: []string{},
	}
	env, _ := m["env"].([]any)
	for _, e := range env {
		if o, _ := e.(map[string]any); text(o["name"]) != "" {
			c.EnvNames = append(c.EnvNames, text(o["name"]))
		}
	}
	slices.Sort(c.EnvNames)
	ports, _ := m["ports"].([]any)
	for _, e := range ports {
		o, _ := e.(map[string]any)
		if n := integer(o["hostPort"]); n != nil && *n != 0 {
			c.HostPorts = append(c.HostPorts, *n)
		}
	}
	security, _ := m["securityContext"].(map[string]any)
	c.Privileged = security["privileged"] == true
	if uid := integer(security["runAsUser"]); uid != nil {
		c.RunAsRoot = *uid == 0
	}
	if caps, ok := security["capabilities"].(map[string]any); ok {
		c.Capabilities = append(c.Capabilities, texts(caps["add"])...)
		slices.Sort(c.Capabilities)
	}
	return c
}

// fromPatch gives each operation of a JSON patch the shape of the object that
// it changes, so that one search finds both: {"path": "/spec/containers/0/image",
// "value": "x"} becomes {"spec": {"containers": [{"image": "x"}]}}.
func fromPatch(operations []any) []any {
	var out []any
	for _, op := range operations {
		o, _ := op.(map[string]any)
		path, value := text(o["path"]), o["value"]
		if value == nil {
			continue
		}
		segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
		if path == "" {
			segments = nil
		}
		for _, s := range slices.Backward(segments) {
			s = strings.NewReplacer("~1", "/", "~0", "~").Replace(s)
			if _, err := strconv.Atoi(s); err == nil || s == "-" {
				value = []any{value}
			} else {
				value = map[string]any{s: value}
			}
		}
		out = append(out, value)
	}
	return out
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func texts(v any) []string {
	out := []string{}
	list, _ := v.([]any)
	for _, e := range list {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func integer(v any) *int64 {
	n, ok := v.(json.Number)
	if !ok {
		return nil
	}
	i, err := n.Int64()
	if err != nil {
		f, err := n.Float64()
		if err != nil {
			return nil
		}
		i = int64(f)
	}
	return &i
}

func join(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}

func sorted(set map[string]bool) []string {
	return append([]string{}, slices.Sorted(maps.Keys(set))...)
}
