package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"aiwatch/internal/counterpart"
	"aiwatch/internal/hecserver"
)

// TestMain lets scripts and fault tests run the program as a process of its
// own: the test binary, called aiwatch.
func TestMain(m *testing.M) {
	testscript.Main(cleaning{m}, map[string]func(){
		"aiwatch": main,
		"fields":  fields,
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			// No machine's own configuration or credentials reach a script.
			env.Setenv("AIWATCH_CONF", env.WorkDir+"/conf")
			env.Setenv("AIWATCH_STATE", env.WorkDir+"/state")
			env.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			env.Setenv("AWS_CONFIG_FILE", env.WorkDir+"/none")
			env.Setenv("AWS_SHARED_CREDENTIALS_FILE", env.WorkDir+"/none")
			// Where the script's receiver listens, whichever that is.
			env.Setenv("HEC", counterpart.FreeAddress(t))
			env.Setenv("HEC_TOKEN", hecToken)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"code":      code,
			"expand":    expand,
			"listening": listening,
			"picky":     startPicky,
		},
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
	})
}

// code runs a program and compares its exit code: code 2 aiwatch run.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N PROGRAM [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if err != nil {
		_, after, found := strings.Cut(err.Error(), "exit status ")
		if !found {
			ts.Fatalf("%v", err)
		}
		got, err = strconv.Atoi(after)
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// expand replaces variables in files: expand conf/local/aiwatch.conf.
func expand(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		path := ts.MkAbs(name)
		ts.Check(os.WriteFile(path, []byte(os.Expand(ts.ReadFile(name), ts.Getenv)), 0o600))
	}
}

// listening waits until the script's receiver takes connections.
func listening(ts *testscript.TestScript, _ bool, _ []string) {
	for deadline := time.Now().Add(patience); ; {
		conn, err := net.Dial("tcp", ts.Getenv("HEC"))
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no receiver: %v", err)
		}
		time.Sleep(10 * time.Millisecond) // between two looks
	}
}

// startPicky starts a HEC receiver that refuses, for good, each event with the
// text, and takes those before it, as Splunk does: picky TEXT. It refuses
// nothing any more once the file mended is there.
func startPicky(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: picky TEXT")
	}
	file, err := hecserver.NewFile(ts.MkAbs("events.ndjson"))
	ts.Check(err)
	inner, err := hecserver.New(hecserver.Config{Tokens: []hecserver.Token{{Value: hecToken}}, Sink: file})
	ts.Check(err)
	listener, err := net.Listen("tcp", ts.Getenv("HEC"))
	ts.Check(err)
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: &picky{inner: inner, text: args[0], mended: ts.MkAbs("mended")}}}
	server.Start()
	ts.Defer(func() {
		server.Close()
		_ = file.Close()
	})
}

// picky refuses events with a text.
type picky struct {
	inner        http.Handler
	text, mended string
}

func (p *picky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	packed, err := gzip.NewReader(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	_, err = os.Stat(p.mended)
	mended := err == nil
	var taken bytes.Buffer
	refused, events := -1, json.NewDecoder(packed)
	for n := 0; refused < 0; n++ {
		var event json.RawMessage
		if events.Decode(&event) != nil {
			break // the end
		}
		if !mended && bytes.Contains(event, []byte(p.text)) {
			refused = n
			break
		}
		taken.Write(event)
	}
	answer := http.ResponseWriter(w)
	if refused >= 0 {
		answer = httptest.NewRecorder()
	}
	if taken.Len() > 0 {
		plain := r.Clone(r.Context())
		plain.Header.Del("Content-Encoding")
		plain.Body, plain.ContentLength = io.NopCloser(&taken), int64(taken.Len())
		p.inner.ServeHTTP(answer, plain)
	}
	if refused >= 0 {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"text":"Invalid data format","code":6,"invalid-event-number":%d}`, refused)
	}
}

// fields prints the named fields of the events on standard input, an event a
// line, so that a script can compare what matters: fields operation user.
func fields() {
	in := json.NewDecoder(os.Stdin)
	for in.More() {
		var envelope map[string]any
		if err := in.Decode(&envelope); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		e, ok := envelope["event"].(map[string]any)
		if !ok {
			e = envelope
		}
		var row []string
		for _, name := range os.Args[1:] {
			value, ok := e[name]
			if !ok {
				value, ok = envelope[name]
			}
			if !ok {
				value = "-"
			}
			row = append(row, fmt.Sprint(value))
		}
		fmt.Println(strings.Join(row, " "))
	}
}
