package cmdenv_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"weft/commands/cmdenv"
)

// tlsEngine is an engine behind TLS; ca is the file with its certificate.
func tlsEngine(t *testing.T) (host, ca string) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		w.Header().Set(cmdenv.APIHeader, "1")
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // failed handshakes are part of the test
	server.StartTLS()
	t.Cleanup(server.Close)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	return "tcp://" + server.Listener.Addr().String(), ca
}

func TestTLS(t *testing.T) {
	host, ca := tlsEngine(t)
	tests := map[string]struct {
		flags []string
		vars  map[string]string
		err   string // empty: connected
	}{
		"verified":              {flags: []string{"-H", host, "--tlsverify", "--tlscacert", ca}},
		"verified by variables": {flags: []string{"--tlscacert", ca}, vars: map[string]string{"DOCKER_HOST": host, "DOCKER_TLS_VERIFY": "1"}},
		"certificates' place":   {vars: map[string]string{"DOCKER_HOST": host, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": filepath.Dir(ca)}},
		"not verified":          {flags: []string{"-H", host, "--tls", "--tlscacert", ca}},
		"--tlsverify=false":     {flags: []string{"-H", host, "--tlsverify=false", "--tlscacert", ca}},
		"without TLS":           {flags: []string{"-H", host}},
		"unknown authority":     {flags: []string{"-H", host, "--tlsverify", "--tlscacert", otherCA(t)}, err: "certificate signed by unknown authority"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for key, value := range test.vars {
				w.Vars[key] = value
			}
			w.parse(t, test.flags...)
			engine, err := w.Env.Engine(t.Context())
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("got %v, want %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			// Without TLS the server answers too, but not as an engine.
			if want := name != "without TLS"; (engine.Kind == cmdenv.KindBuiltin) != want || engine.Host != host {
				t.Errorf("got %+v", engine)
			}
		})
	}
}

// otherCA is a certificate that signed nothing.
func otherCA(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "other"}, IsCA: true, BasicConstraintsValid: true}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, path, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})))
	return path
}
