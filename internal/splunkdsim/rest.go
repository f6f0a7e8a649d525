package splunkdsim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// REST is splunkd's REST interface as far as secrets need it.
type REST struct {
	// URI is its address, CAFile the certificate of the authority that signed
	// its own.
	URI, CAFile string
	// Session and Token are what it takes; User and Password open the session.
	Session, Token, User, Password string

	mu      sync.Mutex
	entries map[string]string // secret by realm:name:
	calls   []string          // method and path of each call
	forbid  bool
}

// RESTOptions say how a REST differs from a freshly installed splunkd's.
type RESTOptions struct {
	// Names are the hosts and addresses that its certificate is for. Splunk's
	// own default certificate names none.
	Names []string
}

// StartREST starts splunkd's REST on a free port of the loopback address until
// the test ends.
func StartREST(tb testing.TB, options RESTOptions) *REST {
	tb.Helper()
	r := &REST{
		Session: "session-key-of-the-test", Token: "token-of-the-test", User: "admin", Password: "password-of-the-test",
		entries: map[string]string{}, CAFile: filepath.Join(tb.TempDir(), "cacert.pem"),
	}
	certificate, ca := certificates(tb, options.Names)
	if err := os.WriteFile(r.CAFile, ca, 0o600); err != nil {
		tb.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are what tests want
	server.StartTLS()
	tb.Cleanup(server.Close)
	r.URI = server.URL
	return r
}

// Entry returns the secret of an entry of the realm.
func (r *REST) Entry(realm, name string) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	secret, ok := r.entries[realm+":"+name+":"]
	return secret, ok
}

// Put makes an entry.
func (r *REST) Put(realm, name, secret string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries[realm+":"+name+":"] = secret
}

// Forbid takes the user's capabilities away.
func (r *REST) Forbid() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forbid = true
}

// Calls returns method and path of each call so far.
func (r *REST) Calls() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

func (r *REST) serve(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	path := request.URL.EscapedPath()
	r.calls = append(r.calls, request.Method+" "+path)
	if err := request.ParseForm(); err != nil {
		answer(w, http.StatusBadRequest, err.Error())
		return
	}
	if path == "/services/auth/login" {
		if request.PostForm.Get("username") != r.User || request.PostForm.Get("password") != r.Password {
			answer(w, http.StatusUnauthorized, "Login failed")
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"sessionKey": r.Session, "message": "", "code": ""})
		return
	}
	if given := request.Header.Get("Authorization"); given != "Splunk "+r.Session && given != "Bearer "+r.Token {
		answer(w, http.StatusUnauthorized, "call not properly authenticated")
		return
	}
	if r.forbid {
		answer(w, http.StatusForbidden, "insufficient permission to access this resource")
		return
	}
	const collection = "/servicesNS/nobody/TA-aiwatch/storage/passwords"
	rest, ok := strings.CutPrefix(path, collection)
	id, err := url.PathUnescape(strings.TrimPrefix(rest, "/"))
	if !ok || err != nil || strings.Contains(strings.TrimPrefix(rest, "/"), "/") {
		answer(w, http.StatusNotFound, "Not Found")
		return
	}
	if id == "" {
		r.collection(w, request)
		return
	}
	r.entry(w, request, id)
}

// collection answers a call of the whole collection; r.mu is held.
func (r *REST) collection(w http.ResponseWriter, request *http.Request) {
	switch request.Method {
	case http.MethodGet:
		r.list(w, request.Form)
	case http.MethodPost:
		if !only(w, request.Form, "name", "realm", "password", "output_mode") {
			return
		}
		name, realm, password := request.PostForm.Get("name"), request.PostForm.Get("realm"), request.PostForm.Get("password")
		id := realm + ":" + name + ":"
		_, exists := r.entries[id]
		switch {
		case name == "" || password == "":
			answer(w, http.StatusBadRequest, "The following required arguments are missing: name, password.")
		case exists:
			answer(w, http.StatusConflict, fmt.Sprintf("Cannot create %q, it already exists.", id))
		default:
			r.entries[id] = password
			w.WriteHeader(http.StatusCreated)
			r.write(w, id)
		}
	default:
		answer(w, http.StatusMethodNotAllowed, "Method Not Allowed")
	}
}

// list answers like splunkd: 30 entries unless count says otherwise.
func (r *REST) list(w http.ResponseWriter, form url.Values) {
	var ids []string
	for id := range r.entries {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	if form.Get("count") != "0" && len(ids) > 30 {
		ids = ids[:30]
	}
	r.write(w, ids...)
}

// entry answers a call of one entry; r.mu is held.
func (r *REST) entry(w http.ResponseWriter, request *http.Request, id string) {
	if _, exists := r.entries[id]; !exists {
		answer(w, http.StatusNotFound, fmt.Sprintf("Could not find object id=%s", id))
		return
	}
	switch request.Method {
	case http.MethodGet:
		r.write(w, id)
	case http.MethodPost:
		if !only(w, request.Form, "password", "output_mode") {
			return
		}
		r.entries[id] = request.PostForm.Get("password")
		r.write(w, id)
	case http.MethodDelete:
		delete(r.entries, id)
		r.write(w)
	default:
		answer(w, http.StatusMethodNotAllowed, "Method Not Allowed")
	}
}

func (r *REST) write(w http.ResponseWriter, ids ...string) {
	type content map[string]string
	entries := []any{}
	for _, id := range ids {
		parts := strings.Split(id, ":")
		entries = append(entries, map[string]any{"name": id, "content": content{
			"realm": parts[0], "username": parts[1], "clear_password": r.entries[id], "encr_password": "$7$...",
		}})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"entry": entries, "messages": []any{}})
}

// only refuses arguments that the endpoint does not know, as splunkd does.
func only(w http.ResponseWriter, form url.Values, known ...string) bool {
	for name := range form {
		if !slices.Contains(known, name) {
			answer(w, http.StatusBadRequest, fmt.Sprintf("Argument %q is not supported by this handler.", name))
			return false
		}
	}
	return true
}

func answer(w http.ResponseWriter, code int, text string) {
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"messages": []any{map[string]string{"type": "ERROR", "text": text}}})
}

// certificates returns a server's certificate for names, and its authority's as
// PEM.
func certificates(tb testing.TB, names []string) (tls.Certificate, []byte) {
	tb.Helper()
	issue := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			tb.Fatal(err)
		}
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		if signer == nil {
			parent, signer = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
		if err != nil {
			tb.Fatal(err)
		}
		return der, key
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "SplunkCommonCA"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, caKey := issue(ca, nil, nil)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "SplunkServerDefaultCert"}}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, name)
		}
	}
	leafDER, leafKey := issue(leaf, ca, caKey)
	return tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leafKey},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
}
