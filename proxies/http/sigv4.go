package httpproxy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// AWS is a key of AWS: requests are signed with it (Signature Version 4). The
// credential's secret is the secret access key.
type AWS struct {
	Service, Region string // "s3", "eu-central-1"
	AccessKeyID     string
	SessionToken    func() (string, error) // nil where the key is not a temporary one
}

// unsigned says that a body is not part of the signature, which S3 alone allows.
const unsigned = "UNSIGNED-PAYLOAD"

// errUnread is why a request cannot be signed.
var errUnread = errors.New("a body that was not read cannot be signed")

// sign signs a request that is complete but for the signature. body is what will
// be sent; whole is false where it was not read. It returns what must not come
// back.
func (a *AWS) sign(ctx context.Context, out *http.Request, secret string, body []byte, whole bool, now time.Time) ([]string, error) {
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	s3 := strings.HasPrefix(a.Service, "s3")
	if !whole {
		if !s3 {
			return nil, errUnread
		}
		hash = unsigned
	}
	key := aws.Credentials{AccessKeyID: a.AccessKeyID, SecretAccessKey: secret}
	// What the agent says of itself to AWS is not part of what the gateway says.
	for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Security-Token", "X-Amz-Content-Sha256"} {
		out.Header.Del(name)
	}
	if a.SessionToken != nil {
		var err error
		if key.SessionToken, err = a.SessionToken(); err != nil {
			return nil, err
		}
	}
	if s3 {
		out.Header.Set("X-Amz-Content-Sha256", hash)
	}
	// S3 signs the path as it is sent, the other services encode it once more.
	err := v4.NewSigner().SignHTTP(ctx, key, out, hash, a.Service, a.Region, now, func(o *v4.SignerOptions) { o.DisableURIPathEscaping = s3 })
	if err != nil {
		return nil, err
	}
	authorization := out.Header.Get("Authorization")
	_, signature, _ := strings.Cut(authorization, "Signature=")
	words := []string{authorization, signature, secret}
	if key.SessionToken != "" {
		words = append(words, key.SessionToken)
	}
	return words, nil
}
