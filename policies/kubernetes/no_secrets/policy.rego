# METADATA
# title: No way to Secrets
# description: |
#   Denies every way to the value of a Secret, of which the verbs on secrets are one:
#
#   direct      any verb on secrets; also delete, dry runs and patches, whose answers
#               hold it
#   pods        a body that refers to a Secret (env, envFrom, volumes, projected
#               volumes, pull secrets), whatever it is the body of
#   changes     a patch that gives a running pod's template another image or command,
#               which then has what the old one was given
#   reaching in exec, attach, portforward, ephemeral containers and logs of pods,
#               which may hold what they were given; proxy to pods, services, nodes
#   tokens      serviceaccounts/token, pods that run as a service account which the
#               body names (but for `service_accounts`), token reviews
#   certificates signing requests, and their approval
#   the server  admission policies and webhooks, CRD conversion and API services,
#               which are shown every object; roles and bindings, impersonation
#   copies      kinds that make or unpack Secrets (`makers`)
#
#   What could not be read whole is denied, too.
#   Settings: reaching (types), tokens (types), control (types), makers (patterns of
#   types), service_accounts (list of "namespace/name" that a pod may run as), exempt
#   (list of groups).
# scope: package
# schemas:
#   - input: schema.kubernetes
# custom:
#   regate: {protocols: [kubernetes], mode: enforce}
package regate.policies.regate.k8s_no_secrets

import data.regate.lib.principal

reaching := site if {
	site := data.regate.settings.k8s_no_secrets.reaching
} else := data.regate.defaults.k8s_no_secrets.reaching

tokens := site if {
	site := data.regate.settings.k8s_no_secrets.tokens
} else := data.regate.defaults.k8s_no_secrets.tokens

control := site if {
	site := data.regate.settings.k8s_no_secrets.control
} else := data.regate.defaults.k8s_no_secrets.control

makers := site if {
	site := data.regate.settings.k8s_no_secrets.makers
} else := data.regate.defaults.k8s_no_secrets.makers

service_accounts := site if {
	site := data.regate.settings.k8s_no_secrets.service_accounts
} else := data.regate.defaults.k8s_no_secrets.service_accounts

exempt := site if {
	site := data.regate.settings.k8s_no_secrets.exempt
} else := data.regate.defaults.k8s_no_secrets.exempt

settings_known if {
	is_array(reaching)
	is_array(tokens)
	is_array(control)
	is_array(makers)
	is_array(service_accounts)
	is_array(exempt)
	every name in array.flatten([reaching, tokens, control, makers, service_accounts]) {
		is_string(name)
	}
}

applies if {
	settings_known
	input.stage == "request"
	not is_exempt
}

is_exempt if principal.in_any(exempt)

reads if {
	input.action.verb in {"get", "list", "watch"}
	input.action.writes == false
}

deny contains {
	"id": "regate.k8s_no_secrets/direct", "severity": "high",
	"msg": sprintf("%s %s is not allowed", [input.action.verb, input.resource.type]),
	"hint": "Ask the owner of the application for what you need.",
} if {
	applies
	regex.match(`^secrets(/.*)?$`, input.resource.type)
}

deny contains {
	"id": "regate.k8s_no_secrets/refers", "severity": "high",
	"msg": sprintf("the body refers to Secrets: %s", [concat(", ", input.resource.secret_names)]),
	"hint": "Leave env, envFrom, volumes and pull secrets of Secrets out.",
} if {
	applies
	count(input.resource.secret_names) > 0
}

# What a patch does not name stays: the Secrets that the object refers to already
# go to what the patch says is to run.
deny contains {
	"id": "regate.k8s_no_secrets/changes", "severity": "high",
	"msg": sprintf("the patch changes what runs in container %s, which may have Secrets", [name]),
	"hint": "Send the whole object (kubectl replace), so that it shows what it refers to.",
} if {
	applies
	input.action.verb == "patch"
	some pod in input.resource.pods
	some name, container in pod.containers
	runs(container)
}

runs(container) if container.image != ""

runs(container) if count(container.command) > 0

deny contains {
	"id": "regate.k8s_no_secrets/reaches-in", "severity": "high",
	"msg": sprintf("%s reaches into what may hold Secrets", [input.resource.type]),
	"hint": "Ask the owner of the application to look.",
} if {
	applies
	input.resource.type in reaching
}

# What leads further, a proxy or a stream of a type that is not listed, does so
# all the same.
deny contains {
	"id": "regate.k8s_no_secrets/reaches-in", "severity": "high",
	"msg": sprintf("%s reaches into what may hold Secrets", [input.resource.type]),
	"hint": "Ask the owner of the application to look.",
} if {
	applies
	input.action.stream in {"exec", "attach", "portforward", "proxy", "log"}
}

deny contains {
	"id": "regate.k8s_no_secrets/token", "severity": "critical",
	"msg": sprintf("%s %s is a way to credentials", [input.action.verb, input.resource.type]),
} if {
	applies
	input.resource.type in tokens
	not reads
}

deny contains {
	"id": "regate.k8s_no_secrets/service-account", "severity": "high",
	"msg": sprintf("pods may not run as %s", [name]),
	"hint": "Leave serviceAccountName out, or ask for this one to be allowed.",
} if {
	applies
	some name in input.resource.service_account_names
	not name in service_accounts
	not endswith(name, "/default")
}

deny contains {
	"id": "regate.k8s_no_secrets/control", "severity": "critical",
	"msg": sprintf("%s %s is not allowed: through it, all objects can be had", [input.action.verb, input.resource.type]),
} if {
	applies
	input.resource.type in control
	not reads
}

deny contains {
	"id": "regate.k8s_no_secrets/makes", "severity": "high",
	"msg": sprintf("%s %s is not allowed: it makes Secrets, or unpacks them", [input.action.verb, input.resource.type]),
} if {
	applies
	some pattern in makers
	glob.match(pattern, null, input.resource.type)
	not reads
}

deny contains {
	"id": "regate.k8s_no_secrets/incomplete", "severity": "medium",
	"msg": sprintf("it is not known what this refers to: %s", [concat(", ", sort({u.what | some u in input.unknown}))]),
	"hint": "Send it as JSON or YAML that regate can read.",
} if {
	applies
	not input.complete == true
}

# What the rules above read has to be there: without it they would be silent.
input_known if {
	is_string(input.action.verb)
	is_string(input.action.stream)
	is_string(input.resource.type)
	is_array(input.resource.secret_names)
	is_array(input.resource.service_account_names)
	is_object(input.resource.pods)
	every pod in input.resource.pods {
		is_object(pod.containers)
		every container in pod.containers {
			is_string(container.image)
			is_array(container.command)
		}
	}
}

deny contains {"id": "regate.k8s_no_secrets/input", "severity": "high", "msg": "what regate.k8s_no_secrets is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.k8s_no_secrets/settings", "msg": "the settings of regate.k8s_no_secrets are missing or of the wrong type"} if {
	not settings_known
}
