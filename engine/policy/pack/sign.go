package pack

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/util"
)

// Key signs bundles.
type Key struct {
	ID        string // as the gateway's signing.key_id
	Scope     string // "": none
	Algorithm string // one of Algorithms
	private   crypto.Signer
}

// hashes of the algorithms. PS256 and its like are not among them: their
// signatures are random, so a bundle could not be built twice.
var hashes = map[string]crypto.Hash{
	"RS256": crypto.SHA256, "RS384": crypto.SHA384, "RS512": crypto.SHA512,
	"ES256": crypto.SHA256, "ES384": crypto.SHA384, "ES512": crypto.SHA512,
}

var curveBits = map[string]int{"ES256": 256, "ES384": 384, "ES512": 521}

// Algorithms are those that a bundle can be signed with.
func Algorithms() []string { return []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"} }

// ParseKey reads a private key from PEM (PKCS #8, PKCS #1 or SEC 1). With an
// empty algorithm it is the usual one of the key: RS256, or ES256 to ES512 by
// the curve.
func ParseKey(raw []byte, id, algorithm, scope string) (*Key, error) {
	if id == "" {
		return nil, errors.New("a signature names its key: the key's id is missing")
	}
	if algorithm != "" && !slices.Contains(Algorithms(), algorithm) {
		return nil, fmt.Errorf("algorithm %q is not one of %s", algorithm, strings.Join(Algorithms(), ", "))
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, errors.New("the key is not PEM")
	}
	var parsed any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		parsed, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("PEM block %q is not a private key", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("read the key: %w", err)
	}
	k := &Key{ID: id, Scope: scope, Algorithm: algorithm}
	switch key := parsed.(type) {
	case *rsa.PrivateKey:
		k.private = key
		if k.Algorithm == "" {
			k.Algorithm = "RS256"
		}
		if !strings.HasPrefix(k.Algorithm, "RS") {
			return nil, fmt.Errorf("algorithm %s needs an elliptic curve key, this is RSA", k.Algorithm)
		}
	case *ecdsa.PrivateKey:
		k.private = key
		for alg, bits := range curveBits {
			if k.Algorithm == "" && bits == key.Curve.Params().BitSize {
				k.Algorithm = alg
			}
		}
		if curveBits[k.Algorithm] != key.Curve.Params().BitSize {
			return nil, fmt.Errorf("algorithm %q does not fit a key on %s", k.Algorithm, key.Curve.Params().Name)
		}
	default:
		return nil, errors.New("the key is neither RSA nor ECDSA, which is what OPA verifies")
	}
	return k, nil
}

// public returns the public key as PEM.
func (k *Key) public() (string, error) {
	der, err := x509.MarshalPKIXPublicKey(k.private.Public())
	if err != nil {
		return "", fmt.Errorf("public key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}

// sign puts a signature over all files into the bundle: what `opa sign` writes,
// but that two signatures of one bundle are the same. OPA signs ECDSA with
// random numbers.
func sign(b *bundle.Bundle, k *Key) error {
	files, err := hashFiles(b)
	if err != nil {
		return err
	}
	claims := map[string]any{"files": files, "keyid": k.ID}
	if k.Scope != "" {
		claims["scope"] = k.Scope
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(k.Algorithm), Key: opaque{k}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return err
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		return err
	}
	b.Signatures = bundle.SignaturesConfig{Signatures: []string{token}}
	return nil
}

// hashFiles are the digests of the files as OPA's writer writes them.
func hashFiles(b *bundle.Bundle) ([]bundle.FileInfo, error) {
	const algorithm = bundle.SHA256
	hasher, err := bundle.NewSignatureHasher(algorithm)
	if err != nil {
		return nil, err
	}
	var files []bundle.FileInfo
	add := func(name string, content any) error {
		sum, err := hasher.HashFile(content)
		files = append(files, bundle.NewFile(name, hex.EncodeToString(sum), algorithm.String()))
		return err
	}
	raw, err := json.Marshal(b.Manifest)
	if err != nil {
		return nil, err
	}
	var manifest any
	if err := util.NewJSONDecoder(bytes.NewReader(raw)).Decode(&manifest); err != nil {
		return nil, err
	}
	if err := errors.Join(add(".manifest", manifest), add("data.json", b.Data)); err != nil {
		return nil, err
	}
	for _, m := range b.Modules {
		if err := add(strings.TrimPrefix(m.Path, "/"), m.Raw); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// opaque is a key that signs without random numbers.
type opaque struct{ *Key }

// Public implements jose.OpaqueSigner.
func (o opaque) Public() *jose.JSONWebKey {
	return &jose.JSONWebKey{Key: o.private.Public(), KeyID: o.ID, Algorithm: o.Algorithm, Use: "sig"}
}

// Algs implements jose.OpaqueSigner.
func (o opaque) Algs() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.SignatureAlgorithm(o.Algorithm)}
}

// SignPayload implements jose.OpaqueSigner.
func (o opaque) SignPayload(payload []byte, alg jose.SignatureAlgorithm) ([]byte, error) {
	hash := hashes[string(alg)]
	h := hash.New()
	h.Write(payload)
	// Without a source of random numbers ECDSA takes what RFC 6979 says.
	signature, err := o.private.Sign(nil, h.Sum(nil), hash)
	bits, elliptic := curveBits[string(alg)]
	if err != nil || !elliptic {
		return signature, err
	}
	var point struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(signature, &point); err != nil {
		return nil, err
	}
	size := (bits + 7) / 8
	return slices.Concat(point.R.FillBytes(make([]byte, size)), point.S.FillBytes(make([]byte, size))), nil
}
