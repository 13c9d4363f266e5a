package request

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regate-dev/regate/engine/input"
)

// many are the parameters that the API takes more than once.
var many = []string{"command", "dryRun", "ports"}

// decodeQuery decodes a raw query. The API server takes the first of several
// values and leaves out what it cannot decode; here both are refused.
func decodeQuery(raw string) (url.Values, *Refusal) {
	for i := range len(raw) {
		if raw[i] <= ' ' || raw[i] >= 0x7f {
			return nil, refuse(ReasonQuery, "", "the query has a character that must be escaped")
		}
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, refuse(ReasonQuery, "Escape semicolons and percent signs.", "the query cannot be read: %v", err)
	}
	for key, list := range values {
		if len(list) > 1 && !slices.Contains(many, key) {
			return nil, refuse(ReasonQuery, "Send it once.", "the parameter %q is there more than once", key)
		}
	}
	return values, nil
}

// checkList refuses options of a list that the API server cannot read. It would
// then list without any of them, name and watch left out.
func checkList(values url.Values) *Refusal {
	if len(values) == 0 {
		return nil
	}
	var list metainternalversion.ListOptions
	if err := scheme.ParameterCodec.DecodeParameters(values, metav1.SchemeGroupVersion, &list); err != nil {
		return refuse(ReasonQuery, "", "the query cannot be read: %v", err)
	}
	return nil
}

// truth reads a boolean parameter as the API server does
// (runtime.Convert_Slice_string_To_bool): everything but "0" and "false" is
// true, also nothing.
func truth(values url.Values, key string) bool {
	list, there := values[key]
	if !there || len(list) == 0 {
		return false
	}
	return list[0] != "0" && !strings.EqualFold(list[0], "false")
}

func number(values url.Values, key string) (*int64, *Refusal) {
	raw := values.Get(key)
	if raw == "" {
		return nil, nil
	}
	n, err := strconv.ParseInt(raw, 10, 64)
	if err != nil {
		return nil, refuse(ReasonQuery, "", "the parameter %q is not a number", key)
	}
	return &n, nil
}

// options reads what of the query decides what the request does.
func options(q url.Values) (o input.KubernetesOptions, refusal *Refusal) {
	o = input.KubernetesOptions{
		DryRun: append([]string{}, q["dryRun"]...), FieldManager: q.Get("fieldManager"), FieldValidation: q.Get("fieldValidation"),
		LabelSelector: q.Get("labelSelector"), FieldSelector: q.Get("fieldSelector"), ResourceVersion: q.Get("resourceVersion"),
		InitialEvents: truth(q, "sendInitialEvents"), Propagation: q.Get("propagationPolicy"),
		IgnoreReadErrors: truth(q, "ignoreStoreReadErrorWithClusterBreakingPotential"),
		Container:        q.Get("container"), Follow: truth(q, "follow"), Previous: truth(q, "previous"), InsecureBackend: truth(q, "insecureSkipTLSVerifyBackend"),
	}
	if o.Propagation == "" && truth(q, "orphanDependents") {
		o.Propagation = "Orphan"
	}
	if o.Limit, refusal = number(q, "limit"); refusal != nil {
		return o, refusal
	}
	o.GracePeriod, refusal = number(q, "gracePeriodSeconds")
	return o, refusal
}
