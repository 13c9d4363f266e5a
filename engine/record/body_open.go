package record

// Header says who a session belongs to. The strings come from the verified
// token and the gateway's configuration but for Application and Asserted,
// which are what the agent says of itself.
type Header struct {
	ID          string // the session's ULID; made by Begin where it is empty
	Protocol    string // e.g. "postgres"
	Target      string // the target's name
	Database    string
	Role        string // the role that regate logs in as
	Subject     string // whose authority: claim sub
	Issuer      string // claim iss
	ClientID    string
	Actor       string // who acts for the subject, "" for nobody
	ActorIssuer string
	TokenID     string // claim jti
	Client      string // the agent's IP and port
	Application string
	TLS         bool
	Asserted    []byte            // canonical JSON of input.Asserted, or nil
	Labels      map[string]string // the target's labels
}

// Open is the body of a session's first event.
type Open struct {
	Header
	Gateway string
	Epoch   [16]byte // ULID of the gateway's run
	Number  uint64   // of the session in the epoch, from 1
	Version string   // of the gateway
}

// Encode appends the body.
func (o Open) Encode(dst []byte) []byte {
	b := newBody(dst)
	b.text(1, o.Protocol)
	b.text(2, o.Target)
	b.text(3, o.Database)
	b.text(4, o.Role)
	b.text(5, o.Subject)
	b.text(6, o.Issuer)
	b.text(7, o.ClientID)
	b.text(8, o.Actor)
	b.text(9, o.ActorIssuer)
	b.text(10, o.TokenID)
	b.text(11, o.Client)
	b.text(12, o.Application)
	b.bool(13, o.TLS)
	b.bytes(14, o.Asserted)
	b.labels(15, o.Labels)
	b.text(16, o.Gateway)
	b.bytes(17, o.Epoch[:])
	b.uint(18, o.Number)
	b.text(19, o.Version)
	return b.done()
}

// DecodeOpen reads a body. Header.ID is the event's and stays empty.
func DecodeOpen(p []byte) (Open, error) {
	var w struct {
		Protocol    string            `cbor:"1,keyasint"`
		Target      string            `cbor:"2,keyasint"`
		Database    string            `cbor:"3,keyasint"`
		Role        string            `cbor:"4,keyasint"`
		Subject     string            `cbor:"5,keyasint"`
		Issuer      string            `cbor:"6,keyasint"`
		ClientID    string            `cbor:"7,keyasint"`
		Actor       string            `cbor:"8,keyasint"`
		ActorIssuer string            `cbor:"9,keyasint"`
		TokenID     string            `cbor:"10,keyasint"`
		Client      string            `cbor:"11,keyasint"`
		Application string            `cbor:"12,keyasint"`
		TLS         bool              `cbor:"13,keyasint"`
		Asserted    []byte            `cbor:"14,keyasint"`
		Labels      map[string]string `cbor:"15,keyasint"`
		Gateway     string            `cbor:"16,keyasint"`
		Epoch       [16]byte          `cbor:"17,keyasint"`
		Number      uint64            `cbor:"18,keyasint"`
		Version     string            `cbor:"19,keyasint"`
	}
	if err := decodeBody(KindOpen, p, &w); err != nil {
		return Open{}, err
	}
	return Open{
		Header: Header{
			Protocol: w.Protocol, Target: w.Target, Database: w.Database, Role: w.Role,
			Subject: w.Subject, Issuer: w.Issuer, ClientID: w.ClientID,
			Actor: w.Actor, ActorIssuer: w.ActorIssuer, TokenID: w.TokenID,
			Client: w.Client, Application: w.Application, TLS: w.TLS,
			Asserted: w.Asserted, Labels: w.Labels,
		},
		Gateway: w.Gateway, Epoch: w.Epoch, Number: w.Number, Version: w.Version,
	}, nil
}
