package mask

import (
	"encoding/base64"
	"strings"
	"testing"
)

func all(t testing.TB) *Detector {
	t.Helper()
	d, err := NewDetector(Kinds())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// found renders findings as kind=text, one after another.
func found(d *Detector, text string) string {
	var list []string
	for _, f := range d.Scan([]byte(text), nil) {
		list = append(list, f.Kind+"="+text[f.Start:f.End])
	}
	return strings.Join(list, "; ")
}

var (
	testJWT = "eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJhZ2VudCIsImlzcyI6Imh0dHBzOi8vaWQuZXhhbXBsZSJ9.c2lnbmF0dXJlLWJ5dGVzLWdvLWhlcmU"
	testJWE = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..aXYtaXYtaXYtaXY.Y2lwaGVydGV4dA.dGFnLXRhZy10YWc"
	// Put together so that no scanner takes this file for a leak.
	testGitHub = "ghp_" + "xQ7vB2nM9kL4pR8sT1wZ6yC3dF5gH0jA2bEu"
	testAWS    = "AKIA" + "Q4WERTYU7IOPASD5"
	testStripe = "sk_" + "live_" + "9fK2mQ7xV4bN8cZ1pL5tR3wY"
	testPEM    = "-----BEGIN " + "RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAx8mZ\nq7w0v2k1\n-----END RSA PRIVATE KEY-----"
)

func TestFinds(t *testing.T) {
	d := all(t)
	for _, tc := range []struct{ text, want string }{
		// credit_card
		{"4111111111111111", "credit_card=4111111111111111"},
		{"card 4111 1111 1111 1111 exp 12/27", "credit_card=4111 1111 1111 1111"},
		{"4111-1111-1111-1111", "credit_card=4111-1111-1111-1111"},
		{"4111.1111.1111.1111", "credit_card=4111.1111.1111.1111"},
		{"378282246310005", "credit_card=378282246310005"},
		{"3782 822463 10005", "credit_card=3782 822463 10005"},
		{"5555555555554444,6011111111111117", "credit_card=5555555555554444; credit_card=6011111111111117"},
		{"30569309025904", "credit_card=30569309025904"},
		{"3530111333300000", "credit_card=3530111333300000"},
		{"4222222222222", "credit_card=4222222222222"},
		{"6200000000000000000", "credit_card=6200000000000000000"},
		{"4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "credit_card=4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"},
		{"4\u200b111111\u200d111111111", "credit_card=4\u200b111111\u200d111111111"},
		{"４１１１１１１１１１１１１１１１", "credit_card=４１１１１１１１１１１１１１１１"},
		{"٤١١١١١١١١١١١١١١١", "credit_card=٤١١١١١١١١١١١١١١١"},
		{"4111\u00a01111\u00a01111\u00a01111", "credit_card=4111\u00a01111\u00a01111\u00a01111"},
		{"4111\u20131111\u20131111\u20131111", "credit_card=4111\u20131111\u20131111\u20131111"},
		{"pan:4111111111111111!", "credit_card=4111111111111111"},
		{"card4111111111111111", "credit_card=4111111111111111"},
		{`{"note":"line\n4111111111111111\tx"}`, "credit_card=4111111111111111"},
		{"qty 2 4111 1111 1111 1111 123", "credit_card=4111 1111 1111 1111"},
		{"4111 1111 1111 1111 5555 5555 5555 4444", "credit_card=4111 1111 1111 1111; credit_card=5555 5555 5555 4444"},
		// email
		{"alice@example.com", "email=alice@example.com"},
		{"Mail alice.b+tag@mail.example.co.uk.", "email=alice.b+tag@mail.example.co.uk"},
		{"<bob@xn--bcher-kva.xn--p1ai>", "email=bob@xn--bcher-kva.xn--p1ai"},
		{"jürgen@müller.de", "email=jürgen@müller.de"},
		{"x@163.com", "email=x@163.com"},
		{"ali\u200bce@exam\u200bple.com", "email=ali\u200bce@exam\u200bple.com"},
		{"alice＠example.com", "email=alice＠example.com"},
		{"ａｌｉｃｅ@example．com", "email=ａｌｉｃｅ@example．com"},
		{`"hi\nbob@example.com"`, "email=bob@example.com"},
		{"a@b.io,c@d.io", "email=a@b.io; email=c@d.io"},
		{"postgres://app:s3cret@db.example.com/x", "email=s3cret@db.example.com"},
		// phone
		{"+4930123456789", "phone=+4930123456789"},
		{"call +49 30 1234567 now", "phone=+49 30 1234567"},
		{"+1 (415) 555-2671", "phone=+1 (415) 555-2671"},
		{"(415) 555-2671", "phone=(415) 555-2671"},
		{"415-555-2671", "phone=415-555-2671"},
		{"1-415-555-2671", "phone=1-415-555-2671"},
		{"415.555.2671", "phone=415.555.2671"},
		{"01 42 68 53 00", "phone=01 42 68 53 00"},
		{"020 7946 0958", "phone=020 7946 0958"},
		{"07911 123456", "phone=07911 123456"},
		{"030/12345678", "phone=030/12345678"},
		{"03-1234-5678", "phone=03-1234-5678"},
		{"phone: 4155552671", "phone=4155552671"},
		{"Tel. 0171 1234567", "phone=0171 1234567"},
		{"+４４ 20 7946 0958", "phone=+４４ 20 7946 0958"},
		// iban
		{"GB82WEST12345698765432", "iban=GB82WEST12345698765432"},
		{"DE89 3704 0044 0532 0130 00", "iban=DE89 3704 0044 0532 0130 00"},
		{"iban:nl91abna0417164300.", "iban=nl91abna0417164300"},
		{"NO9386011117947", "iban=NO9386011117947"},
		{"FR1420041010050500013M02606", "iban=FR1420041010050500013M02606"},
		{"ＧＢ82WEST12345698765432", "iban=ＧＢ82WEST12345698765432"},
		// ssn
		{"536-90-4399", "ssn=536-90-4399"},
		{"SSN 536904399", "ssn=536904399"},
		{"ssn: 536 90 4399", "ssn=536 90 4399"},
		{"536‑90‑4399", "ssn=536‑90‑4399"},
		// jwt
		{"Bearer " + testJWT, "jwt=" + testJWT},
		{testJWT + ". Next sentence", "jwt=" + testJWT},
		{testJWE, "jwt=" + testJWE},
		// private_key
		{"x" + testPEM + "y", "private_key=" + testPEM},
		{strings.ReplaceAll(testPEM, "\n", `\n`), "private_key=" + strings.ReplaceAll(testPEM, "\n", `\n`)},
		{"-----BEGIN " + "OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\nAAAA", "private_key=-----BEGIN " + "OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\nAAAA"},
		{"---- BEGIN SSH2 " + "ENCRYPTED PRIVATE KEY ----\nP2/56wAAA\n---- END SSH2 ENCRYPTED PRIVATE KEY ----", "private_key=---- BEGIN SSH2 " + "ENCRYPTED PRIVATE KEY ----\nP2/56wAAA\n---- END SSH2 ENCRYPTED PRIVATE KEY ----"},
		{"-----BEGIN " + "PGP PRIVATE KEY BLOCK-----\n\nlQOYBF\n=abcd\n-----END PGP PRIVATE KEY BLOCK-----", "private_key=-----BEGIN " + "PGP PRIVATE KEY BLOCK-----\n\nlQOYBF\n=abcd\n-----END PGP PRIVATE KEY BLOCK-----"},
		// api_key
		{"token " + testGitHub, "api_key=" + testGitHub},
		{testAWS, "api_key=" + testAWS},
		{`{"stripe":"` + testStripe + `"}`, "api_key=" + testStripe},
		{`api_key = "8f14e45fceea167a5a36dedd4bea2543"`, "api_key=8f14e45fceea167a5a36dedd4bea2543"},
		{"(" + testStripe + ")," + testGitHub, "api_key=" + testStripe + "; api_key=" + testGitHub},
		{`"{\"api_key\": \"8f14e45fceea167a5a36dedd4bea2543\"}"`, "api_key=8f14e45fceea167a5a36dedd4bea2543"},
		{"https://x.example/?token=vT7qLm2Zx9Bw4Rk8Yp3N&page=2", "api_key=vT7qLm2Zx9Bw4Rk8Yp3N"},
		{`{"db_password":"Xk9#mQ","secret":"vT7qLm2Zx9Bw4Rk8Yp3N"}`, "api_key=vT7qLm2Zx9Bw4Rk8Yp3N"},
	} {
		if got := found(d, tc.text); got != tc.want {
			t.Errorf("%q\n got %s\nwant %s", tc.text, got, tc.want)
		}
	}
}

func TestFindsNothing(t *testing.T) {
	d := all(t)
	for _, text := range []string{
		"",
		"4111111111111112",                     // Luhn
		"1234567890123452",                     // no issuer
		"4444444444444444",                     // one digit
		"41111111111111111111111",              // too long
		"a4111111111111111",                    // hexadecimal word
		"0.4111111111111111",                   // a fraction
		"0a1b4111111111111111c2",               // in a digest
		"4006381333931",                        // EAN-13 of Germany
		"4111 1111-1111 1111",                  // mixed separators
		"411111 1111111111",                    // no such grouping
		"1700000000000",                        // ms since 1970
		"1700000000000000000",                  // ns since 1970
		"2026-11-23T08:52:50.123456789Z",       // RFC 3339
		"2026-11-23 08:52:50",                  // SQL
		"550e8400-e29b-41d4-a716-446655440000", // UUID
		"12345678-1234-4321-8234-123456789012", // UUID of digits
		"da39a3ee5e6b4b0d3255bfef95601890afd80709",
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"507f1f77bcf86cd799439011", // ObjectID
		"ORD-2026-0000123456",
		"192.168.100.200, 10.0.0.1:5432",
		"978-3-16-148410-0", // ISBN
		"foo@1.2.3.tgz",
		"lodash@4.17.21",
		"@types/node",
		"user@localhost",
		"a@b",
		"1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16",
		"000-12-3456", "666-12-3456", "912-12-3456", "123-00-4567", "123-45-0000",
		"123-45-67890", "1123-45-6789", "123-45-6789-1",
		"123 45 6789",
		"GB82WEST12345698765433",
		"ZZ82WEST12345698765432",
		"+123", "x+4930123456789", "+0493012345678",
		"eyJub3QiOiJhIGp3dCJ9.eyJzdWIiOiJ4In0.c2ln", // no alg
		"eyJhbGciOiJSUzI1NiJ9.only-two",
		"-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
		"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
		"our PRIVATE KEY policy",
		`{"token_type":"Bearer","api_version":"2026-01-01","author":"Jonathan Smith"}`,
		`{"primary_key":"8f14e45fceea167a5a36dedd4bea2543"}`,
		`task risk asks for SKU and ghp_short`,
		base64.StdEncoding.EncodeToString([]byte(strings.Repeat("The quick brown fox 0123456789. ", 40))),
	} {
		if got := found(d, text); got != "" {
			t.Errorf("%q: %s", text, got)
		}
	}
}
