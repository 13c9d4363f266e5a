package request

import (
	"bytes"
	"encoding/json"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
)

// decodeProtobuf decodes an object of a built-in type. Fields that regate's
// version of the type does not know would be left out in silence, so the object
// must encode to the same bytes again.
func decodeProtobuf(raw []byte) (value any, refusal *Refusal) {
	const hint = "Send JSON."
	var envelope runtime.Unknown
	if !bytes.HasPrefix(raw, []byte("k8s\x00")) || envelope.Unmarshal(raw[4:]) != nil {
		return nil, refuse(ReasonBody, hint, "the body is not an object in Kubernetes' protobuf form")
	}
	if envelope.ContentEncoding != "" || envelope.ContentType != "" {
		return nil, refuse(ReasonBody, hint, "the body is encoded twice")
	}
	codec := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)
	obj, kind, err := codec.Decode(raw, nil, nil)
	if err != nil {
		return nil, refuse(ReasonBody, hint, "the body is not an object that regate knows: %v", err)
	}
	obj.GetObjectKind().SetGroupVersionKind(*kind)
	var again bytes.Buffer
	if err := codec.Encode(obj, &again); err != nil || !bytes.Equal(again.Bytes(), raw) {
		return nil, refuse(ReasonBody, hint, "the body has fields that regate does not know")
	}
	text, err := json.Marshal(obj)
	if err != nil {
		return nil, refuse(ReasonBody, hint, "the body is not an object that regate knows: %v", err)
	}
	return decodeJSON(text)
}
